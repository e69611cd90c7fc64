"""What the scheduler runs with: the scenario's fields, or a KubeSchedulerConfiguration file that overrides them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sim.base.errors import InputError, near_miss
from sim.scheduler.configuration import load_configuration
from sim.scheduler.core import Core
from sim.scheduler.framework import SUCCESS, Plugin
from sim.scheduler.profiles import PROFILES, Profile
from sim.scheduler.queue import (
    PreEnqueue,
    QueuedPod,
    QueueRules,
    SchedulingQueue,
    SortKey,
    no_scheduling_gates,
    priority_sort,
)
from sim.scheduler.spec import SchedulerSpec

DEFAULT_SCHEDULER = "default-scheduler"


@dataclass(frozen=True)
class SchedulerSettings:
    """A scheduler ready to be made."""

    name: str
    """Pods that name another scheduler are not its business."""
    profile: Profile
    percentage_of_nodes_to_score: int
    queue_rules: QueueRules
    qps: float
    burst: int
    parallelism: int


def scheduler_settings(
    spec: SchedulerSpec, kubernetes: str, base_dir: str, asked_for: Iterable[str]
) -> SchedulerSettings:
    """Resolve `spec`. kubernetes: the scenario's version. base_dir: where relative paths start.

    asked_for: the schedulers that the load's pods name. A file with several profiles serves the one they name; they
    may name only one of them, because one simulated scheduler runs one profile.
    """
    if spec.configuration is None:
        if spec.profile not in PROFILES:
            raise InputError(f"scheduler.profile: '{spec.profile}' is not known; {near_miss(spec.profile, PROFILES)}")
        rules = QueueRules.for_version(
            kubernetes, initial_backoff_s=spec.pod_initial_backoff_s, max_backoff_s=spec.pod_max_backoff_s
        )
        return SchedulerSettings(
            DEFAULT_SCHEDULER,
            PROFILES[spec.profile],
            spec.percentage_of_nodes_to_score,
            rules,
            spec.qps,
            spec.burst,
            spec.parallelism,
        )
    path = Path(base_dir) / spec.configuration
    read = load_configuration(path)
    offered = [written.scheduler_name for written in read.profiles]
    wanted = sorted(set(asked_for) & set(offered))
    if len(wanted) > 1:
        raise InputError(
            f"scheduler.configuration: '{path}' has the profiles {', '.join(wanted)}, and pods name all of them; "
            "one scheduler runs one profile here, so let the pods name one"
        )
    name = wanted[0] if wanted else offered[0]
    profile = read.profile(name)
    return SchedulerSettings(
        name,
        profile,
        profile.percentage_of_nodes_to_score,
        read.queue_rules(),
        read.client_qps,
        read.client_burst,
        read.parallelism,
    )


def queue_of(core: Core, settings: SchedulerSettings) -> SchedulingQueue:
    """The scheduling queue of a profile: its queue-sort plugin's order, its pre-enqueue plugins' gates."""
    plugins = core.framework.plugins
    profile = settings.profile
    gates = {name: _gate(core, plugins[name]) for name in profile.pre_enqueue if name != "SchedulingGates"}
    known = {"SchedulingGates": no_scheduling_gates} if "SchedulingGates" in profile.pre_enqueue else {}
    return SchedulingQueue(
        settings.queue_rules, sort_key=_order(core, plugins[profile.queue_sort]), pre_enqueue={**known, **gates}
    )


def _order(core: Core, plugin: Plugin) -> SortKey:
    if plugin.name == "PrioritySort":
        return priority_sort

    def key(queued: QueuedPod) -> tuple:
        return plugin.queue_sort(core.info(core.intern(queued.spec)), queued.timestamp_s)

    return key


def _gate(core: Core, plugin: Plugin) -> PreEnqueue:
    def passes(queued: QueuedPod) -> bool:
        status = plugin.pre_enqueue(core.info(core.intern(queued.spec)))
        return status is None or status.code == SUCCESS

    return passes
