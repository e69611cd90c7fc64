"""The Job controller: keeps at most `parallelism` pods of a job active until all its completions are done.

Rules: Kubernetes 1.20 and 1.34 source, pkg/controller/job.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Generator, Iterable
from typing import Any

from simpy.events import AllOf, Event

from sim.apiserver.client import Client
from sim.apiserver.request import Operation
from sim.controllers.applications import Applications
from sim.controllers.garbage_collector import GarbageCollector
from sim.controllers.operations import GET, UPDATE_JOB_STATUS
from sim.controllers.owner import PodOwner
from sim.controllers.pod_control import PodControl
from sim.controllers.spec import ControllerManagerSpec
from sim.controllers.work_queue import WorkQueue
from sim.controllers.writes import EventRecorder, LooseRequests, StatusWrites
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.state.applications import JobOptions, Scale


class Job(PodOwner):
    """One Job as the controller knows it. over: told when it is complete or has failed."""

    __slots__ = ("done", "due", "ended", "expected", "failed", "options", "over", "parallelism", "status", "to_do")

    def __init__(
        self,
        controller: JobController,
        app: int,
        namespace: str,
        template: int,
        rows: list[int],
        like: int,
        completions: int,
        parallelism: int,
        options: JobOptions,
        over: Callable[[Job], None] | None = None,
    ) -> None:
        super().__init__(controller, app, namespace, template, rows, like)
        self.parallelism = parallelism
        self.options = options
        self.to_do = completions
        """Completions that are missing."""
        self.failed = 0
        self.ended = array("i")
        """Pods that have ended and whose objects are still there."""
        self.expected = 0
        """Pods created whose existence has not been heard of yet."""
        self.due = False
        """Its next sync is set for a moment ahead."""
        self.status = (0, completions, 0)
        """(active, missing, failed) as last written."""
        self.over = over
        self.done = False
        """Complete or failed: nothing more is created."""

    @property
    def missing(self) -> int:
        """Pods to create now; negative: too many are active."""
        return min(self.to_do, self.parallelism) - len(self.pods)


class JobController:
    """`job_workers` syncs at a time; pods are created in batches that double, as a ReplicaSet's.

    Since 1.26 (`job_finalizers`) each finished pod is counted through a finalizer of its own: one PATCH more a pod and one
    status write more a sync. Since 1.28 (`job_batch_s`) what happens to pods within a second makes one sync.
    """

    def __init__(
        self,
        clock: Clock,
        spec: ControllerManagerSpec,
        machine: Machine,
        client: Client,
        applications: Applications,
        pod_control: PodControl,
        garbage: GarbageCollector,
        statuses: StatusWrites,
        finalizers: LooseRequests,
        events: EventRecorder,
        tell: Callable[[str, int], None],
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._spec = spec
        self._machine = machine
        self._client = client
        self._applications = applications
        self._pod_control = pod_control
        self._garbage = garbage
        self._statuses = statuses
        self._finalizers = finalizers
        self._events = events
        self.jobs: dict[Job, None] = {}
        """Those that exist and are not done."""
        self._of_app: dict[int, Job] = {}
        self._stored: dict[int, Job] = {}
        """CronJobs' Jobs on their way through the watch."""
        self._numbers = 0
        self.queue: WorkQueue[Job] = WorkQueue(
            clock,
            "Job",
            spec.job_workers,
            self._sync,
            spec.job_backoff_s,
            spec.job_backoff_max_s,
            limited_overall=False,
            quick=self._write_quickly,
        )

    # --- what the informers say

    def app_created(self, app: int) -> None:
        """A new Job reached the controller."""
        known = self._applications
        job = self.make(app, known.rows(app), known.pods(app), known.options(app, JobOptions))
        self._of_app[app] = job
        self._begin(job)

    def make(
        self,
        app: int,
        rows: list[int],
        completions: int,
        options: JobOptions,
        over: Callable[[Job], None] | None = None,
    ) -> Job:
        """A Job of an application."""
        known = self._applications
        like, parallelism = known.first_row(app), known.parallelism(app)
        namespace, template = known.namespace(app), known.template(app)
        return Job(self, app, namespace, template, rows, like, completions, parallelism, options, over)

    def stored(self, job: Job) -> None:
        """A CronJob's Job was stored."""
        self._numbers += 1
        self._stored[self._numbers] = job
        self._tell("started", self._numbers)

    def started(self, number: int) -> None:
        """A CronJob's Job reached the controller."""
        self._begin(self._stored.pop(number))

    def _begin(self, job: Job) -> None:
        if not job.deleted:
            self.jobs[job] = None
            self.queue.add(job)

    def app_changed(self, number: int) -> None:
        """A user changed a Job's parallelism. number: row of the load's changes."""
        change = self._applications.load.changes[number]
        job = self._of_app.get(change.app)
        if job is not None and isinstance(change.what, Scale):
            job.parallelism = change.what.replicas
            self.queue.add(job)

    def app_deleted(self, app: int) -> None:
        """It was deleted: create no more; its pods are collected, those that have ended too."""
        job = self._of_app.pop(app, None)
        if job is not None:
            self.forget(job, GET["jobs"])

    def forget(self, job: Job, get_owner: Operation | None) -> None:
        """One Job was removed. get_owner: how the collector makes sure of that."""
        job.deleted = True
        self.jobs.pop(job, None)
        self._garbage.owner_deleted([*job.pods, *job.ended], get_owner)

    def pod_added(self, owner: Job, pod: int) -> None:
        owner.pods[pod] = None
        if owner.expected:
            owner.expected -= 1
        self._changed(owner)

    def pod_ready(self, owner: Job, pod: int) -> None:
        owner.ready[pod] = self._clock._now

    def pod_unready(self, owner: Job, pod: int) -> None:
        owner.ready.pop(pod, None)

    def pod_finished(self, owner: Job, pod: int, failed: bool) -> None:
        if pod not in owner.pods:  # counted out when its deletion was heard
            return
        del owner.pods[pod]
        owner.ready.pop(pod, None)
        owner.ended.append(pod)
        if self._spec.job_finalizers:
            self._finalizers.send()
        if failed:
            owner.failed += 1
            if owner.failed > owner.options.backoff_limit:
                owner.to_do = 0
                self.queue.add(owner)
            else:
                self.queue.add_after(owner, self._backoff_s(owner.failed))
            return
        owner.to_do -= 1
        self._changed(owner)

    def pod_lost(self, owner: Job, pod: int) -> None:
        """It is being deleted before its end: another is created."""
        if pod in owner.pods:
            del owner.pods[pod]
            owner.ready.pop(pod, None)
            self._changed(owner)

    def pod_gone(self, owner: Job, pod: int) -> None:
        self.pod_lost(owner, pod)

    def resync(self) -> None:
        """A new process has listed everything."""
        for job in self.jobs:
            job.expected, job.due = 0, False
            self.queue.add(job)

    def objects(self) -> Iterable[Job]:
        return [*self.jobs, *(job for job in self._of_app.values() if job.done)]

    def as_wanted(self, job: Job) -> bool:
        return job.done or (not job.expected and min(job.to_do, job.parallelism) == len(job.pods))

    # --- what it does about it

    def _backoff_s(self, failures: int) -> float:
        """A Job's pods come again after a back-off that doubles with each failure."""
        return float(min(self._spec.job_pod_backoff_s * 2.0 ** min(failures - 1, 60), self._spec.job_pod_backoff_max_s))

    def _changed(self, job: Job) -> None:
        if self._spec.job_batch_s:
            if not job.due:
                job.due = True
                self._clock.at(self._spec.job_batch_s, lambda _: self._now_due(job))
        else:
            self._look(job)

    def _now_due(self, job: Job) -> None:
        if job.due and not job.deleted:
            job.due = False
            self._look(job)

    def _look(self, job: Job) -> None:
        """Sync the job; if only its status differs, write that alone."""
        if not (self.queue.has_time_for(job) and self._write_quickly(job)):
            self.queue.add(job)

    def _write_quickly(self, job: Job) -> bool:
        """If nothing is to be created or deleted, count the write of its status; else false."""
        if (not job.expected and min(job.to_do, job.parallelism) != len(job.pods)) or not self._statuses.write(job):
            return False
        job.status = (len(job.pods), job.to_do, job.failed)
        if not job.to_do and not job.pods:
            self._finish(job)
        return True

    def _finish(self, job: Job) -> None:
        """Its last status, complete or failed, is stored."""
        job.done = True
        self._events.record(job)
        self.jobs.pop(job, None)
        if job.over is not None:
            job.over(job)

    def _sync(self, job: Job) -> Generator[Event, Any, bool]:
        yield self._machine.work(self._spec.sync_cpu_s)
        if job.deleted or job.done:
            return True
        done = True
        if not job.expected:
            count = min(job.missing, self._spec.burst_replicas)
            if count > 0:
                done = yield from self._create(job, count)
            elif count < 0:
                done = yield from self._end_pods(job, -count)
        if not (yield from self._write_status(job)):
            return False
        if not job.to_do and not job.pods and not job.done:
            self._finish(job)
        return done

    def _create(self, job: Job, count: int) -> Generator[Event, Any, bool]:
        job.expected = count
        stored = yield from self._pod_control.create_slowly(
            self._client, job, count, self._spec.slow_start_initial, self._per_pod
        )
        job.expected = max(0, job.expected - (count - stored))
        self._events.record(job, stored)
        return stored == count

    def _per_pod(self) -> None:
        self._machine.load(self._spec.create_cpu_s)

    def _end_pods(self, job: Job, count: int) -> Generator[Event, Any, bool]:
        """The job has failed, or is to run with fewer: the youngest pods go."""
        deletions = [
            self._clock.start(self._pod_control.delete(self._client, pod)) for pod in list(reversed(job.pods))[:count]
        ]
        pending = [deletion for deletion in deletions if deletion.callbacks is not None]
        if pending:
            yield AllOf(self._clock, pending)
        return all(deletion.value for deletion in deletions)

    def _write_status(self, job: Job) -> Generator[Event, Any, bool]:
        status = (len(job.pods), job.to_do, job.failed)
        over = not job.to_do and not job.pods
        if (status == job.status and not over) or self._statuses.write(job):
            job.status = status
            return True
        if (yield from self._client.turn()):
            return False
        if (yield from self._client.send(UPDATE_JOB_STATUS, job.namespace)) != 200:
            return False
        job.status = status
        return True
