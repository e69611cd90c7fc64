"""A pod's plan: its spec and the state of the nodes' own fields, turned into the small tables the fused loops read."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from hashlib import blake2b
from weakref import WeakValueDictionary

import numpy as np

from sim.scheduler import fused
from sim.scheduler.cluster import ClusterObjects
from sim.scheduler.framework import SKIP, SUCCESS, Cycle, Framework, Plugin
from sim.scheduler.plugins.image_locality import ImageLocality, image_score, image_sums, normalized_image_name
from sim.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from sim.scheduler.plugins.legacy_allocation import NodeResourcesLeastAllocated
from sim.scheduler.plugins.node_affinity import NodeAffinity, preferred_points, required_match
from sim.scheduler.plugins.node_ports import NodePorts
from sim.scheduler.plugins.node_prefer_avoid_pods import NodePreferAvoidPods
from sim.scheduler.plugins.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from sim.scheduler.plugins.node_resources_fit import LEAST_ALLOCATED, NodeResourcesFit, wanted_resources
from sim.scheduler.plugins.pod_topology_spread import HOSTNAME, Constraint, PodTopologySpread, with_all_keys
from sim.scheduler.plugins.selector_spread import SelectorSpread
from sim.scheduler.plugins.taint_toleration import TaintToleration
from sim.scheduler.pod_info import PodInfo
from sim.scheduler.requests import DEFAULTS, pod_requests, scored_requests_1_20
from sim.scheduler.tallies import (
    ConflictingPorts,
    MatchingAllTerms,
    RepellingTerms,
    Tallies,
    TallyKey,
    own_term_matches,
)
from sim.state.nodes import CPU, MEMORY, NodeTable

_PLACEMENT_FILTERS = (NodePorts, NodeResourcesFit, PodTopologySpread, InterPodAffinity)
_SCORES = (
    TaintToleration, NodeAffinity, NodeResourcesFit, NodeResourcesLeastAllocated, NodeResourcesBalancedAllocation,
    PodTopologySpread, InterPodAffinity, ImageLocality, NodePreferAvoidPods, SelectorSpread,
)  # fmt: skip
_EVEN = (("cpu", 1), ("memory", 1))


def can_fuse(framework: Framework) -> bool:
    """Does the fused path know every filter and score of the profile, with arguments it can handle?"""
    filters_known = all(plugin.node_only or isinstance(plugin, _PLACEMENT_FILTERS) for plugin in framework.filters)
    if not filters_known or not all(isinstance(plugin, _SCORES) for plugin, _ in framework.scores):
        return False
    if not any(isinstance(plugin, NodeResourcesFit) for plugin in framework.filters):
        return False
    for plugin, _ in framework.scores:
        resources = getattr(plugin, "resources", None)
        if isinstance(plugin, NodeResourcesFit):
            resources = plugin.strategy.resources
            if plugin.strategy.kind != LEAST_ALLOCATED or plugin.arithmetic != "1.34":
                return False
        if resources is not None and tuple(sorted(resources)) != _EVEN:
            return False
    return True


@dataclass(slots=True)
class Plan:
    """Tables for one spec; see `sim.scheduler.fused` for their columns."""

    ok: np.ndarray
    """uint8[n]: alive, and every filter that looks at the node's own fields passes."""
    walk: np.ndarray | None
    """int64 rows in walking order when PreFilter narrowed the nodes by name."""
    rejected: bool
    """PreFilter rejects the pod as a whole."""
    statics: np.ndarray
    """int32[3, n]: raw taint and node affinity scores, and the weighted scores that need no normalising."""
    resources: np.ndarray
    extra: np.ndarray
    masks: np.ndarray
    rules: np.ndarray
    soft: np.ndarray
    points: np.ndarray
    scores: np.ndarray
    itself: bool
    plain: bool
    """No score needs normalising: the base scores are the totals."""
    room: int
    """int64 sums that the tables ask for: every domain, twice."""
    label_version: int
    """Of the node table, when the plan was made: domains are only comparable within one."""
    inputs: tuple[Hashable, ...] = ()
    """What the plan was made from (`Planner.inputs`)."""
    slots: tuple[tuple[TallyKey, int], ...] = ()
    """The tallies it reads, and where they were."""
    stamp: int = -1
    """The sum of the versions at which `inputs` was last found the same."""

    def same_as(self, other: Plan) -> bool:
        """Do both say the same?"""
        mine = (self.rejected, self.itself, self.plain, self.label_version)
        if mine != (other.rejected, other.itself, other.plain, other.label_version):
            return False
        if (self.walk is None) != (other.walk is None):
            return False
        columns = ("rules", "soft", "points", "scores", "resources", "extra", "ok", "statics", "masks")
        if not all(np.array_equal(getattr(self, name), getattr(other, name)) for name in columns):
            return False
        return self.walk is None or other.walk is None or np.array_equal(self.walk, other.walk)


@dataclass(slots=True)
class _Tables:
    """Rules and masks while a plan is made."""

    nodes: NodeTable
    tallies: Tallies
    masks: list[np.ndarray]
    rules: list[list[int]] = field(default_factory=list)
    soft: list[list[int]] = field(default_factory=list)
    points: list[list[int]] = field(default_factory=list)
    slots: list[tuple[TallyKey, int]] = field(default_factory=list)
    room: int = 0

    def slot(self, key: TallyKey) -> int:
        """The slot of a tally, noted down."""
        found = self.tallies.slot(key)
        self.slots.append((key, found))
        return found

    def mask(self, rows: np.ndarray) -> int:
        for index, known in enumerate(self.masks):
            if np.array_equal(known, rows):
                return index
        self.masks.append(rows)
        return len(self.masks) - 1

    def segment(self, domains: int) -> int:
        """Room for the sums of a table of domains; returns its offset."""
        offset, self.room = self.room, self.room + 2 * max(domains, 1)
        return offset

    def unique(self, key: str) -> bool:
        """Are the label's values all different on alive nodes?"""
        codes = self.nodes.label_codes(key)
        held = codes[(codes >= 0) & (self.nodes.alive[: self.nodes.count] != 0)]
        return len(np.unique(held)) == len(held)


class Planner:
    """Makes plans for one profile."""

    def __init__(self, framework: Framework) -> None:
        self._framework = framework
        self._legacy = framework.profile.arithmetic != "1.34"
        self._top = 10 if framework.profile.arithmetic == "1.12" else 100
        self._shared: WeakValueDictionary[tuple[Hashable, ...], np.ndarray] = WeakValueDictionary()

    def _share(self, column: np.ndarray) -> np.ndarray:
        """The same column of an earlier plan, if there is one: most plans differ in few of them."""
        column = np.ascontiguousarray(column)
        return self._shared.setdefault((column.shape, column.dtype.str, blake2b(column.data, digest_size=16).digest()), column)

    def inputs(self, pod: PodInfo, nodes: NodeTable, tallies: Tallies, cluster: ClusterObjects) -> tuple[Hashable, ...]:
        """All that a plan depends on beside the pod itself: while it stays the same, so does the plan."""
        images: tuple[int, ...] = ()
        plugin, _ = self._score(ImageLocality)
        if isinstance(plugin, ImageLocality):
            states = (nodes.images.get(normalized_image_name(name)) for name in plugin.images(pod) if name)
            images = tuple(-1 if state is None else state.version for state in states)
        return (
            nodes.label_version, nodes.taint_version, nodes.set_version, nodes.largest >= fused.EXACT_BELOW, images,
            tallies.epoch, tuple(tallies.repelling_keys(pod)), tuple(tallies.attracting_keys(pod)),
            cluster.default_selector(pod),
        )  # fmt: skip

    def _score(self, kind: type[Plugin]) -> tuple[Plugin | None, int]:
        """A score plugin of this class and its weight."""
        for plugin, weight in self._framework.scores:
            if isinstance(plugin, kind):
                return plugin, weight
        return None, 0

    def _filter(self, kind: type[Plugin]) -> Plugin | None:
        return next((plugin for plugin in self._framework.filters if isinstance(plugin, kind)), None)

    def plan(self, cycle: Cycle, walk: np.ndarray) -> Plan | None:
        """The plan for the cycle's pod; None when amounts are beyond exact float64 division, or when SelectorSpread has
        pods to count."""
        nodes, pod = cycle.nodes, cycle.pod
        count = nodes.count
        if nodes.largest >= fused.EXACT_BELOW:
            return None
        spread, _ = self._score(SelectorSpread)
        if isinstance(spread, SelectorSpread) and spread.selects(cycle):
            return None
        ok, allowed, rejected = self._own_fields(cycle)
        tables = _Tables(nodes, cycle.tallies, [nodes.alive[:count].copy()])
        self._rules(tables, cycle)
        scores = np.zeros(fused.SCORE_TABLE_SIZE, np.int64)
        scores[fused.SCORE_TOP] = self._top
        resources, extra = self._resources(nodes, pod)
        statics, constant, uneven = self._statics(cycle, scores)
        constant += self._spread_score(tables, cycle, scores)
        self._points(tables, cycle, scores)
        plain = not (uneven or tables.soft or tables.points)
        if plain:
            constant += int(scores[fused.TAINT_WEIGHT]) * self._top
            scores[fused.TAINT_WEIGHT] = 0
        resources[fused.CONSTANT] = constant
        return Plan(
            self._share(ok),
            None if allowed is None else walk[allowed[walk]],
            rejected,
            self._share(statics),
            resources,
            extra,
            self._share(np.stack(tables.masks)),
            np.array(tables.rules, np.int64).reshape(-1, fused.RULE_COLUMNS),
            np.array(tables.soft, np.int64).reshape(-1, fused.SOFT_COLUMNS),
            np.array(tables.points, np.int64).reshape(-1, fused.POINT_COLUMNS),
            scores,
            bool(pod.required_affinity)
            and all(own_term_matches(term, pod, cycle.cluster) for term in pod.required_affinity),
            plain,
            max(tables.room, 1),
            nodes.label_version,
            slots=tuple(tables.slots),
        )

    # -- filters -------------------------------------------------------------------------------------------------

    def _own_fields(self, cycle: Cycle) -> tuple[np.ndarray, np.ndarray | None, bool]:
        """(ok, rows that PreFilter allows or None, PreFilter rejects) of the filters on the nodes' own fields."""
        nodes = cycle.nodes
        cycle.allowed = None
        skipped = set()
        for plugin in self._framework.pre_filters:
            if plugin.node_only:
                status = plugin.pre_filter(cycle)
                if status is not None and status.code == SKIP:
                    skipped.add(plugin.name)
                elif status is not None and status.code != SUCCESS:
                    return np.zeros(nodes.count, np.uint8), None, True
        ok = nodes.alive[: nodes.count].copy()
        rows = cycle.all_rows
        for plugin in self._framework.filters:
            if plugin.node_only and plugin.name not in skipped:
                ok[rows] &= plugin.filter(cycle, rows) == SUCCESS
        if cycle.allowed is not None:
            ok &= cycle.allowed
        return ok, cycle.allowed, False

    def _rules(self, tables: _Tables, cycle: Cycle) -> None:
        pod, tallies = cycle.pod, cycle.tallies
        if pod.host_ports and self._filter(NodePorts) is not None:
            slot = tables.slot(ConflictingPorts(pod.host_ports))
            tables.rules.append([fused.OCCUPIED, 0, slot, 0, 0, 0, 0, 0, 0, 0, 0])
        spread = self._filter(PodTopologySpread)
        if isinstance(spread, PodTopologySpread):
            self._hard_spread(tables, cycle, spread)
        if self._filter(InterPodAffinity) is None:
            return
        for key in tallies.repelling_keys(pod):
            self._rule(tables, fused.REPEL, key, tables.slot(RepellingTerms(pod.group, pod, key)))
        for term in pod.required_anti:
            self._rule(tables, fused.REPEL, term.key, tables.slot(MatchingAllTerms((term,))))
        for term in pod.required_affinity:
            self._rule(tables, fused.ATTRACT, term.key, tables.slot(MatchingAllTerms(pod.required_affinity)))

    def _rule(
        self, tables: _Tables, kind: int, key: str, slot: int, founding: int = 0, counting: int = 0,
        self_match: int = 0, max_skew: int = 0, min_domains: int = 0,
    ) -> None:  # fmt: skip
        column = tables.nodes.label(key)
        domains = len(column.values)
        tables.rules.append(
            [
                kind, column.index, slot, int(tables.unique(key)), domains, founding, counting, self_match, max_skew,
                min_domains, tables.segment(1 if tables.unique(key) else domains),
            ]
        )  # fmt: skip

    def _hard_spread(self, tables: _Tables, cycle: Cycle, spread: PodTopologySpread) -> None:
        pod, nodes = cycle.pod, cycle.nodes
        constraints = spread.constraints(pod, cycle.cluster, "DoNotSchedule")
        if not constraints:
            return
        match = required_match(nodes, pod.spec)
        all_keys = with_all_keys(nodes, constraints)
        for constraint in constraints:
            counting = spread.eligible(nodes, pod, constraint, match) & all_keys
            founding = counting & match if self._legacy else counting
            if self._legacy:
                counting = nodes.alive[: nodes.count].copy()
            self._rule(
                tables, fused.HARD_SPREAD, constraint.key, tables.slot(spread.matching(pod, constraint)),
                tables.mask(founding), tables.mask(counting), int(constraint.selector.matches(pod.labels)),
                constraint.max_skew, constraint.min_domains,
            )  # fmt: skip

    # -- scores --------------------------------------------------------------------------------------------------

    def _resources(self, nodes: NodeTable, pod: PodInfo) -> tuple[np.ndarray, np.ndarray]:
        table = np.zeros(fused.RESOURCE_TABLE_SIZE, np.int64)
        table[[fused.FIT_CPU, fused.FIT_MEMORY]] = fused.ALWAYS_FITS
        table[fused.LEGACY], table[fused.TOP] = int(self._legacy), self._top
        fit = self._filter(NodeResourcesFit)
        assert isinstance(fit, NodeResourcesFit)
        extra: list[tuple[int, int]] = []
        for resource, amount, strict in wanted_resources(nodes, pod, fit.ignored, fit.ignored_groups).tolist():
            if not amount and not strict:
                continue
            if resource == CPU:
                table[fused.FIT_CPU] = amount
            elif resource == MEMORY:
                table[fused.FIT_MEMORY] = amount
            else:
                extra.append((resource, amount))
        without_pod_level = pod_requests(pod.spec, defaults=DEFAULTS, pod_level=False)
        scored = scored_requests_1_20(pod.spec) if self._legacy else without_pod_level
        balanced = scored if self._legacy else pod.requests
        table[fused.SCORE_CPU], table[fused.SCORE_MEMORY] = scored.get("cpu", 0), scored.get("memory", 0)
        table[fused.BALANCE_CPU], table[fused.BALANCE_MEMORY] = balanced.get("cpu", 0), balanced.get("memory", 0)
        table[fused.FIT_WEIGHT] = self._score(NodeResourcesLeastAllocated if self._legacy else NodeResourcesFit)[1]
        balance, weight = self._score(NodeResourcesBalancedAllocation)
        if isinstance(balance, NodeResourcesBalancedAllocation) and (self._legacy or not balance.best_effort(pod)):
            table[fused.BALANCE_WEIGHT] = weight
        return table, np.array(extra, np.int64).reshape(-1, 2)

    def _statics(self, cycle: Cycle, scores: np.ndarray) -> tuple[np.ndarray, int, bool]:
        """(static columns, what they add everywhere, whether any of them differs between alive nodes)."""
        nodes, pod, rows = cycle.nodes, cycle.pod, cycle.all_rows
        statics = np.zeros((3, nodes.count), np.int32)
        taints, scores[fused.TAINT_WEIGHT] = self._score(TaintToleration)
        if taints is not None:
            statics[fused.TAINT_RAW, rows] = taints.score(cycle, rows)
        affinity, scores[fused.AFFINITY_WEIGHT] = self._score(NodeAffinity)
        if isinstance(affinity, NodeAffinity):
            terms = affinity.preferred(cycle.pod)
            if terms:
                statics[fused.AFFINITY_RAW] = preferred_points(nodes, terms)
        flat = np.zeros(nodes.count, np.int64)
        images, weight = self._score(ImageLocality)
        if isinstance(images, ImageLocality):
            names = images.images(pod)
            sums = image_sums(nodes, [name for name in names if name], self._legacy)
            if sums is not None:
                containers = 1 if self._top == 10 else len(names)
                flat += weight * image_score(sums, containers, self._top)
        avoiding, weight = self._score(NodePreferAvoidPods)
        if avoiding is not None:
            flat[rows] += weight * avoiding.score(cycle, rows)
        spread, weight = self._score(SelectorSpread)
        if spread is not None and len(rows):
            # nothing to count, so the score is the same whoever else is feasible
            spread.pre_score(cycle, rows)
            flat[rows] += weight * spread.normalize_score(cycle, rows, spread.score(cycle, rows))
        constant = int(flat[rows].min()) if len(rows) else 0
        statics[fused.FLAT] = flat - constant
        return statics, constant, bool(statics[:, rows].any())

    def _spread_score(self, tables: _Tables, cycle: Cycle, scores: np.ndarray) -> int:
        """Fills the soft constraints; returns what spreading adds everywhere when there are none."""
        spread, weight = self._score(PodTopologySpread)
        if not isinstance(spread, PodTopologySpread):
            return 0
        pod, nodes = cycle.pod, cycle.nodes
        constraints = spread.constraints(pod, cycle.cluster, "ScheduleAnyway")
        if not constraints:
            return weight * self._top if self._legacy else 0
        scores[fused.SPREAD_WEIGHT], scores[fused.ROUNDED] = weight, int(not self._legacy)
        match = required_match(nodes, pod.spec)
        all_keys = np.ones(nodes.count, np.uint8)
        if spread.needs_all_keys(pod):
            all_keys = with_all_keys(nodes, constraints)
        scores[fused.ALL_KEYS] = tables.mask(all_keys)
        for constraint in constraints:
            self._soft(tables, cycle, spread, constraint, match, all_keys)
        return 0

    def _soft(
        self, tables: _Tables, cycle: Cycle, spread: PodTopologySpread, constraint: Constraint, match: np.ndarray,
        all_keys: np.ndarray,
    ) -> None:  # fmt: skip
        column = tables.nodes.label(constraint.key)
        counting = spread.eligible(tables.nodes, cycle.pod, constraint, match) & all_keys
        if self._legacy:
            counting &= match
        domains = len(column.values)
        tables.soft.append(
            [
                column.index, tables.slot(spread.matching(cycle.pod, constraint)),
                int(constraint.key == HOSTNAME), domains, tables.mask(counting), constraint.max_skew - 1,
                tables.segment(1 if constraint.key == HOSTNAME else domains),
            ]
        )  # fmt: skip

    def _points(self, tables: _Tables, cycle: Cycle, scores: np.ndarray) -> None:
        plugin, weight = self._score(InterPodAffinity)
        if not isinstance(plugin, InterPodAffinity):
            return
        scores[fused.POINTS_WEIGHT], scores[fused.FROM_ZERO] = weight, int(self._legacy)
        for tally in plugin.points_tallies(cycle.pod, cycle.tallies):
            column = tables.nodes.label(tally.key)
            domains = len(column.values)
            tables.points.append(
                [
                    column.index, tables.slot(tally), int(tables.unique(tally.key)), domains,
                    tables.segment(1 if tables.unique(tally.key) else domains),
                ]
            )  # fmt: skip

