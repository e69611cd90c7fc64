"""What an arriving application is: a service, a set with an order, one pod a node, a job now or by the clock, or bare pods.

Each kind has only the parameters that it uses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from sim.base.rand import Dist, Lognormal, Streams
from sim.base.spec import Spec, param
from sim.controllers.cron_schedule import parse_schedule
from sim.state.applications import (
    AppOptions,
    CronJobOptions,
    DaemonSetOptions,
    DeploymentOptions,
    JobOptions,
    Scale,
    Share,
    StatefulSetOptions,
)
from sim.workload import AppKind, Setting
from workloads.draws import counts

OPENB = "computed from the finished pods of the Alibaba GPU cluster trace 2023 (openb): median 236 s, sigma 1.67"
RUN_TIME = Lognormal(median=236.0, sigma=1.67, maximum=1.4e6)


def _share(value: Share) -> Share:
    if isinstance(value, int):
        if value < 0:
            raise ValueError("must not be negative")
    elif not (value.endswith("%") and value[:-1].isdecimal() and int(value[:-1]) <= 100):
        raise ValueError("must be a number of pods, or a share from 0% to 100%")
    return value


ShareField = Annotated[int | str, AfterValidator(_share)]


def _schedule(text: str) -> str:
    parse_schedule(text)
    return text


@dataclass(frozen=True, slots=True)
class Update:
    """What a user does to one application after having asked for it; a rolling update's template comes later."""

    at_s: float
    app: int
    """Row within the stream."""
    what: Scale | None
    """None: a new revision."""


class Application(Spec):
    """What every kind shares."""

    lifetime_s: Dist | None = param(None, "time from the user's request to the user's deletion; none: never deleted")

    @property
    def app_kind(self) -> AppKind:
        """How the simulator creates its pods."""
        raise NotImplementedError

    def pod_counts(self, streams: Streams, name: str, size: int) -> np.ndarray:
        """Pods (int64, at least 1) of each of `size` applications."""
        raise NotImplementedError

    def pods_in(self, setting: Setting, time_s: np.ndarray, streams: Streams, name: str) -> np.ndarray:
        """Pods (int64) of the applications asked for at `time_s`, in this scenario."""
        return self.pod_counts(streams, name, len(time_s))

    def options(self) -> AppOptions | None:
        """What its object says beside its pods; None: its kind's defaults."""
        return None

    def updates(
        self, time_s: np.ndarray, end_s: np.ndarray, pods: np.ndarray, horizon_s: float, streams: Streams, name: str
    ) -> list[Update]:
        """What users do to applications between their request and their deletion."""
        return []

    def parallelism_of(self, pods: np.ndarray, streams: Streams, name: str) -> np.ndarray:
        """How many of its pods an application runs at a time; all, but for jobs."""
        return pods

    def durations_s(self, streams: Streams, name: str, pods: int) -> np.ndarray:
        """Run time (float64, seconds) of each of `pods` pods; inf = until deleted."""
        return np.full(pods, np.inf)

    def lifetimes_s(self, streams: Streams, name: str, size: int) -> np.ndarray:
        """Time (float64, seconds) from request to deletion of each application; inf = never."""
        if self.lifetime_s is None:
            return np.full(size, np.inf)
        return self.lifetime_s.sample(streams(f"{name}.lifetime"), size)


class Updated(Application):
    """What the kinds share whose users change them while they run."""

    update_every_s: Dist | None = param(
        None, "time from the request, or the last new revision, to the next one; none: there is but one revision"
    )
    foreground_deletion: bool = param(
        False, "its user deletes it in the foreground (propagationPolicy): its object stays until all that it owns has gone"
    )

    @model_validator(mode="after")
    def _is_deleted(self) -> Self:
        if self.foreground_deletion and self.lifetime_s is None:
            raise ValueError("foreground_deletion says how it is deleted, but nobody deletes it: set lifetime_s")
        return self

    def updates(
        self, time_s: np.ndarray, end_s: np.ndarray, pods: np.ndarray, horizon_s: float, streams: Streams, name: str
    ) -> list[Update]:
        if self.update_every_s is None:
            return []
        rolls = _moments(self.update_every_s, time_s, np.minimum(end_s, horizon_s), streams, f"{name}.updates")
        return [Update(at_s, app, None) for app, at_s in rolls]


MOST_CHANGES = 1000
"""Of one application: more would be a mistake in the scenario."""


def _moments(
    every_s: Dist, begin_s: np.ndarray, end_s: np.ndarray, streams: Streams, name: str
) -> list[tuple[int, float]]:
    """(row, time) of what happens again and again between each begin and its end."""
    found: list[tuple[int, float]] = []
    rng, at_s = streams(name), begin_s.astype(np.float64)
    rows = np.arange(len(begin_s))
    for _ in range(MOST_CHANGES):
        at_s = at_s + np.maximum(every_s.sample(rng, len(rows)), 1e-3)
        stays = at_s < end_s[rows]
        rows, at_s = rows[stays], at_s[stays]
        if not len(rows):
            break
        found += list(zip(rows.tolist(), at_s.tolist(), strict=True))
    return found


class ServiceApplication(Updated):
    """A Deployment: its pods run until the user deletes it."""

    kind: Literal["service"] = "service"
    replicas: Dist = param(3, "pods of one service, rounded, at least one", validate_default=True)
    strategy: Literal["RollingUpdate", "Recreate"] = param(
        "RollingUpdate", "how a new revision replaces the old one", source="Kubernetes 1.20 source, apis/apps defaults"
    )
    max_surge: ShareField = param("25%", "pods above `replicas` during an update", source="as `strategy`")
    max_unavailable: ShareField = param("25%", "pods that may be missing during an update", source="as `strategy`")
    min_ready_s: int = param(0, "a new pod counts after it has been ready for so long", ge=0, le=100_000)
    scale_every_s: Dist | None = param(None, "time from one change of its size to the next; none: never")
    scale_by: Dist = param(
        1.0, "factor on `replicas` at each change of its size, rounded, at least one", validate_default=True
    )

    def options(self) -> AppOptions | None:
        own = DeploymentOptions(self.strategy == "Recreate", self.max_surge, self.max_unavailable, self.min_ready_s)
        own = replace(own, foreground=self.foreground_deletion)
        return own if own != DeploymentOptions() else None

    def updates(
        self, time_s: np.ndarray, end_s: np.ndarray, pods: np.ndarray, horizon_s: float, streams: Streams, name: str
    ) -> list[Update]:
        found = super().updates(time_s, end_s, pods, horizon_s, streams, name)
        if self.scale_every_s is not None:
            scales = _moments(self.scale_every_s, time_s, np.minimum(end_s, horizon_s), streams, f"{name}.scales")
            factors = self.scale_by.sample(streams(f"{name}.scale_by"), len(scales))
            found += [
                Update(at_s, app, Scale(max(1, round(float(pods[app] * factor)))))
                for (app, at_s), factor in zip(scales, factors.tolist(), strict=True)
            ]
        return found

    @property
    def app_kind(self) -> AppKind:
        return AppKind.SERVICE

    def pod_counts(self, streams: Streams, name: str, size: int) -> np.ndarray:
        return counts(self.replicas, streams(f"{name}.replicas"), size, "application.replicas")


class StatefulSetApplication(Updated):
    """A StatefulSet: pods with an order and a name; its volumes are not simulated."""

    kind: Literal["stateful-set"] = "stateful-set"
    replicas: Dist = param(3, "pods of one set, rounded, at least one", validate_default=True)
    parallel: bool = param(False, "pods start and end without waiting for each other (podManagementPolicy Parallel)")
    partition: int = param(0, "ordinals below it keep their revision in an update", ge=0, le=1_000_000)

    @property
    def app_kind(self) -> AppKind:
        return AppKind.STATEFUL_SET

    def pod_counts(self, streams: Streams, name: str, size: int) -> np.ndarray:
        return counts(self.replicas, streams(f"{name}.replicas"), size, "application.replicas")

    def options(self) -> AppOptions | None:
        own = StatefulSetOptions(
            parallel=self.parallel, partition=self.partition, foreground=self.foreground_deletion
        )
        return own if own != StatefulSetOptions() else None


class DaemonSetApplication(Updated):
    """A DaemonSet: one pod on each node that its pods may run on."""

    kind: Literal["daemon-set"] = "daemon-set"
    max_unavailable: ShareField = param(
        1, "nodes that may be without a pod during an update", source="Kubernetes 1.20 source, apis/apps defaults"
    )

    @property
    def app_kind(self) -> AppKind:
        return AppKind.DAEMON_SET

    def pods_in(self, setting: Setting, time_s: np.ndarray, streams: Streams, name: str) -> np.ndarray:
        return np.full(len(time_s), max(1, setting.nodes), np.int64)

    def options(self) -> AppOptions | None:
        own = DaemonSetOptions(max_unavailable=self.max_unavailable, foreground=self.foreground_deletion)
        return own if own != DaemonSetOptions() else None


class JobApplication(Application):
    """A Job: so many pods must finish, a limited number of them at a time."""

    kind: Literal["job"] = "job"
    completions: Dist = param(1, "pods of one job, rounded, at least one", validate_default=True)
    parallelism: Dist | None = param(None, "pods of one job at a time, rounded, at least one; none: all of them")
    duration_s: Dist = param(RUN_TIME, "run time of each pod, independent", source=OPENB)
    backoff_limit: int = param(
        6,
        "failed pods after which the job has failed",
        source="Kubernetes 1.20 source, apis/batch defaults",
        ge=0,
        le=1_000_000,
    )

    @property
    def app_kind(self) -> AppKind:
        return AppKind.JOB

    def options(self) -> AppOptions | None:
        return JobOptions(self.backoff_limit) if self.backoff_limit != 6 else None

    def pod_counts(self, streams: Streams, name: str, size: int) -> np.ndarray:
        return counts(self.completions, streams(f"{name}.completions"), size, "application.completions")

    def parallelism_of(self, pods: np.ndarray, streams: Streams, name: str) -> np.ndarray:
        if self.parallelism is None:
            return pods
        drawn = counts(self.parallelism, streams(f"{name}.parallelism"), len(pods), "application.parallelism")
        return np.minimum(drawn, pods)

    def durations_s(self, streams: Streams, name: str, pods: int) -> np.ndarray:
        return self.duration_s.sample(streams(f"{name}.duration"), pods)


class CronJobApplication(Application):
    """A CronJob: a job at each of its times, from its request to its deletion. Time 0 is a Monday's midnight, UTC."""

    kind: Literal["cron-job"] = "cron-job"
    schedule: Annotated[str, AfterValidator(_schedule)] = param(
        "* * * * *", "minute, hour, day, month, weekday, as cron has them"
    )
    completions: int = param(1, "pods of each of its jobs", ge=1, le=1_000_000)
    duration_s: Dist = param(RUN_TIME, "run time of each pod, independent", source=OPENB)
    concurrency: Literal["Allow", "Forbid", "Replace"] = param(
        "Allow", "what becomes of a start while the last job runs", source="Kubernetes 1.20 source, apis/batch defaults"
    )
    starting_deadline_s: int | None = param(
        None, "a start that is later is left out; none: none is", ge=1, le=1_000_000
    )

    @model_validator(mode="after")
    def _starts_at_all(self) -> CronJobApplication:
        if parse_schedule(self.schedule).next_after(0.0) is None:
            raise ValueError(f"schedule '{self.schedule}' never comes")
        return self

    @property
    def app_kind(self) -> AppKind:
        return AppKind.CRON_JOB

    def pods_in(self, setting: Setting, time_s: np.ndarray, streams: Streams, name: str) -> np.ndarray:
        """Rows for all jobs that may start before the horizon."""
        due = np.array(parse_schedule(self.schedule).due(0.0, setting.horizon_s))
        starts = len(due) - np.searchsorted(due, time_s, side="right")
        return np.maximum(1, starts) * self.completions

    def parallelism_of(self, pods: np.ndarray, streams: Streams, name: str) -> np.ndarray:
        return np.full(len(pods), self.completions)

    def durations_s(self, streams: Streams, name: str, pods: int) -> np.ndarray:
        return self.duration_s.sample(streams(f"{name}.duration"), pods)

    def options(self) -> AppOptions | None:
        return CronJobOptions(self.schedule, self.completions, self.concurrency, self.starting_deadline_s)


class PodApplication(Application):
    """Bare pods that the user posts directly, without a controller."""

    kind: Literal["pod"] = "pod"
    count: Dist = param(1, "pods posted together, rounded, at least one", validate_default=True)
    duration_s: Dist | None = param(RUN_TIME, "run time of each pod, independent; none: until deleted", source=OPENB)

    @property
    def app_kind(self) -> AppKind:
        return AppKind.POD

    def pod_counts(self, streams: Streams, name: str, size: int) -> np.ndarray:
        return counts(self.count, streams(f"{name}.count"), size, "application.count")

    def durations_s(self, streams: Streams, name: str, pods: int) -> np.ndarray:
        if self.duration_s is None:
            return super().durations_s(streams, name, pods)
        return self.duration_s.sample(streams(f"{name}.duration"), pods)


AnyApplication = Annotated[
    ServiceApplication
    | StatefulSetApplication
    | DaemonSetApplication
    | JobApplication
    | CronJobApplication
    | PodApplication,
    Field(discriminator="kind"),
]
"""A field that takes any of them: `{kind: job, completions: 10, duration_s: 30}`."""
