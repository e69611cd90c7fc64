"""Profiles: which plugins run, with which weights, in which version's arithmetic. Data, by Kubernetes version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sim.base.errors import InputError, near_miss


@dataclass(frozen=True)
class Profile:
    """The plugins of a scheduler by extension point, in the order they are asked.

    Plugins of volumes and dynamic resource allocation, which never reject in this model, are not listed.
    """

    name: str
    arithmetic: str = "1.34"
    """Whose formulas apply: "1.34", "1.20" or "1.12"."""
    queue_sort: str = "PrioritySort"
    pre_enqueue: tuple[str, ...] = ()
    pre_filter: tuple[str, ...] = ()
    filter: tuple[str, ...] = ()
    post_filter: tuple[str, ...] = ("DefaultPreemption",)
    score: tuple[tuple[str, int], ...] = ()
    """(plugin, weight); PreScore and NormalizeScore belong to the same plugins."""
    reserve: tuple[str, ...] = ()
    permit: tuple[str, ...] = ()
    pre_bind: tuple[str, ...] = ()
    bind: tuple[str, ...] = ("DefaultBinder",)
    post_bind: tuple[str, ...] = ()
    args: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """pluginConfig by plugin name, as in the v1 API."""
    percentage_of_nodes_to_score: int = 0
    """Percent of nodes after which the search ends; 0 is the adaptive rule, 100 evaluates all."""

    def plugin_names(self) -> Iterator[str]:
        """Every plugin of the profile, once."""
        names = [self.queue_sort, *self.pre_enqueue, *self.pre_filter, *self.filter, *self.post_filter]
        names += [name for name, _ in self.score]
        names += [*self.reserve, *self.permit, *self.pre_bind, *self.bind, *self.post_bind]
        return iter(dict.fromkeys(names))

    def with_weights(self, weights: Mapping[str, int]) -> Profile:
        """The same profile with other score weights; every name must be one of its score plugins."""
        known = [name for name, _ in self.score]
        for name in weights:
            if name not in known:
                raise InputError(f"profiles.{self.name}.weights.{name}: not a score plugin; {near_miss(name, known)}")
        return replace(self, score=tuple((name, weights.get(name, weight)) for name, weight in self.score))

    def with_args(self, args: Mapping[str, Mapping[str, Any]]) -> Profile:
        """The same profile with other plugin arguments (those of unnamed plugins stay)."""
        known = list(self.plugin_names())
        for name in args:
            if name not in known:
                raise InputError(f"profiles.{self.name}.args.{name}: not in the profile; {near_miss(name, known)}")
        return replace(self, args={**self.args, **args})


_FILTERS = (
    "NodeUnschedulable", "NodeName", "TaintToleration", "NodeAffinity", "NodePorts", "NodeResourcesFit",
    "PodTopologySpread", "InterPodAffinity",
)  # fmt: skip
_PRE_FILTERS = ("NodeAffinity", "NodePorts", "NodeResourcesFit", "PodTopologySpread", "InterPodAffinity")

_1_20 = Profile(
    "1.20",
    arithmetic="1.20",
    pre_filter=("NodeResourcesFit", "NodePorts", "PodTopologySpread", "InterPodAffinity"),
    filter=_FILTERS,
    score=(
        ("NodeResourcesBalancedAllocation", 1),
        ("ImageLocality", 1),
        ("InterPodAffinity", 1),
        ("NodeResourcesLeastAllocated", 1),
        ("NodeAffinity", 1),
        ("NodePreferAvoidPods", 10000),
        ("PodTopologySpread", 2),
        ("TaintToleration", 1),
    ),
    args={"PodTopologySpread": {"defaultingType": "System"}},
)

PROFILES: dict[str, Profile] = {
    # Kubernetes 1.34, apis/config/v1/default_plugins.go
    "1.34": Profile(
        "1.34",
        pre_enqueue=("SchedulingGates",),
        pre_filter=_PRE_FILTERS,
        filter=_FILTERS,
        score=(
            ("TaintToleration", 3),
            ("NodeAffinity", 2),
            ("NodeResourcesFit", 1),
            ("PodTopologySpread", 2),
            ("InterPodAffinity", 2),
            ("NodeResourcesBalancedAllocation", 1),
            ("ImageLocality", 1),
        ),
    ),
    # Kubernetes 1.20, algorithmprovider/registry.go
    "1.20": _1_20,
    # as 1.20 with the gate DefaultPodTopologySpread off
    "1.19": replace(
        _1_20,
        name="1.19",
        score=(*_1_20.score, ("SelectorSpread", 1)),
        args={"PodTopologySpread": {"defaultingType": "List"}},
    ),
    # Kubernetes 1.12, algorithmprovider/defaults/defaults.go, with taints for node conditions
    "1.12": Profile(
        "1.12",
        arithmetic="1.12",
        pre_filter=("PodFitsHostPorts", "MatchInterPodAffinity"),
        filter=(
            "CheckNodeUnschedulable",
            "HostName",
            "PodFitsHostPorts",
            "MatchNodeSelector",
            "PodFitsResources",
            "PodToleratesNodeTaints",
            "MatchInterPodAffinity",
        ),
        score=(
            ("SelectorSpreadPriority", 1),
            ("InterPodAffinityPriority", 1),
            ("LeastRequestedPriority", 1),
            ("BalancedResourceAllocation", 1),
            ("NodePreferAvoidPodsPriority", 10000),
            ("NodeAffinityPriority", 1),
            ("TaintTolerationPriority", 1),
        ),
        percentage_of_nodes_to_score=50,
    ),
}


def profile(name: str) -> Profile:
    """A profile by Kubernetes version."""
    try:
        return PROFILES[name]
    except KeyError:
        raise InputError(f"scheduler.profile: '{name}' is not known; {near_miss(name, PROFILES)}") from None
