"""The garbage collector: deletes the pods of an owner that was deleted."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.controllers.pod_control import PodControl
from sim.controllers.spec import ControllerManagerSpec
from sim.engine.clock import Clock
from sim.engine.semaphore import Semaphore


class GarbageCollector:
    """`garbage_workers` deletions at a time, under its own client rate limit."""

    def __init__(self, clock: Clock, spec: ControllerManagerSpec, client: Client, pod_control: PodControl) -> None:
        self._clock = clock
        self._spec = spec
        self._client = client
        self._pod_control = pod_control
        self._deleted_owners: set[int] = set()
        self.workers = Semaphore(clock, "garbage collector workers", "controllers", spec.garbage_workers)

    def on_owner_deleted(self, app: int, pods: range) -> None:
        """Delete every pod of the owner that exists: `pods`, and those that took the place of some of them."""
        self._deleted_owners.add(app)
        for pod in (*pods, *self._pod_control.replacements(app)):
            self._clock.start(self._delete(pod))

    def has_deleted(self, app: int) -> bool:
        """Whether the owner is gone."""
        return app in self._deleted_owners

    def on_pod_created(self, app: int, pod: int) -> None:
        """A new pod: if its owner has gone meanwhile, it goes too."""
        if app in self._deleted_owners:
            self._clock.start(self._delete(pod))

    def _delete(self, pod: int) -> Generator[Event, Any, None]:
        failures = 0
        while True:
            yield self.workers.acquire()
            done = yield from self._pod_control.delete(self._client, pod)
            self.workers.release()
            if done:
                return
            yield self._clock.timeout(min(self._spec.retry_base_s * 2**failures, self._spec.retry_max_s))
            failures += 1
