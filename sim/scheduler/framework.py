"""The scheduling framework: extension points, the vocabulary of answers, and the cycle that runs plugins.

Plugins see all nodes at once: `rows` is an int64 array of node rows, an answer is an array aligned with it. This
composed way is the truth of the rules; the fused kernels and the incremental index are its fast twins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sim.base.errors import KubedesError
from sim.base.plugin import Catalog

if TYPE_CHECKING:
    from sim.scheduler.cluster import ClusterObjects
    from sim.scheduler.pod_info import PodInfo
    from sim.scheduler.profiles import Profile
    from sim.scheduler.tallies import Tallies, TallyKey
    from sim.state.nodes import NodeTable
    from sim.state.placements import Placements

SUCCESS = 0
"""The plugin has no objection."""
UNSCHEDULABLE = 1
"""The node or pod cannot be scheduled now; preempting pods may help."""
UNRESOLVABLE = 2
"""The same, and preemption cannot help (UnschedulableAndUnresolvable)."""
SKIP = 3
"""The plugin has nothing to say in this cycle: its Filter or Score is not run, its score is 0."""
WAIT = 4
"""Permit only: the pod waits for the plugin's word."""
ERROR = 5
"""The plugin failed; the cycle ends and the pod is retried."""

STATUS_NAMES = ("Success", "Unschedulable", "UnschedulableAndUnresolvable", "Skip", "Wait", "Error")

EXTENSION_POINTS = (
    "pre_enqueue", "queue_sort", "pre_filter", "filter", "post_filter", "pre_score", "score", "normalize_score",
    "reserve", "permit", "pre_bind", "bind", "post_bind",
)  # fmt: skip
"""In the order a pod meets them."""



def max_node_score(arithmetic: str) -> int:
    """The highest score a plugin may give: 10 up to 1.16, 100 after."""
    return 10 if arithmetic == "1.12" else 100


class PluginError(KubedesError):
    """A plugin broke the framework's contract; the text names the plugin and what it returned."""


@dataclass(frozen=True, slots=True)
class Status:
    """A plugin's answer about a pod as a whole."""

    code: int
    message: str = ""
    plugin: str = ""
    timeout_s: float = 600.0
    """WAIT only: how long the pod may wait before it is rejected."""


@dataclass(slots=True)
class Cycle:
    """One scheduling attempt: the pod, the cluster, and the plugins' scratch space (CycleState)."""

    pod: PodInfo
    nodes: NodeTable
    placements: Placements
    tallies: Tallies
    cluster: ClusterObjects
    infos: Sequence[PodInfo] = ()
    """All interned specs, by id."""
    all_rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """Rows of alive nodes, ascending."""
    scratch: dict[str, Any] = field(default_factory=dict)
    """What a plugin keeps between its extension points, by plugin name."""
    allowed: np.ndarray | None = None
    """bool over all table rows once a PreFilter has ruled nodes out by name (PreFilterResult); None: all."""

    def counts(self, key: TallyKey) -> np.ndarray:
        """int32 sums over the pods of each node row (see `sim.scheduler.tallies`)."""
        return self.tallies.column(key)[: self.nodes.count]


class Plugin:
    """Base of all plugins. Override the extension points you need; `points` is found from what is overridden.

    args: the plugin's pluginConfig as in the v1 API (camel case keys), defaults filled in by the plugin.
    arithmetic: the Kubernetes version whose arithmetic applies, "1.34", "1.20" or "1.12".
    """

    name: ClassVar[str] = ""
    node_only: ClassVar[bool] = False
    """The filter looks at the pod and the node's own fields only, never at placed pods."""

    def __init__(self, args: Mapping[str, Any] | None = None, arithmetic: str = "1.34") -> None:
        self.args: Mapping[str, Any] = args or {}
        self.arithmetic = arithmetic
        self.top = max_node_score(arithmetic)
        """The highest score, 100 or 10."""

    # Each point's default says "no objection". The framework only calls the points that a plugin overrides.

    def pre_enqueue(self, pod: PodInfo) -> Status | None:
        """May the pod enter the active queue?"""
        return None

    def queue_sort(self, pod: PodInfo, entered_s: float) -> tuple[float, ...]:
        """A key: smaller keys leave the queue first."""
        return (entered_s,)

    def pre_filter(self, cycle: Cycle) -> Status | None:
        """Prepare; may reject the pod as a whole, narrow `cycle.allowed`, or answer SKIP."""
        return None

    def filter(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        """int8 codes aligned with `rows`: SUCCESS, UNSCHEDULABLE or UNRESOLVABLE."""
        return np.zeros(len(rows), np.int8)

    def reasons(self, cycle: Cycle, row: int) -> list[str]:
        """Why the filter rejects this node, in the words users know."""
        return [f"node(s) were rejected by {self.name}"]

    def count_reasons(self, cycle: Cycle, rows: np.ndarray) -> dict[str, int]:
        """How many of these rejected nodes have each reason: `reasons` of all of them, for plugins that know a quicker way."""
        counts: dict[str, int] = {}
        for row in rows.tolist():
            for reason in self.reasons(cycle, row):
                counts[reason] = counts.get(reason, 0) + 1
        return counts

    def pod_added(self, cycle: Cycle, pod: PodInfo, row: int, terminating: bool) -> None:
        """A preemption dry run put a pod on a node: mend what `pre_filter` prepared."""

    def pod_removed(self, cycle: Cycle, pod: PodInfo, row: int, terminating: bool) -> None:
        """A preemption dry run took a pod from a node."""

    def post_filter(self, cycle: Cycle) -> Status | None:
        """No node fits: make room, if that is possible."""
        return None

    def pre_score(self, cycle: Cycle, rows: np.ndarray) -> Status | None:
        """Prepare for scoring the feasible `rows`; may answer SKIP."""
        return None

    def score(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        """int64 raw scores aligned with `rows`."""
        return np.zeros(len(rows), np.int64)

    def normalize_score(self, cycle: Cycle, rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """int64 scores from 0 to 100; the default takes them as they are."""
        return scores

    def reserve(self, cycle: Cycle, row: int) -> Status | None:
        """A node was chosen: take what the pod needs there."""
        return None

    def unreserve(self, cycle: Cycle, row: int) -> None:
        """A later point rejected the pod: give back what `reserve` took; called for every reserve plugin."""

    def permit(self, cycle: Cycle, row: int) -> Status | None:
        """Last word before binding: SUCCESS, WAIT or a rejection.

        A pod that waits keeps its room on the node; it is asked again whenever another pod has been given a node, until the
        answer differs or its time is up. So a gang waits here until all its members have their places.
        """
        return None

    def pre_bind(self, cycle: Cycle, row: int) -> Status | None:
        """Work to be done before the binding is written."""
        return None

    def bind(self, cycle: Cycle, row: int) -> Status | None:
        """Write the binding; SKIP leaves it to the next binder."""
        return Status(SKIP)

    def post_bind(self, cycle: Cycle, row: int) -> None:
        """The pod is bound: clean up."""

    @classmethod
    def points(cls) -> tuple[str, ...]:
        """The extension points this plugin implements."""
        return tuple(point for point in EXTENSION_POINTS if getattr(cls, point) is not getattr(Plugin, point))


class FilterOnly(Plugin):
    """Put before a plugin's class to keep its filter and leave its scores away."""

    pre_score = Plugin.pre_score
    score = Plugin.score
    normalize_score = Plugin.normalize_score


class ScoreOnly(Plugin):
    """Put before a plugin's class to keep its scores and leave its filter away."""

    pre_filter = Plugin.pre_filter
    filter = Plugin.filter


PLUGINS: Catalog[type[Plugin]] = Catalog("scheduler_plugins", "sim.scheduler.plugins")
"""All scheduler plugins by the name that configurations use; entry points: `kubedes.scheduler_plugins`."""


@dataclass(slots=True)
class Filtered:
    """What the filters said, one entry a table row."""

    status: np.ndarray
    """int8: SUCCESS, UNSCHEDULABLE, UNRESOLVABLE (the first rejecting plugin's word); -1 for rows not looked at."""
    rejected_by: np.ndarray
    """int8: index in the filter order of the first plugin that rejects, -1 none."""
    rejection: Status | None = None
    """Set when PreFilter rejected the pod as a whole."""
    ruled_out_by: tuple[str, ...] = ()
    """Plugins whose PreFilter ruled nodes out by name."""
    skipped: set[str] = field(default_factory=set)
    """Plugins whose Filter has nothing to say."""
    reasons: dict[int, list[str]] = field(default_factory=dict)
    """Reasons found on the way (nodes with nominated pods); those of other rows are asked of the plugin."""

    def feasible(self) -> np.ndarray:
        """Rows that passed, ascending."""
        return np.flatnonzero(self.status == SUCCESS)


class Framework:
    """The plugins of one profile, in order, and the composed scheduling cycle."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.plugins: dict[str, Plugin] = {
            name: PLUGINS[name](profile.args.get(name), profile.arithmetic) for name in profile.plugin_names()
        }
        for name, plugin in self.plugins.items():
            plugin.name = name  # type: ignore[misc]
        self.filters = [self.plugins[name] for name in profile.filter]
        self.pre_filters = [self.plugins[name] for name in profile.pre_filter]
        self.scores = [(self.plugins[name], weight) for name, weight in profile.score]
        binders = tuple(name for name in profile.bind if name != "DefaultBinder")
        late = {"reserve": profile.reserve, "permit": profile.permit, "pre_bind": profile.pre_bind, "bind": binders,
                "post_bind": profile.post_bind}
        self.late = {point: [self.plugins[name] for name in names] for point, names in late.items() if names}
        """Plugins of the points after the choice of a node; points that no plugin implements are left out."""

    def run_late(self, point: str, cycle: Cycle, row: int) -> Status | None:
        """Run one point after the choice of a node: the first plugin that objects (or, at `permit`, waits) ends it."""
        for plugin in self.late.get(point, ()):
            status = getattr(plugin, point)(cycle, row)
            if status is not None and status.code not in (SUCCESS, SKIP):
                return Status(status.code, status.message, plugin.name, status.timeout_s)
        return None

    def run_pre_enqueue(self, pod: PodInfo) -> Status | None:
        """The first plugin's objection to the pod's entering the active queue, if any."""
        for name in self.profile.pre_enqueue:
            status = self.plugins[name].pre_enqueue(pod)
            if status is not None and status.code != SUCCESS:
                return Status(status.code, status.message, name)
        return None

    def run_pre_filter(self, cycle: Cycle) -> tuple[Status | None, set[str], tuple[str, ...]]:
        """Run PreFilter; returns (rejection, names of plugins whose Filter is skipped, plugins that named nodes)."""
        skipped: set[str] = set()
        named: list[str] = []
        for plugin in self.pre_filters:
            before = cycle.allowed
            status = plugin.pre_filter(cycle)
            if status is not None and status.code == SKIP:
                skipped.add(plugin.name)
            elif status is not None and status.code != SUCCESS:
                return Status(status.code, status.message, plugin.name), skipped, ()
            if cycle.allowed is not before:
                named.append(plugin.name)
                if not cycle.allowed[: cycle.nodes.count].any():  # type: ignore[index]
                    text = f"node(s) didn't satisfy plugin(s) [{' '.join(sorted(named))}] simultaneously"
                    if len(named) > 1:
                        return Status(UNRESOLVABLE, text), skipped, ()
        return None, skipped, tuple(sorted(named))

    def run_filters(self, cycle: Cycle) -> Filtered:
        """PreFilter and all filters over all alive nodes."""
        count = cycle.nodes.count
        result = Filtered(np.full(count, -1, np.int8), np.full(count, -1, np.int8))
        rejection, skipped, named = self.run_pre_filter(cycle)
        if rejection is not None:
            result.rejection = rejection
            return result
        result.ruled_out_by = named
        result.skipped = skipped
        rows = cycle.all_rows
        result.status[rows] = SUCCESS
        if cycle.allowed is not None:
            ruled_out = rows[~cycle.allowed[rows]]
            result.status[ruled_out] = UNRESOLVABLE
            result.rejected_by[ruled_out] = next(
                index for index, plugin in enumerate(self.filters) if plugin.name in named
            )
            rows = rows[cycle.allowed[rows]]
        for index, plugin in enumerate(self.filters):
            if plugin.name in skipped or not len(rows):
                continue
            codes = plugin.filter(cycle, rows)
            bad = codes != SUCCESS
            result.status[rows[bad]] = codes[bad]
            result.rejected_by[rows[bad]] = index
            rows = rows[~bad]
        return result

    def run_scores(self, cycle: Cycle, rows: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Weighted scores of the feasible `rows` by plugin (those not skipped), and their sum (int64)."""
        total = np.zeros(len(rows), np.int64)
        by_plugin: dict[str, np.ndarray] = {}
        for plugin, weight in self.scores:
            status = plugin.pre_score(cycle, rows)
            if status is not None and status.code == SKIP:
                continue
            scores = plugin.normalize_score(cycle, rows, plugin.score(cycle, rows))
            self._check_range(plugin.name, scores)
            by_plugin[plugin.name] = weight * scores
            total += by_plugin[plugin.name]
        return by_plugin, total

    def run_reserve(self, cycle: Cycle, row: int) -> Status:
        """Reserve, in order; a rejection is undone by all reserve plugins in the opposite order."""
        return self._undo_unless(cycle, row, self._first_objection("reserve", cycle, row))

    def run_permit(self, cycle: Cycle, row: int) -> Status:
        """Permit: a rejection at once, WAIT when any plugin asks to wait, else SUCCESS."""
        answer = Status(SUCCESS)
        for name in self.profile.permit:
            status = self.plugins[name].permit(cycle, row)
            if status is None or status.code == SUCCESS:
                continue
            if status.code != WAIT:
                return self._undo_unless(cycle, row, Status(status.code, status.message, name))
            answer = Status(WAIT, status.message, name)
        return answer

    def run_bind(self, cycle: Cycle, row: int) -> Status:
        """PreBind, then the first binder that does not skip, then PostBind."""
        status = self._first_objection("pre_bind", cycle, row)
        if status.code == SUCCESS:
            status = Status(SKIP)
            for name in self.profile.bind:
                answer = self.plugins[name].bind(cycle, row) or Status(SUCCESS)
                status = Status(answer.code, answer.message, name)
                if answer.code != SKIP:
                    break
        if status.code == SUCCESS:
            for name in self.profile.post_bind:
                self.plugins[name].post_bind(cycle, row)
        return self._undo_unless(cycle, row, status)

    def _first_objection(self, point: str, cycle: Cycle, row: int) -> Status:
        for name in getattr(self.profile, point):
            status = getattr(self.plugins[name], point)(cycle, row)
            if status is not None and status.code != SUCCESS:
                return Status(status.code, status.message, name)
        return Status(SUCCESS)

    def _undo_unless(self, cycle: Cycle, row: int, status: Status) -> Status:
        """Give back what was reserved, unless the answer is SUCCESS."""
        if status.code != SUCCESS:
            for name in reversed(self.profile.reserve):
                self.plugins[name].unreserve(cycle, row)
        return status

    def _check_range(self, name: str, scores: np.ndarray) -> None:
        top = max_node_score(self.profile.arithmetic)
        bad = np.flatnonzero((scores < 0) | (scores > top))
        if len(bad):
            raise PluginError(
                f'plugin "{name}" returns an invalid score {int(scores[bad[0]])}, it should be in the range of '
                f"[0, {top}] after normalizing"
            )

    def reasons(self, cycle: Cycle, row: int, rejected_by: int) -> list[str]:
        """The first rejecting plugin's reasons for one node."""
        return self.filters[rejected_by].reasons(cycle, row)
