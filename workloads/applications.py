"""What an arriving application is: a service, a job, or bare pods. Each kind has only the parameters that it uses."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sim.base.rand import Dist, Lognormal, Streams
from sim.base.spec import Spec, param
from sim.workload import AppKind
from workloads.draws import counts

OPENB = "computed from the finished pods of the Alibaba GPU cluster trace 2023 (openb): median 236 s, sigma 1.67"
RUN_TIME = Lognormal(median=236.0, sigma=1.67, maximum=1.4e6)


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


class ServiceApplication(Application):
    """A Deployment: its pods run until the user deletes it."""

    kind: Literal["service"] = "service"
    replicas: Dist = param(3, "pods of one service, rounded, at least one", validate_default=True)

    @property
    def app_kind(self) -> AppKind:
        return AppKind.SERVICE

    def pod_counts(self, streams: Streams, name: str, size: int) -> np.ndarray:
        return counts(self.replicas, streams(f"{name}.replicas"), size, "application.replicas")


class JobApplication(Application):
    """A Job: so many pods must finish, a limited number of them at a time."""

    kind: Literal["job"] = "job"
    completions: Dist = param(1, "pods of one job, rounded, at least one", validate_default=True)
    parallelism: Dist | None = param(None, "pods of one job at a time, rounded, at least one; none: all of them")
    duration_s: Dist = param(RUN_TIME, "run time of each pod, independent", source=OPENB)

    @property
    def app_kind(self) -> AppKind:
        return AppKind.JOB

    def pod_counts(self, streams: Streams, name: str, size: int) -> np.ndarray:
        return counts(self.completions, streams(f"{name}.completions"), size, "application.completions")

    def parallelism_of(self, pods: np.ndarray, streams: Streams, name: str) -> np.ndarray:
        if self.parallelism is None:
            return pods
        drawn = counts(self.parallelism, streams(f"{name}.parallelism"), len(pods), "application.parallelism")
        return np.minimum(drawn, pods)

    def durations_s(self, streams: Streams, name: str, pods: int) -> np.ndarray:
        return self.duration_s.sample(streams(f"{name}.duration"), pods)


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


AnyApplication = Annotated[ServiceApplication | JobApplication | PodApplication, Field(discriminator="kind")]
"""A field that takes any of them: `{kind: job, completions: 10, duration_s: 30}`."""
