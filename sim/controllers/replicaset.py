"""The ReplicaSet controller: creates the missing replicas of a set, in batches that double."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from simpy.events import AllOf, Event

from sim.apiserver.client import Client
from sim.controllers.pod_control import PodControl
from sim.controllers.spec import ControllerManagerSpec
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.engine.semaphore import Semaphore


class ReplicaSetController:
    """`replicaset_workers` syncs at a time. Slow start: 1, 2, 4, ... creations in parallel, the next batch only after the
    whole previous one; the first failure ends the sync, and the set comes back after its back-off.
    """

    def __init__(
        self, clock: Clock, spec: ControllerManagerSpec, machine: Machine, client: Client, pod_control: PodControl
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._machine = machine
        self._client = client
        self._pod_control = pod_control
        self._missing: dict[int, list[int]] = {}
        """Pods that a set still has to create; a set is here while it is being synced or waits for its next sync."""
        self._deleted: set[int] = set()
        self.workers = Semaphore(clock, "ReplicaSet workers", "controllers", spec.replicaset_workers)

    def on_created(self, app: int, pods: range) -> None:
        """A new ReplicaSet reached the controller."""
        self._want(app, pods)

    def on_pod_lost(self, app: int, pod: int) -> None:
        """One of the set's pods is being deleted: it counts no more, so another is created."""
        if app not in self._deleted:
            self._want(app, [self._pod_control.replace(pod)])

    def on_deleted(self, app: int) -> None:
        """The set was deleted: create no more."""
        self._deleted.add(app)

    def _want(self, app: int, pods: Sequence[int]) -> None:
        """The set lacks `pods`. One set is synced by one worker at a time: what comes meanwhile waits for its next sync."""
        missing = self._missing.get(app)
        if missing is None:
            self._missing[app] = list(pods)
            self._clock.start(self._reconcile(app))
        else:
            missing.extend(pods)

    def _reconcile(self, app: int) -> Generator[Event, Any, None]:
        missing = self._missing[app]
        failures = 0
        while missing and app not in self._deleted:
            yield self.workers.acquire()
            yield self._machine.work(self._spec.sync_cpu_s)
            before = len(missing)
            yield from self._sync(app, missing)
            self.workers.release()
            if missing:
                failures = 0 if len(missing) < before else failures + 1
                yield self._clock.timeout(min(self._spec.retry_base_s * 2**failures, self._spec.retry_max_s))
        del self._missing[app]

    def _sync(self, app: int, missing: list[int]) -> Generator[Event, Any, None]:
        """Create up to `burst_replicas` of `missing`, which keeps those that failed and those not come to."""
        budget = min(len(missing), self._spec.burst_replicas)
        batch = self._spec.slow_start_initial
        failed: list[int] = []
        while budget and not failed and app not in self._deleted:
            count = min(batch, budget)
            group = missing[:count]
            del missing[:count]
            creations = [self._clock.start(self._create(pod)) for pod in group]
            pending = [creation for creation in creations if creation.callbacks is not None]
            if pending:
                yield AllOf(self._clock, pending)
            failed = [pod for pod, creation in zip(group, creations, strict=True) if not creation.value]
            budget -= count
            batch *= 2
        missing[:0] = failed

    def _create(self, pod: int) -> Generator[Event, Any, bool]:
        self._machine.load(self._spec.create_cpu_s)
        stored: bool = yield from self._pod_control.create(self._client, pod)
        return stored
