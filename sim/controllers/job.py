"""The Job controller: keeps at most `parallelism` pods of a job active until all its completions are done."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from simpy.events import AllOf, Event

from sim.apiserver.client import Client
from sim.controllers.pod_control import PodControl
from sim.controllers.spec import ControllerManagerSpec
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.engine.semaphore import Semaphore


@dataclass(slots=True)
class _Job:
    waiting: list[int]
    """Pods not yet created, the last one next."""
    parallelism: int
    active: int = 0
    syncing: bool = False
    failures: int = 0
    lost: set[int] = field(default_factory=set)
    """Pods counted out when their deletion was heard; one of them that still ends by itself is not counted twice."""


class JobController:
    """`job_workers` syncs at a time; a job that just lost a pod to completion is synced again."""

    def __init__(
        self, clock: Clock, spec: ControllerManagerSpec, machine: Machine, client: Client, pod_control: PodControl
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._machine = machine
        self._client = client
        self._pod_control = pod_control
        self._jobs: dict[int, _Job] = {}
        self.workers = Semaphore(clock, "Job workers", "controllers", spec.job_workers)

    def on_created(self, app: int, pods: range, parallelism: int) -> None:
        """A new Job reached the controller."""
        self._jobs[app] = _Job(list(reversed(pods)), parallelism)
        self._clock.start(self._sync(app))

    def on_pod_finished(self, app: int, pod: int) -> None:
        """One of the job's pods has a final status."""
        job = self._jobs.get(app)
        if job is None or pod in job.lost:
            return
        job.active -= 1
        if job.waiting and not job.syncing:
            self._clock.start(self._sync(app))
        elif not job.waiting and not job.active:
            del self._jobs[app]

    def on_pod_lost(self, app: int, pod: int) -> None:
        """One of the job's pods is being deleted before its end: another is created."""
        job = self._jobs.get(app)
        if job is None:
            return
        job.lost.add(pod)
        job.waiting.append(self._pod_control.replace(pod))
        job.active -= 1
        if not job.syncing:
            self._clock.start(self._sync(app))

    def on_deleted(self, app: int) -> None:
        """The job was deleted: create no more."""
        self._jobs.pop(app, None)

    def _sync(self, app: int) -> Generator[Event, Any, None]:
        job = self._jobs[app]
        job.syncing = True
        while job.waiting and job.active < job.parallelism and app in self._jobs:
            yield self.workers.acquire()
            yield self._machine.work(self._spec.sync_cpu_s)
            if app not in self._jobs:  # deleted meanwhile
                self.workers.release()
                return
            count = min(job.parallelism - job.active, len(job.waiting), self._spec.burst_replicas)
            group = [job.waiting.pop() for _ in range(count)]
            job.active += count
            creations = [self._clock.start(self._create(pod)) for pod in group]
            pending = [creation for creation in creations if creation.callbacks is not None]
            if pending:
                yield AllOf(self._clock, pending)
            self.workers.release()
            failed = [pod for pod, creation in zip(group, creations, strict=True) if not creation.value]
            job.active -= len(failed)
            job.waiting.extend(reversed(failed))
            if failed:
                job.failures += 1
                yield self._clock.timeout(
                    min(self._spec.job_backoff_s * 2 ** (job.failures - 1), self._spec.job_backoff_max_s)
                )
            else:
                job.failures = 0
        job.syncing = False

    def _create(self, pod: int) -> Generator[Event, Any, bool]:
        self._machine.load(self._spec.create_cpu_s)
        stored: bool = yield from self._pod_control.create(self._client, pod)
        return stored
