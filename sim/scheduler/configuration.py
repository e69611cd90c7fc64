"""Reads a KubeSchedulerConfiguration file as users have it (v1, v1beta3, v1beta2, v1beta1) into frozen data.

Defaults, the merging of plugin sets, their order and the rules are kube-scheduler's own. A field or plugin that kubedes
does not know is refused by name, never ignored. Accepted without effect, because they bear neither on a decision nor on
a modelled duration: clientConnection.kubeconfig and content types, bind addresses, profiling, leader election's
resource names.

Plugins that are **not modelled**: VolumeRestrictions, NodeVolumeLimits, EBSLimits, GCEPDLimits, AzureDiskLimits,
VolumeBinding, VolumeZone and DynamicResources. They are accepted only where they are enabled by default, stay in the
plugin sets with `modelled=False`, and never reject a pod in kubedes, which has no volumes and no device claims.
A score plugin always brings its PreScore with it, so disabling the one and not the other is refused.

Sources: Kubernetes 1.34 source, `scheduler/apis/config` (v1 defaults, default_plugins, validation) and
`framework/runtime` (multiPoint); Kubernetes 1.20 source, `apis/config/v1beta1` and `algorithmprovider`; the sets of
v1beta2 and v1beta3 as of Kubernetes 1.22 and 1.25.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sim.base.documents import read_documents
from sim.base.errors import InputError, Problems, near_miss
from sim.base.units import parse_duration_s
from sim.scheduler.profiles import Profile
from sim.scheduler.queue import QueueRules
from sim.state.api import Reader

GROUP = "kubescheduler.config.k8s.io"
EXTENSION_POINTS: Mapping[str, str] = MappingProxyType(
    {
        "preEnqueue": "pre_enqueue",
        "queueSort": "queue_sort",
        "preFilter": "pre_filter",
        "filter": "filter",
        "postFilter": "post_filter",
        "preScore": "pre_score",
        "score": "score",
        "reserve": "reserve",
        "permit": "permit",
        "preBind": "pre_bind",
        "bind": "bind",
        "postBind": "post_bind",
    }
)
"""Names in the file → names in kubedes, in the order a pod meets them."""


@dataclass(frozen=True, slots=True)
class PluginUse:
    """A plugin at an extension point."""

    name: str
    weight: int = 0
    """Of its score; 0 at other points."""
    modelled: bool = True
    """False: accepted, and without effect (see the module's docstring)."""


@dataclass(frozen=True)
class ProfileConfiguration:
    """One profile: pods name it in spec.schedulerName."""

    scheduler_name: str
    plugins: Mapping[str, tuple[PluginUse, ...]]
    """Extension point (`pre_filter` …) → its plugins in order."""
    args: Mapping[str, Mapping[str, Any]]
    """Plugin → its arguments with the API's defaults filled in, keys as in the file. Plugins without any are absent."""
    percentage_of_nodes_to_score: int | None
    """None: the configuration's own."""
    arithmetic: str
    """The Kubernetes version whose plugins these are: "1.20" for v1beta1, otherwise "1.34"."""

    def names(self, point: str) -> tuple[str, ...]:
        """The modelled plugins of an extension point, in order."""
        return tuple(use.name for use in self.plugins[point] if use.modelled)


@dataclass(frozen=True, slots=True)
class LeaderElectionConfiguration:
    leader_elect: bool = True
    lease_duration_s: float = 15.0
    renew_deadline_s: float = 10.0
    retry_period_s: float = 2.0


@dataclass(frozen=True)
class SchedulerConfiguration:
    """A KubeSchedulerConfiguration with every default filled in."""

    api_version: str
    profiles: tuple[ProfileConfiguration, ...]
    percentage_of_nodes_to_score: int
    """0: adaptive."""
    parallelism: int
    pod_initial_backoff_s: float
    pod_max_backoff_s: float
    client_qps: float
    client_burst: int
    leader_election: LeaderElectionConfiguration

    @property
    def kubernetes_version(self) -> str:
        """The release whose scheduler is simulated for this API version."""
        return _KUBERNETES[self.api_version.removeprefix(f"{GROUP}/")]

    def profile(self, scheduler_name: str) -> Profile:
        """The profile of that name as the decision core takes it."""
        for written in self.profiles:
            if written.scheduler_name == scheduler_name:
                return profile_from_configuration(self, written)
        names = [written.scheduler_name for written in self.profiles]
        raise InputError(
            f"scheduler configuration: has no profile '{scheduler_name}'; {near_miss(scheduler_name, names)}"
        )

    def queue_rules(self) -> QueueRules:
        """The scheduling queue's rules: those of the Kubernetes version with this configuration's back-offs."""
        return QueueRules.for_version(
            self.kubernetes_version, initial_backoff_s=self.pod_initial_backoff_s, max_backoff_s=self.pod_max_backoff_s
        )


def profile_from_configuration(configuration: SchedulerConfiguration, written: ProfileConfiguration) -> Profile:
    """A profile of the file as the decision core takes it: modelled plugins only, arguments with their defaults."""
    own = written.percentage_of_nodes_to_score
    points = {
        point: written.names(point)
        for point in EXTENSION_POINTS.values()
        if point not in ("queue_sort", "pre_score", "score")
    }
    (queue_sort,) = written.names("queue_sort")
    score = tuple((use.name, use.weight) for use in written.plugins["score"] if use.modelled)
    named = {queue_sort, *(name for name, _ in score), *(name for names in points.values() for name in names)}
    return Profile(
        name=written.scheduler_name,
        arithmetic=written.arithmetic,
        queue_sort=queue_sort,
        score=score,
        args={name: args for name, args in written.args.items() if name in named and args},
        percentage_of_nodes_to_score=configuration.percentage_of_nodes_to_score if own is None else own,
        **points,
    )


_KUBERNETES = {"v1": "1.34", "v1beta3": "1.25", "v1beta2": "1.22", "v1beta1": "1.20"}


# --- the plugins of each version --------------------------------------------------------------------------------------

_FILTER_AND_SCORE = ("pre_filter", "filter", "pre_score", "score")

_IN_TREE: Mapping[str, tuple[str, ...]] = {
    "SchedulingGates": ("pre_enqueue",),
    "PrioritySort": ("queue_sort",),
    "NodeUnschedulable": ("filter",),
    "NodeName": ("filter",),
    "TaintToleration": ("filter", "pre_score", "score"),
    "NodeAffinity": _FILTER_AND_SCORE,
    "NodePorts": ("pre_filter", "filter"),
    "NodeResourcesFit": _FILTER_AND_SCORE,
    "PodTopologySpread": _FILTER_AND_SCORE,
    "InterPodAffinity": _FILTER_AND_SCORE,
    "NodeResourcesBalancedAllocation": ("pre_score", "score"),
    "ImageLocality": ("score",),
    "DefaultPreemption": ("post_filter",),
    "DefaultBinder": ("bind",),
    # Up to 1.22 (v1beta1):
    "SelectorSpread": ("pre_score", "score"),
    "NodePreferAvoidPods": ("score",),
    "NodeResourcesLeastAllocated": ("score",),
    "NodeResourcesMostAllocated": ("score",),
    "RequestedToCapacityRatio": ("score",),
}
"""The modelled plugins of kube-scheduler and the extension points they implement."""

_SCORED_AT_ONCE = {
    "NodeResourcesFit": ("pre_filter", "filter", "score"),
    "NodeResourcesBalancedAllocation": ("score",),
}
_FEWER_POINTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "v1": {},
    "v1beta3": _SCORED_AT_ONCE,
    "v1beta2": _SCORED_AT_ONCE,
    "v1beta1": {**_SCORED_AT_ONCE, "NodeResourcesFit": ("pre_filter", "filter"), "NodeAffinity": ("filter", "score")},
}
"""Where older plugins implement fewer points."""

_LEGACY = frozenset(
    {
        "SelectorSpread",
        "NodePreferAvoidPods",
        "NodeResourcesLeastAllocated",
        "NodeResourcesMostAllocated",
        "RequestedToCapacityRatio",
    }
)

_NOT_MODELLED: Mapping[str, tuple[str, ...]] = {
    "VolumeRestrictions": ("pre_filter", "filter"),
    "NodeVolumeLimits": ("pre_filter", "filter"),
    "EBSLimits": ("filter",),
    "GCEPDLimits": ("filter",),
    "AzureDiskLimits": ("filter",),
    "VolumeBinding": ("pre_filter", "filter", "reserve", "pre_bind"),
    "VolumeZone": ("pre_filter", "filter"),
    "DynamicResources": ("pre_enqueue", "pre_filter", "filter", "post_filter", "reserve", "pre_bind"),
}
_REFUSED = ("CinderLimits", "NodeLabel", "ServiceAffinity", "NodeResourcesLimits", "GangScheduling")
"""Kubernetes' own, not modelled, and in no default set."""

PluginSet = tuple[tuple[str, int], ...]
"""(name, weight) in order."""


def _plain(*names: str) -> PluginSet:
    return tuple((name, 0) for name in names)


_FILTERS_BEFORE_1_31 = (
    "NodeUnschedulable NodeName TaintToleration NodeAffinity NodePorts NodeResourcesFit VolumeRestrictions EBSLimits "
    "GCEPDLimits NodeVolumeLimits AzureDiskLimits VolumeBinding VolumeZone PodTopologySpread InterPodAffinity"
)

_SAME_BEFORE_MULTI_POINT: Mapping[str, PluginSet] = {
    "queue_sort": _plain("PrioritySort"),
    "filter": _plain(*_FILTERS_BEFORE_1_31.split()),
    "post_filter": _plain("DefaultPreemption"),
    "reserve": _plain("VolumeBinding"),
    "pre_bind": _plain("VolumeBinding"),
    "bind": _plain("DefaultBinder"),
}

_WEIGHTS = {"TaintToleration": 3, "NodeAffinity": 2, "PodTopologySpread": 2, "InterPodAffinity": 2}
_WEIGHTS |= {"NodeResourcesFit": 1, "NodeResourcesBalancedAllocation": 1, "ImageLocality": 1}


def _multi_point(names: str) -> Mapping[str, PluginSet]:
    return {"multi_point": tuple((name, _WEIGHTS.get(name, 0)) for name in names.split())}


DEFAULT_PLUGINS: Mapping[str, Mapping[str, PluginSet]] = {
    "v1": _multi_point(
        "SchedulingGates PrioritySort NodeUnschedulable NodeName TaintToleration NodeAffinity NodePorts "
        "NodeResourcesFit VolumeRestrictions NodeVolumeLimits VolumeBinding VolumeZone PodTopologySpread "
        "InterPodAffinity DynamicResources DefaultPreemption NodeResourcesBalancedAllocation ImageLocality "
        "DefaultBinder"
    ),
    "v1beta3": _multi_point(
        f"PrioritySort {_FILTERS_BEFORE_1_31} DefaultPreemption NodeResourcesBalancedAllocation ImageLocality "
        "DefaultBinder"
    ),
    "v1beta2": {
        **_SAME_BEFORE_MULTI_POINT,
        "pre_filter": _plain(
            "NodeResourcesFit",
            "NodePorts",
            "VolumeRestrictions",
            "PodTopologySpread",
            "InterPodAffinity",
            "VolumeBinding",
            "NodeAffinity",
        ),
        "pre_score": _plain("InterPodAffinity", "PodTopologySpread", "TaintToleration", "NodeAffinity"),
        "score": (
            ("NodeResourcesBalancedAllocation", 1),
            ("ImageLocality", 1),
            ("InterPodAffinity", 1),
            ("NodeResourcesFit", 1),
            ("NodeAffinity", 1),
            ("PodTopologySpread", 2),
            ("TaintToleration", 1),
        ),
    },
    "v1beta1": {
        **_SAME_BEFORE_MULTI_POINT,
        "pre_filter": _plain("NodeResourcesFit", "NodePorts", "PodTopologySpread", "InterPodAffinity", "VolumeBinding"),
        "pre_score": _plain("InterPodAffinity", "PodTopologySpread", "TaintToleration"),
        "score": (
            ("NodeResourcesBalancedAllocation", 1),
            ("ImageLocality", 1),
            ("InterPodAffinity", 1),
            ("NodeResourcesLeastAllocated", 1),
            ("NodeAffinity", 1),
            ("NodePreferAvoidPods", 10000),
            ("PodTopologySpread", 2),
            ("TaintToleration", 1),
        ),
    },
}
"""API version → extension point (or `multi_point`) → plugins enabled by default."""

_TOP_LEVEL = frozenset(
    {
        "apiVersion",
        "kind",
        "clientConnection",
        "enableContentionProfiling",
        "enableProfiling",
        "extenders",
        "leaderElection",
        "parallelism",
        "percentageOfNodesToScore",
        "podInitialBackoffSeconds",
        "podMaxBackoffSeconds",
        "profiles",
    }
)
_MAX_WEIGHT = 2**31 - 1


class _ConfigurationReader(Reader):
    """Reads the parts of a configuration of one API version."""

    def __init__(self, problems: Problems, version: str) -> None:
        super().__init__(problems)
        self.version = version
        defaults = DEFAULT_PLUGINS[version]
        self.default_names = {name for plugins in defaults.values() for name, _ in plugins}

    # Plugins.

    def points_of(self, name: str) -> tuple[str, ...] | None:
        """The extension points a plugin implements; None: kubedes does not have it under this API version."""
        if name in _IN_TREE:
            if name in _LEGACY and self.version != "v1beta1":
                return None
            return _FEWER_POINTS[self.version].get(name, _IN_TREE[name])
        if name in _NOT_MODELLED:
            return _NOT_MODELLED[name] if name in self.default_names else None
        from sim.scheduler.framework import PLUGINS  # the kernels behind it take time to import: only when needed

        return PLUGINS[name].points() if name in PLUGINS else None

    def _why_unknown(self, name: str) -> tuple[str, str]:
        """(rule, hint) for a plugin that `points_of` does not know."""
        if name in _LEGACY:
            return f"is no plugin of {self.version}: it went with v1beta1", "use NodeResourcesFit's scoringStrategy"
        if name in _NOT_MODELLED or name in _REFUSED:
            return "is not modelled by kubedes", "remove it"
        from sim.scheduler.framework import PLUGINS

        known = {known for known in (*_IN_TREE, *PLUGINS) if self.points_of(known) is not None} | self.default_names
        hint = near_miss(name, known)
        if not hint.startswith("did you mean"):
            hint = "remove it, or register your own plugin of this name under the entry point kubedes.scheduler_plugins"
        return "is not a plugin that kubedes knows", hint

    def plugin_list(self, value: Any, path: str, weighted: bool) -> list[tuple[str, int]]:
        """(name, weight) of an `enabled` or `disabled` list, known plugins only."""
        found = []
        for i, item in enumerate(self.items(value, path)):
            where = f"{path}[{i}]"
            fields = self.fields(item, where, frozenset({"name", "weight"}))
            name = self.text(fields.get("name"), f"{where}.name")
            weight = self.integer(fields.get("weight"), f"{where}.weight", 0, 0, _MAX_WEIGHT)
            if not name:
                self.fault(f"{where}.name", None, "must be given")
            elif name == "*":
                if weighted:
                    self.fault(f"{where}.name", name, "must be the name of a plugin; '*' is for disabled plugins")
                else:
                    found.append((name, 0))
            elif self.points_of(name) is None and not (not weighted and name in _NOT_MODELLED):
                rule, hint = self._why_unknown(name)
                self.problems.add(f"{where}.name", name, rule, hint)
            else:
                found.append((name, weight))
        return found

    def plugin_set(self, value: Any, path: str) -> tuple[list[tuple[str, int]], list[str]]:
        """(enabled, disabled) of one extension point."""
        fields = self.fields(value, path, frozenset({"enabled", "disabled"}))
        enabled = self.plugin_list(fields.get("enabled"), f"{path}.enabled", weighted=True)
        disabled = self.plugin_list(fields.get("disabled"), f"{path}.disabled", weighted=False)
        names = [name for name, _ in enabled]
        for i, name in enumerate(names):
            if name in names[:i]:
                self.fault(f"{path}.enabled[{i}].name", name, "must be enabled once")
        return enabled, [name for name, _ in disabled]

    def plugins(self, value: Any, path: str) -> dict[str, tuple[PluginUse, ...]]:
        """Every extension point's plugins: the defaults merged with the file's sets, multiPoint expanded."""
        defaults = DEFAULT_PLUGINS[self.version]
        points = dict(EXTENSION_POINTS)
        if self.version in ("v1", "v1beta3"):
            points["multiPoint"] = "multi_point"
        if self.version != "v1":
            del points["preEnqueue"]
        found = self.fields(value, path, frozenset(points))
        merged: dict[str, PluginSet] = {}
        disabled: dict[str, set[str]] = {}
        refused: set[str] = set()
        for written, point in points.items():
            known_problems = len(self.problems.found)
            enabled, off = self.plugin_set(found.get(written), f"{path}.{written}")
            if len(self.problems.found) > known_problems:
                refused.add(written)
            if point != "multi_point":
                for i, (name, _) in enumerate(enabled):
                    implemented = self.points_of(name) or ()
                    if point not in implemented:
                        rule = f"does not implement {written}"
                        hint = "it implements " + ", ".join(k for k, v in EXTENSION_POINTS.items() if v in implemented)
                        self.problems.add(f"{path}.{written}.enabled[{i}].name", name, rule, hint)
            merged[point] = _merge(defaults.get(point, ()), enabled, set(off))
            disabled[point] = set(off)
        multi = merged.get("multi_point", ())
        expanded = {}
        for point in EXTENSION_POINTS.values():
            everywhere = [name for name, _ in multi if point in (self.points_of(name) or ())]
            names = _expand(everywhere, [name for name, _ in merged.get(point, ())], disabled.get(point, set()))
            weights = dict(reversed((*merged.get(point, ()), *multi))) if point == "score" else {}
            expanded[point] = tuple(
                PluginUse(name, (weights[name] or 1) if weights else 0, name not in _NOT_MODELLED) for name in names
            )
        for written in ("queueSort", "bind"):
            names = [use.name for use in expanded[EXTENSION_POINTS[written]]]
            if not names and written not in refused:
                self.fault(f"{path}.{written}", names, "must have a plugin: all are disabled")
            elif written == "queueSort" and len(names) > 1:
                self.fault(f"{path}.{written}", names, "must have exactly one plugin")
        prepared = {use.name for use in expanded["pre_score"]}
        for use in expanded["score"]:
            if "pre_score" in (self.points_of(use.name) or ()) and use.name not in prepared:
                rule = "must be enabled at preScore too: kubedes runs it with the score"
                self.fault(f"{path}.preScore", use.name, rule)
        if sum(use.weight for use in expanded["score"]) * 100 > 2**63 - 1:
            self.fault(f"{path}.score", None, "must have weights whose sum times 100 fits into 64 bits")
        return expanded

    # Arguments.

    def plugin_config(self, value: Any, path: str) -> dict[str, Mapping[str, Any]]:
        """Plugin → arguments, with the defaults of those that are not listed."""
        args: dict[str, Mapping[str, Any]] = {}
        readers = _ARGS[self.version]
        for i, item in enumerate(self.items(value, path)):
            where = f"{path}[{i}]"
            fields = self.fields(item, where, frozenset({"name", "args"}))
            name = self.text(fields.get("name"), f"{where}.name")
            if name in args:
                self.fault(f"{where}.name", name, "must be configured once")
            elif name in readers:
                args[name] = readers[name](self, self.args_fields(fields.get("args"), f"{where}.args", name), where)
            elif self.points_of(name) is None:
                rule, hint = self._why_unknown(name)
                self.problems.add(f"{where}.name", name, rule, hint)
            elif name in _IN_TREE or name in _NOT_MODELLED:
                if fields.get("args"):
                    self.fault(f"{where}.args", fields["args"], f"must be absent: {name} takes no arguments here")
            else:  # a plugin of the user's own: its arguments are its own affair
                args[name] = MappingProxyType(dict(self.fields(fields.get("args"), f"{where}.args")))
        for name, read in readers.items():
            if name not in args:
                args[name] = read(self, {}, f"{path}[{name}]")
        return args

    def args_fields(self, value: Any, path: str, name: str) -> dict[str, Any]:
        """The arguments without their apiVersion and kind, which are checked."""
        fields = dict(self.fields(value, path))
        version, kind = fields.pop("apiVersion", None), fields.pop("kind", None)
        if version not in (None, f"{GROUP}/{self.version}"):
            self.fault(f"{path}.apiVersion", version, f"must be {GROUP}/{self.version}, like the configuration's")
        if kind not in (None, f"{name}Args"):
            self.fault(f"{path}.kind", kind, f"must be {name}Args")
        return fields

    def weighted_resources(self, value: Any, path: str, largest_weight: int) -> list[dict[str, Any]]:
        """`[{name, weight}]`; cpu and memory when absent; a missing or zero weight is 1."""
        found = self.items(value, path)
        if not found:
            return [{"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1}]
        resources: list[dict[str, Any]] = []
        for i, item in enumerate(found):
            where = f"{path}[{i}]"
            fields = self.fields(item, where, frozenset({"name", "weight"}))
            name = self.text(fields.get("name"), f"{where}.name")
            if not name:
                self.fault(f"{where}.name", None, "must be given")
            if largest_weight == 1 and any(name == earlier["name"] for earlier in resources):
                self.fault(f"{where}.name", name, "must be listed once")
            weight = self.integer(fields.get("weight"), f"{where}.weight", 1, 0, largest_weight)
            resources.append({"name": name, "weight": weight or 1})
        return resources

    def shape(self, value: Any, path: str) -> list[dict[str, int]]:
        """`[{utilization 0..100 rising, score 0..10}]`, at least one point."""
        points = []
        last = -1
        for i, item in enumerate(self.items(value, path)):
            where = f"{path}[{i}]"
            fields = self.fields(item, where, frozenset({"utilization", "score"}))
            utilization = self.integer(fields.get("utilization"), f"{where}.utilization", 0, 0, 100)
            score = self.integer(fields.get("score"), f"{where}.score", 0, 0, 10)
            if utilization <= last:
                self.fault(f"{where}.utilization", utilization, "must be more than that of the point before")
            last = utilization
            points.append({"utilization": utilization, "score": score})
        if not points:
            self.fault(path, None, "must have at least one point of utilization and score")
        return points

    def names_list(self, value: Any, path: str, rule: Callable[[str], str]) -> list[str]:
        """A list of resource names or groups, each checked by `rule`."""
        names = self.strings(value, path)
        for i, name in enumerate(names):
            self.fault(f"{path}[{i}]", name, rule(name))
        return list(names)


def _merge(defaults: PluginSet, enabled: list[tuple[str, int]], disabled: set[str]) -> PluginSet:
    """The default set of a point with the file's: a default that is enabled again keeps its place and takes the new
    weight; the rest comes after."""
    custom = dict(enabled)
    kept = [] if "*" in disabled else [item for item in defaults if item[0] not in disabled]
    replaced = {name for name, _ in kept if name in custom}
    return (
        *((name, custom[name] if name in replaced else weight) for name, weight in kept),
        *(item for item in enabled if item[0] not in replaced),
    )


def _expand(everywhere: list[str], own: list[str], disabled: set[str]) -> list[str]:
    """A point's plugins: those of multiPoint that the point lists too, in the point's order; the other multiPoint
    plugins; the point's other plugins. A point with "*" disabled has only its own."""
    if "*" in disabled:
        return own
    multi = [name for name in everywhere if name not in disabled]
    return [
        *(name for name in own if name in multi),
        *(name for name in multi if name not in own),
        *(name for name in own if name not in multi),
    ]


# --- the arguments of each plugin -------------------------------------------------------------------------------------

ArgsReader = Callable[[_ConfigurationReader, dict[str, Any], str], Mapping[str, Any]]
"""(reader, the fields as written, path of the pluginConfig entry) → the arguments with defaults."""


def _ignored_resources(reader: _ConfigurationReader, fields: dict[str, Any], path: str) -> dict[str, Any]:
    def group_fault(name: str) -> str:
        return "must be a group, without '/'" if "/" in name or not name else ""

    ignored = reader.names_list(
        fields.get("ignoredResources"), f"{path}.ignoredResources", lambda name: "" if name else "must not be empty"
    )
    groups = reader.names_list(fields.get("ignoredResourceGroups"), f"{path}.ignoredResourceGroups", group_fault)
    return {"ignoredResources": ignored, "ignoredResourceGroups": groups}


def _fit_args(reader: _ConfigurationReader, written: dict[str, Any], path: str) -> Mapping[str, Any]:
    path = f"{path}.args"
    fields = reader.fields(written, path, frozenset({"ignoredResources", "ignoredResourceGroups", "scoringStrategy"}))
    where = f"{path}.scoringStrategy"
    strategy = reader.fields(
        fields.get("scoringStrategy"), where, frozenset({"type", "resources", "requestedToCapacityRatio"})
    )
    kinds = ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio")
    kind = reader.choice(strategy.get("type"), f"{where}.type", kinds, "LeastAllocated")
    scoring: dict[str, Any] = {
        "type": kind,
        "resources": reader.weighted_resources(strategy.get("resources"), f"{where}.resources", 100),
    }
    ratio = strategy.get("requestedToCapacityRatio")
    if kind == "RequestedToCapacityRatio":
        found = reader.fields(ratio, f"{where}.requestedToCapacityRatio", frozenset({"shape"}))
        shape = reader.shape(found.get("shape"), f"{where}.requestedToCapacityRatio.shape")
        scoring["requestedToCapacityRatio"] = {"shape": shape}
    elif ratio is not None:
        reader.fault(f"{where}.requestedToCapacityRatio", ratio, f"must be absent: the strategy is {kind}")
    return MappingProxyType({**_ignored_resources(reader, fields, path), "scoringStrategy": scoring})


def _fit_args_v1beta1(reader: _ConfigurationReader, written: dict[str, Any], path: str) -> Mapping[str, Any]:
    path = f"{path}.args"
    fields = reader.fields(written, path, frozenset({"ignoredResources", "ignoredResourceGroups"}))
    return MappingProxyType(_ignored_resources(reader, fields, path))


def _balanced_args(reader: _ConfigurationReader, written: dict[str, Any], path: str) -> Mapping[str, Any]:
    fields = reader.fields(written, f"{path}.args", frozenset({"resources"}))
    resources = reader.weighted_resources(fields.get("resources"), f"{path}.args.resources", 1)
    return MappingProxyType({"resources": resources})


def _allocated_args(reader: _ConfigurationReader, written: dict[str, Any], path: str) -> Mapping[str, Any]:
    fields = reader.fields(written, f"{path}.args", frozenset({"resources"}))
    resources = reader.weighted_resources(fields.get("resources"), f"{path}.args.resources", 100)
    return MappingProxyType({"resources": resources})


def _ratio_args(reader: _ConfigurationReader, written: dict[str, Any], path: str) -> Mapping[str, Any]:
    fields = reader.fields(written, f"{path}.args", frozenset({"shape", "resources"}))
    if not written:  # the plugin is not in the default set: without arguments there is no shape to check
        return MappingProxyType({})
    shape = reader.shape(fields.get("shape"), f"{path}.args.shape")
    resources = reader.weighted_resources(fields.get("resources"), f"{path}.args.resources", 100)
    return MappingProxyType({"shape": shape, "resources": resources})


def _interpod_args(reader: _ConfigurationReader, written: dict[str, Any], path: str) -> Mapping[str, Any]:
    path = f"{path}.args"
    known = {"hardPodAffinityWeight"} | ({"ignorePreferredTermsOfExistingPods"} if reader.version == "v1" else set())
    fields = reader.fields(written, path, frozenset(known))
    args: dict[str, Any] = {
        "hardPodAffinityWeight": reader.integer(
            fields.get("hardPodAffinityWeight"), f"{path}.hardPodAffinityWeight", 1, 0, 100
        )
    }
    if reader.version == "v1":
        key = "ignorePreferredTermsOfExistingPods"
        args[key] = reader.boolean(fields.get(key), f"{path}.{key}")
    return MappingProxyType(args)


def _spread_args(reader: _ConfigurationReader, written: dict[str, Any], path: str) -> Mapping[str, Any]:
    path = f"{path}.args"
    fields = reader.fields(written, path, frozenset({"defaultConstraints", "defaultingType"}))
    kind = reader.choice(fields.get("defaultingType"), f"{path}.defaultingType", ("System", "List"), "System")
    constraints = reader.items(fields.get("defaultConstraints"), f"{path}.defaultConstraints")
    if kind == "System" and constraints:
        reader.fault(f"{path}.defaultConstraints", constraints, "must be empty when defaultingType is System")
    known = frozenset({"maxSkew", "topologyKey", "whenUnsatisfiable"})
    for i, item in enumerate(constraints):
        where = f"{path}.defaultConstraints[{i}]"
        if isinstance(item, dict) and item.get("labelSelector") is not None:
            rule = "must be absent: selectors come from the pod's services and controllers"
            reader.fault(f"{where}.labelSelector", item["labelSelector"], rule)
        elif isinstance(item, dict):
            reader.fields({key: kept for key, kept in item.items() if key != "labelSelector"}, where, known)
    reader.spread_constraints(constraints, f"{path}.defaultConstraints")
    return MappingProxyType({"defaultingType": kind, "defaultConstraints": constraints})


def _node_affinity_args(reader: _ConfigurationReader, written: dict[str, Any], path: str) -> Mapping[str, Any]:
    path = f"{path}.args"
    fields = reader.fields(written, path, frozenset({"addedAffinity"}))
    added = fields.get("addedAffinity")
    if added is None:
        return MappingProxyType({})
    reader.affinity({"nodeAffinity": added}, f"{path}.addedAffinity", {})
    return MappingProxyType({"addedAffinity": added})


def _preemption_args(reader: _ConfigurationReader, written: dict[str, Any], path: str) -> Mapping[str, Any]:
    path = f"{path}.args"
    percentage, absolute = "minCandidateNodesPercentage", "minCandidateNodesAbsolute"
    fields = reader.fields(written, path, frozenset({percentage, absolute}))
    args = {
        percentage: reader.integer(fields.get(percentage), f"{path}.{percentage}", 10, 0, 100),
        absolute: reader.integer(fields.get(absolute), f"{path}.{absolute}", 100, 0, 2**31 - 1),
    }
    if args[percentage] == args[absolute] == 0:
        reader.fault(f"{path}.{percentage}", 0, f"must not be 0 together with {absolute}")
    return MappingProxyType(args)


def _only_defaults(**defaults: Any) -> ArgsReader:
    """Arguments of a plugin that is not modelled: its defaults may be written out, nothing else."""

    def read(reader: _ConfigurationReader, written: dict[str, Any], path: str) -> Mapping[str, Any]:
        fields = reader.fields(written, f"{path}.args", frozenset(defaults))
        for key, value in fields.items():
            if key in defaults and value is not None and value != defaults[key]:
                rule = f"must be the default, {defaults[key]}: the plugin is not modelled"
                reader.fault(f"{path}.args.{key}", value, rule)
        return MappingProxyType({})

    return read


_ARGS_1_34: Mapping[str, ArgsReader] = {
    "NodeResourcesFit": _fit_args,
    "NodeResourcesBalancedAllocation": _balanced_args,
    "InterPodAffinity": _interpod_args,
    "PodTopologySpread": _spread_args,
    "NodeAffinity": _node_affinity_args,
    "DefaultPreemption": _preemption_args,
    "VolumeBinding": _only_defaults(bindTimeoutSeconds=600),
}
_ARGS: Mapping[str, Mapping[str, ArgsReader]] = {
    "v1": {**_ARGS_1_34, "DynamicResources": _only_defaults(filterTimeout="10s")},
    "v1beta3": _ARGS_1_34,
    "v1beta2": _ARGS_1_34,
    "v1beta1": {
        "NodeResourcesFit": _fit_args_v1beta1,
        "NodeResourcesLeastAllocated": _allocated_args,
        "NodeResourcesMostAllocated": _allocated_args,
        "RequestedToCapacityRatio": _ratio_args,
        "InterPodAffinity": _interpod_args,
        "PodTopologySpread": _spread_args,
        "NodeAffinity": _node_affinity_args,
        "DefaultPreemption": _preemption_args,
        "VolumeBinding": _only_defaults(bindTimeoutSeconds=600),
    },
}


# --- the document -----------------------------------------------------------------------------------------------------


def read_configuration(doc: Any, subject: str = "KubeSchedulerConfiguration") -> SchedulerConfiguration:
    """The configuration in a decoded document. Raises `InputError` that lists every problem with its path."""
    problems = Problems(subject)
    if not isinstance(doc, dict):
        problems.add("document", doc, "must be a KubeSchedulerConfiguration (a map of fields)")
        problems.raise_if_any()
    version = str(doc.get("apiVersion", "")).removeprefix(f"{GROUP}/")
    if doc.get("kind") != "KubeSchedulerConfiguration":
        problems.add("kind", doc.get("kind"), "must be KubeSchedulerConfiguration")
    if version not in DEFAULT_PLUGINS:
        known = [f"{GROUP}/{known}" for known in DEFAULT_PLUGINS]
        problems.add("apiVersion", doc.get("apiVersion"), f"must be one of {', '.join(known)}")
        problems.raise_if_any()
    reader = _ConfigurationReader(problems, version)
    configuration = _configuration(reader, doc)
    problems.raise_if_any()
    return configuration


def load_configuration(path: Path | str) -> SchedulerConfiguration:
    """The configuration in a YAML or JSON file. Raises `InputError` with the file's name, for syntax with line and
    column."""
    documents = read_documents(path)
    if len(documents) != 1:
        raise InputError(f"{path}: has {len(documents)} documents; it must have one KubeSchedulerConfiguration")
    return read_configuration(documents[0], str(path))


def _configuration(reader: _ConfigurationReader, doc: dict[str, Any]) -> SchedulerConfiguration:
    known = set(_TOP_LEVEL)
    if reader.version in ("v1beta1", "v1beta2"):
        known |= {"healthzBindAddress", "metricsBindAddress"}
    if reader.version == "v1":
        known |= {"delayCacheUntilActive"}
    fields = reader.fields({**doc, "apiVersion": None, "kind": None}, "", frozenset(known))
    if reader.items(fields.get("extenders"), "extenders"):
        reader.fault("extenders", fields["extenders"], "are not supported: kubedes calls no webhooks")
    if reader.boolean(fields.get("delayCacheUntilActive"), "delayCacheUntilActive"):
        reader.fault("delayCacheUntilActive", True, "is not supported")
    initial_backoff_s = reader.integer(fields.get("podInitialBackoffSeconds"), "podInitialBackoffSeconds", 1, 1)
    max_backoff_s = reader.integer(fields.get("podMaxBackoffSeconds"), "podMaxBackoffSeconds", 10)
    if max_backoff_s < initial_backoff_s:
        rule = f"must be at least podInitialBackoffSeconds, {initial_backoff_s}"
        reader.fault("podMaxBackoffSeconds", max_backoff_s, rule)
    percentage = reader.integer(fields.get("percentageOfNodesToScore"), "percentageOfNodesToScore", 0, 0, 100)
    qps, burst = _client_connection(reader, fields.get("clientConnection"))
    return SchedulerConfiguration(
        api_version=f"{GROUP}/{reader.version}",
        profiles=_profiles(reader, fields.get("profiles")),
        percentage_of_nodes_to_score=percentage,
        parallelism=reader.integer(fields.get("parallelism"), "parallelism", 16, 1, 2**31 - 1),
        pod_initial_backoff_s=float(initial_backoff_s),
        pod_max_backoff_s=float(max_backoff_s),
        client_qps=qps,
        client_burst=burst,
        leader_election=_leader_election(reader, fields.get("leaderElection")),
    )


def _client_connection(reader: _ConfigurationReader, value: Any) -> tuple[float, int]:
    """(QPS, burst); absent or zero takes the default, 50 and 100."""
    path = "clientConnection"
    known = frozenset({"acceptContentTypes", "burst", "contentType", "kubeconfig", "qps"})
    fields = reader.fields(value, path, known)
    qps = fields.get("qps")
    if qps is not None and (isinstance(qps, bool) or not isinstance(qps, int | float)):
        reader.fault(f"{path}.qps", qps, "must be a number")
        qps = None
    if qps is not None and qps < 0:
        reader.fault(f"{path}.qps", qps, "must not be negative: kubedes always limits the client")
    burst = reader.integer(fields.get("burst"), f"{path}.burst", 0, 0, 2**31 - 1)
    return float(qps or 50.0), burst or 100


def _leader_election(reader: _ConfigurationReader, value: Any) -> LeaderElectionConfiguration:
    path = "leaderElection"
    known = "leaderElect leaseDuration renewDeadline retryPeriod resourceLock resourceName resourceNamespace"
    fields = reader.fields(value, path, frozenset(known.split()))

    def duration_s(key: str, default_s: float) -> float:
        written = fields.get(key)
        if written is None:
            return default_s
        try:
            seconds = parse_duration_s(written)
        except ValueError as error:
            reader.fault(f"{path}.{key}", written, str(error))
            return default_s
        if seconds < 0:
            reader.fault(f"{path}.{key}", written, "must not be negative")
        return seconds or default_s

    elect = fields.get("leaderElect")
    election = LeaderElectionConfiguration(
        leader_elect=True if elect is None else reader.boolean(elect, f"{path}.leaderElect"),
        lease_duration_s=duration_s("leaseDuration", 15.0),
        renew_deadline_s=duration_s("renewDeadline", 10.0),
        retry_period_s=duration_s("retryPeriod", 2.0),
    )
    if election.leader_elect:
        if election.lease_duration_s <= election.renew_deadline_s:
            rule = f"must be longer than renewDeadline, {election.renew_deadline_s:g} s"
            reader.fault(f"{path}.leaseDuration", fields.get("leaseDuration"), rule)
        if election.renew_deadline_s <= election.retry_period_s:
            rule = f"must be longer than retryPeriod, {election.retry_period_s:g} s"
            reader.fault(f"{path}.renewDeadline", fields.get("renewDeadline"), rule)
        locks = ("leases", "endpoints", "configmaps", "endpointsleases", "configmapsleases")
        reader.choice(fields.get("resourceLock"), f"{path}.resourceLock", locks, None)
    return election


def _profiles(reader: _ConfigurationReader, value: Any) -> tuple[ProfileConfiguration, ...]:
    written = reader.items(value, "profiles") or [{}]
    known = {"schedulerName", "plugins", "pluginConfig"}
    if reader.version == "v1":
        known |= {"percentageOfNodesToScore"}
    profiles: list[ProfileConfiguration] = []
    for i, item in enumerate(written):
        path = f"profiles[{i}]"
        fields = reader.fields(item, path, frozenset(known))
        name = reader.text(fields.get("schedulerName"), f"{path}.schedulerName")
        if not name and len(written) == 1:
            name = "default-scheduler"
        elif not name:
            reader.fault(f"{path}.schedulerName", None, "must be given when there are several profiles")
        if name and any(name == earlier.scheduler_name for earlier in profiles):
            reader.fault(f"{path}.schedulerName", name, "must be unique among the profiles")
        percentage = fields.get("percentageOfNodesToScore")
        profile = ProfileConfiguration(
            scheduler_name=name,
            plugins=MappingProxyType(reader.plugins(fields.get("plugins"), f"{path}.plugins")),
            args=MappingProxyType(reader.plugin_config(fields.get("pluginConfig"), f"{path}.pluginConfig")),
            percentage_of_nodes_to_score=None
            if percentage is None
            else reader.integer(percentage, f"{path}.percentageOfNodesToScore", 0, 0, 100),
            arithmetic="1.20" if reader.version == "v1beta1" else "1.34",
        )
        uses_ratio = any(use.name == "RequestedToCapacityRatio" for use in profile.plugins["score"])
        if uses_ratio and not profile.args["RequestedToCapacityRatio"]:
            rule = "must configure RequestedToCapacityRatio, which has no default shape"
            reader.fault(f"{path}.pluginConfig", None, rule)
        if profiles:
            sorts = [use.name for use in profile.plugins["queue_sort"]]
            if sorts != [use.name for use in profiles[0].plugins["queue_sort"]]:
                reader.fault(f"{path}.plugins.queueSort", sorts, "must be the same in all profiles")
        profiles.append(profile)
    return tuple(profiles)
