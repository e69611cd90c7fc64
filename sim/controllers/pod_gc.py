"""Pod garbage collection: ended pods beyond a number are deleted, the oldest first.

Rules: Kubernetes 1.20 source, pkg/controller/podgc.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.controllers.operations import DELETE_POD_AT_ONCE
from sim.controllers.spec import ControllerManagerSpec
from sim.engine.clock import Clock


class PodGarbageCollector:
    """Looks every `terminated_pod_check_s`, but for as long as there are no more ended pods than may stay.

    gone: told of a pod whose object was deleted.
    """

    def __init__(
        self,
        clock: Clock,
        spec: ControllerManagerSpec,
        client: Client,
        namespace_of: Callable[[int], str],
        gone: Callable[[int], None],
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._client = client
        self._namespace_of = namespace_of
        self._gone = gone
        self._ended: deque[int] = deque()
        self._busy = False
        self.deleted = 0

    def pod_finished(self, pod: int) -> None:
        """A pod has a final status."""
        self._ended.append(pod)
        if len(self._ended) > self._spec.terminated_pod_threshold and not self._busy:
            self._busy = True
            period_s = self._spec.terminated_pod_check_s
            self._clock.at(period_s - self._clock._now % period_s, self._look)

    def _look(self, _: object) -> None:
        self._clock.start(self._collect())

    def _collect(self) -> Generator[Event, Any, None]:
        surplus = len(self._ended) - self._spec.terminated_pod_threshold
        for pod in [self._ended.popleft() for _ in range(surplus)]:
            if (yield from self._client.turn()):
                break
            if (yield from self._client.send(DELETE_POD_AT_ONCE, self._namespace_of(pod))) == 200:
                self.deleted += 1
                self._gone(pod)
        self._busy = False
