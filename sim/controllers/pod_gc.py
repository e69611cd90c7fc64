"""Pod garbage collection: ended pods beyond a number are deleted, the oldest first; and all pods of nodes that are gone.

Rules: Kubernetes 1.20 source, pkg/controller/podgc.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from simpy.events import Event

from sim.apiserver.client import Client
from sim.controllers.operations import DELETE_POD_AT_ONCE, GET_NODE
from sim.controllers.pod_control import PodControl
from sim.controllers.spec import ControllerManagerSpec
from sim.engine.clock import Clock
from sim.state.pods import Phase, PodTable


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
        pods: PodTable,
        pod_control: PodControl,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._client = client
        self._namespace_of = namespace_of
        self._gone = gone
        self._pods = pods
        self._pod_control = pod_control
        self._left: set[int] = set()
        """Nodes whose objects were removed and have not come again."""
        self._ended: deque[int] = deque()
        self._busy = False
        self.deleted = 0
        self.orphans = 0
        """Pods of nodes that are gone, deleted."""

    def pod_finished(self, pod: int) -> None:
        """A pod has a final status."""
        self._ended.append(pod)
        if len(self._ended) > self._spec.terminated_pod_threshold and not self._busy:
            self._busy = True
            period_s = self._spec.terminated_pod_check_s
            self._clock.at(period_s - self._clock._now % period_s, self._look)

    def node_removed(self, node: int) -> None:
        """A node's object is gone: the next look finds that, and if it still is so after the quarantine, its pods go."""
        self._left.add(node)
        period_s = self._spec.terminated_pod_check_s
        in_s = period_s - self._clock._now % period_s + self._spec.orphan_quarantine_s

        def begin(_: object) -> None:
            self._clock.start(self._collect_orphans(node))

        self._clock.at(in_s, begin)

    def node_added(self, node: int) -> None:
        """It has come again."""
        self._left.discard(node)

    def _collect_orphans(self, node: int) -> Generator[Event, Any, None]:
        if node not in self._left or (yield from self._client.turn()):
            return
        yield from self._client.send(GET_NODE, "")
        phase, on = (np.frombuffer(self._pods.ids[name], np.int32) for name in ("phase", "node"))
        here = np.flatnonzero((on == node) & ((phase == Phase.SCHEDULED) | (phase == Phase.RUNNING))).tolist()
        del phase, on  # the table's columns cannot grow while they are looked at
        for pod in here:
            self.orphans += yield from self._pod_control.remove(self._client, pod)

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
