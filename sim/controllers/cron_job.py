"""The CronJob controller: a Job at each of its times.

In 1.20 one process looks at all of them every 10 s; since 1.21 each is queued for its next time. Rules: Kubernetes 1.20 and
1.34 source, pkg/controller/cronjob.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.apiserver.request import Operation
from sim.controllers.applications import Applications
from sim.controllers.cron_schedule import Schedule, parse_schedule
from sim.controllers.garbage_collector import GarbageCollector, Owned
from sim.controllers.job import Job, JobController
from sim.controllers.operations import CREATE, DELETE, GET, UPDATE_CRON_JOB_STATUS
from sim.controllers.spec import ControllerManagerSpec
from sim.controllers.work_queue import WorkQueue
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.state.applications import CronJobOptions, JobOptions
from sim.workload import AppKind

MOST_MISSED = 100
"""With more starts missed than this the 1.20 controller gives up on a CronJob (Kubernetes 1.20 source, cronjob/utils.go)."""
QUEUED_LATE_S = 0.1
"""A queued CronJob is looked at so long after its time (Kubernetes 1.21 source, nextScheduleDelta)."""
LIST_JOBS = Operation("LIST", "jobs", "get_cpu_s", reads=1)
LIST_CRON_JOBS = Operation("LIST", "cronjobs", "get_cpu_s", reads=1)


class CronJob:
    """One CronJob as the controller knows it."""

    __slots__ = ("active", "app", "deleted", "last_s", "missed", "namespace", "options", "rows", "schedule", "started")

    def __init__(self, app: int, namespace: str, rows: list[int], options: CronJobOptions, now_s: float) -> None:
        self.app = app
        self.namespace = namespace
        self.rows = rows
        self.options = options
        self.schedule: Schedule = parse_schedule(options.schedule)
        self.last_s = now_s
        """Its last start; its creation before the first."""
        self.active: dict[Job, None] = {}
        self.started = 0
        self.missed = 0
        """Starts left out: too late, or another Job was still running."""
        self.deleted = False


class CronJobController:
    """Starts Jobs through `jobs`, the Job controller, which hears of them through its watch."""

    def __init__(
        self,
        clock: Clock,
        spec: ControllerManagerSpec,
        machine: Machine,
        client: Client,
        applications: Applications,
        jobs: JobController,
        garbage: GarbageCollector,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._machine = machine
        self._client = client
        self._applications = applications
        self._jobs = jobs
        self._garbage = garbage
        self._numbers = 0
        self.cron_jobs: dict[int, CronJob] = {}
        """Those that exist, by application."""
        workers = 1 if spec.cron_job_poll_s else spec.cron_job_workers
        self.queue: WorkQueue[CronJob] = WorkQueue(
            clock, "CronJob", workers, self._sync, spec.retry_base_s, spec.retry_max_s
        )
        if spec.cron_job_poll_s:
            clock.start(self._poll())

    # --- what the informers say

    def app_created(self, app: int) -> None:
        known = self._applications
        options = known.options(app, CronJobOptions)
        cron_job = CronJob(app, known.namespace(app), known.rows(app), options, self._clock._now)
        self.cron_jobs[app] = cron_job
        if not self._spec.cron_job_poll_s:
            self._queue_next(cron_job)

    def app_changed(self, number: int) -> None:
        """Users do not change CronJobs here."""

    def app_deleted(self, app: int) -> None:
        """Its Jobs are collected, and their pods."""
        cron_job = self.cron_jobs.pop(app, None)
        if cron_job is None:
            return
        cron_job.deleted = True
        for job in cron_job.active:
            self._collect(job, GET["cronjobs"])

    def resync(self) -> None:
        if not self._spec.cron_job_poll_s:
            for cron_job in self.cron_jobs.values():
                self.queue.add(cron_job)

    def objects(self) -> Iterable[CronJob]:
        return () if self._spec.cron_job_poll_s else self.cron_jobs.values()

    def as_wanted(self, cron_job: CronJob) -> bool:
        return True  # its next time is queued

    # --- what it does about it

    def _poll(self) -> Generator[Event, Any, None]:
        """Process: list all, then look at one after the other; the period runs from end to start."""
        while True:
            yield self._clock.timeout(self._spec.cron_job_poll_s)
            if not self.cron_jobs or not self.queue.open:
                continue
            for operation in (LIST_JOBS, LIST_CRON_JOBS):
                yield from self._client.turn()
                yield from self._client.send(operation, "")
            for cron_job in list(self.cron_jobs.values()):
                self.queue.add(cron_job)

    def _queue_next(self, cron_job: CronJob) -> None:
        at_s = cron_job.schedule.next_after(self._clock._now)
        if at_s is not None:
            self.queue.add_after(cron_job, at_s + QUEUED_LATE_S - self._clock._now)

    def _sync(self, cron_job: CronJob) -> Generator[Event, Any, bool]:
        if cron_job.deleted:
            return True
        done = yield from self._start_due(cron_job)
        if done and not self._spec.cron_job_poll_s:
            self._queue_next(cron_job)
        return done

    def _start_due(self, cron_job: CronJob) -> Generator[Event, Any, bool]:
        """Start the last of the times that have come since the last start, unless a rule leaves it out."""
        now, options = self._clock._now, cron_job.options
        since_s = cron_job.last_s
        if options.starting_deadline_s is not None:
            since_s = max(since_s, now - options.starting_deadline_s)
        due = cron_job.schedule.due(since_s, now)
        if not due or (self._spec.cron_job_poll_s and len(due) > MOST_MISSED):
            return True
        yield self._machine.work(self._spec.sync_cpu_s)
        if options.concurrency == "Forbid" and cron_job.active:
            cron_job.missed += 1
            if not self._spec.cron_job_poll_s:
                cron_job.last_s = due[-1]
            return True
        if options.concurrency == "Replace":
            for job in list(cron_job.active):
                if (yield from self._client.turn()):
                    return False
                if (yield from self._client.send(DELETE[AppKind.JOB], cron_job.namespace)) != 200:
                    return False
                del cron_job.active[job]
                self._jobs.forget(job, GET["jobs"])
        if (yield from self._client.turn()):
            return False
        if (yield from self._client.send(CREATE[AppKind.JOB], cron_job.namespace)) != 201:
            return False
        cron_job.last_s = due[-1]
        cron_job.started += 1
        rows = [cron_job.rows.pop() for _ in range(min(options.completions, len(cron_job.rows)))]
        rows.reverse()
        job = self._jobs.make(cron_job.app, rows, options.completions, JobOptions(), self._job_over)
        cron_job.active[job] = None
        self._jobs.stored(job)
        if (yield from self._client.turn()):
            return False
        yield from self._client.send(UPDATE_CRON_JOB_STATUS, cron_job.namespace)
        return True

    def _job_over(self, job: Job) -> None:
        cron_job = self.cron_jobs.get(job.app)
        if cron_job is not None:
            cron_job.active.pop(job, None)

    def _collect(self, job: Job, get_owner: Operation) -> None:
        self._numbers += 1
        left = Owned(GET["jobs"], DELETE[AppKind.JOB], job.namespace, lambda: self._jobs.forget(job, GET["jobs"]))
        self._garbage.object_left("jobs", self._numbers, left, get_owner)
