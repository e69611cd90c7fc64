"""What the specs of controllers' objects say, beside their pods: update strategies, limits, schedules; and how users change them.

Defaults are those of the API (Kubernetes 1.20 source, apis/apps, apis/batch). A share is text with a percent sign.
"""

from __future__ import annotations

from dataclasses import dataclass

Share = int | str
"""A number of pods, or a share of those wanted: "25%"."""


@dataclass(frozen=True, slots=True)
class DeploymentOptions:
    """spec.strategy and what stands beside it."""

    recreate: bool = False
    """Strategy Recreate: all old pods go before the first new one comes. Else RollingUpdate."""
    max_surge: Share = "25%"
    """Pods above the wanted number during an update; shares round up."""
    max_unavailable: Share = "25%"
    """Pods below the wanted number during an update; shares round down."""
    min_ready_s: int = 0
    """A pod counts as available after it has been ready for so long."""
    progress_deadline_s: int = 600
    """Without progress for so long the Deployment says that it is stuck."""
    revision_history_limit: int = 10
    """Old ReplicaSets, without pods, that are kept."""
    foreground: bool = False
    """Its user deletes it in the foreground: its object stays until everything it owns has gone."""


@dataclass(frozen=True, slots=True)
class StatefulSetOptions:
    """spec.podManagementPolicy and spec.updateStrategy."""

    parallel: bool = False
    """Pods start and end without waiting for each other."""
    on_delete: bool = False
    """A new revision is given to pods only when somebody deletes them."""
    partition: int = 0
    """Ordinals below this keep their revision in a rolling update."""
    foreground: bool = False
    """Its user deletes it in the foreground: its object stays until everything it owns has gone."""


@dataclass(frozen=True, slots=True)
class DaemonSetOptions:
    """spec.updateStrategy."""

    on_delete: bool = False
    """A new revision is given to pods only when somebody deletes them."""
    max_unavailable: Share = 1
    """Nodes without an available pod during an update; shares round up."""
    foreground: bool = False
    """Its user deletes it in the foreground: its object stays until everything it owns has gone."""


@dataclass(frozen=True, slots=True)
class JobOptions:
    """spec.backoffLimit."""

    backoff_limit: int = 6
    """Failed pods after which the Job has failed."""


@dataclass(frozen=True, slots=True)
class CronJobOptions:
    """spec.schedule and what stands beside it."""

    schedule: str = "* * * * *"
    """Five fields as cron has them; simulated time 0 is a Monday's midnight, UTC."""
    completions: int = 1
    """Pods of each of its Jobs."""
    concurrency: str = "Allow"
    """Allow, Forbid (leave a start out while the last Job runs) or Replace (end that Job first)."""
    starting_deadline_s: int | None = None
    """A start later than this is left out; None: starts are made up for, the last one only."""


AppOptions = DeploymentOptions | StatefulSetOptions | DaemonSetOptions | JobOptions | CronJobOptions


@dataclass(frozen=True, slots=True)
class Scale:
    """The user wants another number of pods."""

    replicas: int


@dataclass(frozen=True, slots=True)
class Roll:
    """The user changes the pods' template: they are replaced by new ones."""

    template: int
    """Row of the load's templates; one of its own for each revision."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a user does to an application after having asked for it."""

    at_s: float
    app: int
    """Row of the load."""
    what: Scale | Roll


def pods_of_share(share: Share, of: int, round_up: bool) -> int:
    """A share as a number of pods; shares of `of` round up or down."""
    if isinstance(share, int):
        return share
    percent = int(share.removesuffix("%"))
    return -(-percent * of // 100) if round_up else percent * of // 100
