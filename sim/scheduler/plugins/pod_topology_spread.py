"""PodTopologySpread: keep the pods of an application even over zones, hosts or any other label.

Hard constraints filter, soft ones score. A pod without constraints of its own takes the defaults: the system's
(3 over hosts, 5 over zones, soft) or a configured list, with the selector of its services and owning controller.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.kernels import kernel
from sim.kernels.columns import domain_sums
from sim.scheduler.cluster import ClusterObjects
from sim.scheduler.framework import PLUGINS, SKIP, UNRESOLVABLE, UNSCHEDULABLE, Cycle, Plugin, Status
from sim.scheduler.plugins.node_affinity import required_match
from sim.scheduler.pod_info import PodInfo
from sim.scheduler.tallies import MatchingPods
from sim.scheduler.tolerations import first_blocking_taint
from sim.state.nodes import NodeTable
from sim.state.objects import TopologySpreadConstraint
from sim.state.selectors import Selector, equals, selector_of

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
SYSTEM_DEFAULTS = (
    TopologySpreadConstraint(3, HOSTNAME, "ScheduleAnyway"),
    TopologySpreadConstraint(5, ZONE, "ScheduleAnyway"),
)
"""What pods of services and controllers get unless configured otherwise (podtopologyspread/plugin.go)."""
NO_DOMAIN_MINIMUM = 2**31 - 1
"""The global minimum where no domain counts (math.MaxInt32 upstream): every skew is then far below its limit."""

_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_LOG_TERMS = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)


def natural_log(x: float) -> float:
    """ln x for x >= 1, bit for bit as Go computes it (the FreeBSD msun polynomial), whatever the platform's libm."""
    fraction, exponent = math.frexp(x)
    if fraction < math.sqrt(2) / 2:
        fraction *= 2
        exponent -= 1
    f = fraction - 1
    k = float(exponent)
    l1, l2, l3, l4, l5, l6, l7 = _LOG_TERMS
    s = f / (2 + f)
    s2 = s * s
    s4 = s2 * s2
    r = s2 * (l1 + s4 * (l3 + s4 * (l5 + s4 * l7))) + s4 * (l2 + s4 * (l4 + s4 * l6))
    half = 0.5 * f * f
    return k * _LN2_HIGH - ((half - (s * (half + r) + k * _LN2_LOW)) - f)


@dataclass(frozen=True)
class Constraint:
    """One constraint made ready."""

    key: str
    max_skew: int
    selector: Selector
    min_domains: int
    honor_affinity: bool
    honor_taints: bool


def _ready(given: TopologySpreadConstraint, labels: Mapping[str, str], selector: Selector | None) -> Constraint:
    if selector is None:
        selector = selector_of(given.label_selector)
        own = {key: labels[key] for key in given.match_label_keys if key in labels}
        if own and not selector.nothing:
            selector = selector.plus(equals(own))
    return Constraint(
        given.topology_key,
        given.max_skew,
        selector,
        given.min_domains or 1,
        (given.node_affinity_policy or "Honor") == "Honor",
        (given.node_taints_policy or "Ignore") == "Honor",
    )


def _spread_filter_twin(
    codes: np.ndarray, sums: np.ndarray, self_match: int, minimum: int, max_skew: int, rows: np.ndarray, out: np.ndarray
) -> None:
    open_rows = np.flatnonzero(out == 0)
    own = codes[rows[open_rows]]
    counts = np.where(own >= 0, sums[np.maximum(own, 0)] if len(sums) else 0, 0)
    bad = np.where(own < 0, UNRESOLVABLE, np.where(counts + self_match - minimum > max_skew, UNSCHEDULABLE, 0))
    out[open_rows] = bad.astype(np.int8)


@kernel(reference=_spread_filter_twin)
def spread_filter(
    codes: np.ndarray, sums: np.ndarray, self_match: int, minimum: int, max_skew: int, rows: np.ndarray, out: np.ndarray
) -> None:
    """Judge one hard constraint for rows not rejected yet: count + self - minimum must not exceed max_skew.

    codes int32[n] of the topology key, sums int64[domains] matching pods, rows int64[k], out int8[k] in place."""
    for i in range(rows.shape[0]):
        if out[i] != 0:
            continue
        code = codes[rows[i]]
        if code < 0:
            out[i] = 2
        elif sums[code] + self_match - minimum > max_skew:
            out[i] = 1


def _spread_points_twin(
    codes: np.ndarray, counts: np.ndarray, weight: float, shift: float, rows: np.ndarray, points: np.ndarray
) -> None:
    own = codes[rows]
    has = own >= 0
    points[has] += counts[own[has]].astype(np.float64) * weight + shift


@kernel(reference=_spread_points_twin)
def spread_points(
    codes: np.ndarray, counts: np.ndarray, weight: float, shift: float, rows: np.ndarray, points: np.ndarray
) -> None:
    """Add one soft constraint's points, count * weight + shift, to float64 points of rows that have the label.

    codes int32[n]: index into counts int64[domains], -1 where the label is absent."""
    for i in range(rows.shape[0]):
        code = codes[rows[i]]
        if code >= 0:
            points[i] += np.float64(counts[code]) * weight + shift


def _spread_normalize_twin(scores: np.ndarray, ignored: np.ndarray, top: int) -> np.ndarray:
    out = np.zeros(len(scores), np.int64)
    taken = scores[~ignored]
    if len(taken):
        most, least = max(int(taken.max()), 0), int(taken.min())
        out[~ignored] = top if most == 0 else top * (most + least - taken) // most
    return out


@kernel(reference=_spread_normalize_twin)
def spread_normalize(scores: np.ndarray, ignored: np.ndarray, top: int) -> np.ndarray:
    """int64 scores 0..top: the fewest points get the most; ignored rows 0; all zero points: all `top`.

    scores int64[k] >= 0, ignored bool[k]."""
    most = np.int64(0)
    least = np.int64(2**62)
    for i in range(scores.shape[0]):
        if not ignored[i]:
            most = max(most, scores[i])
            least = min(least, scores[i])
    out = np.zeros(scores.shape[0], np.int64)
    for i in range(scores.shape[0]):
        if not ignored[i]:
            out[i] = top if most == 0 else top * (most + least - scores[i]) // most
    return out


@dataclass(slots=True)
class _HardState:
    """What PreFilter prepares for one constraint."""

    constraint: Constraint
    eligible: np.ndarray
    """uint8 rows that make domains and whose pods count."""
    sums: np.ndarray
    """int64 matching pods by domain code."""
    present: np.ndarray
    """bool domains that count."""
    self_match: int

    def minimum(self) -> int:
        """The global minimum that skew is measured from."""
        if int(self.present.sum()) < self.constraint.min_domains:
            return 0
        return int(self.sums[self.present].min(initial=NO_DOMAIN_MINIMUM))


@PLUGINS.register("PodTopologySpread")
class PodTopologySpread(Plugin):
    """Topology spread (podtopologyspread/filtering.go, scoring.go). Arguments: defaultingType, defaultConstraints
    (`sim.state.objects.TopologySpreadConstraint` or v1 mappings)."""

    def __init__(self, args: Mapping[str, Any] | None = None, arithmetic: str = "1.34") -> None:
        super().__init__(args, arithmetic)
        self.system = (self.args.get("defaultingType") or "System") == "System"
        given = tuple(_default_constraint(each) for each in self.args.get("defaultConstraints") or ())
        self.defaults = SYSTEM_DEFAULTS if self.system else given

    # -- constraints ---------------------------------------------------------------------------------------------

    def constraints(self, pod: PodInfo, cluster: ClusterObjects, action: str) -> tuple[Constraint, ...]:
        """The pod's constraints with this whenUnsatisfiable; the defaults when it has none at all."""
        own = pod.spec.topology_spread_constraints
        if own:
            return tuple(_ready(each, pod.labels, None) for each in own if each.when_unsatisfiable == action)
        wanted = [each for each in self.defaults if each.when_unsatisfiable == action]
        if not wanted:
            return ()
        selector = cluster.default_selector(pod)
        if selector.empty:
            return ()
        return tuple(_ready(each, pod.labels, selector) for each in wanted)

    def needs_all_keys(self, pod: PodInfo) -> bool:
        """Must a node have all the keys to be scored? Not under the system's defaults, since 1.21."""
        return bool(pod.spec.topology_spread_constraints) or not self.system or self.arithmetic != "1.34"

    def matching(self, pod: PodInfo, constraint: Constraint) -> MatchingPods:
        """The tally of the pods that a constraint counts; 1.20 counts every pod under an empty selector."""
        return MatchingPods(pod.namespace, constraint.selector, self.arithmetic != "1.34")

    def eligible(self, nodes: NodeTable, pod: PodInfo, constraint: Constraint, match: np.ndarray) -> np.ndarray:
        """uint8, one a table row: does the node count for a constraint (inclusion policies)? match: required_match."""
        found = nodes.alive[: nodes.count].copy()
        if self.arithmetic != "1.34":
            return found
        if constraint.honor_affinity:
            found &= match
        if constraint.honor_taints:
            tolerations = pod.spec.tolerations
            fine = nodes.by_taints(lambda taints: first_blocking_taint(tolerations, taints) is None)
            found &= fine[nodes.taint_class[: nodes.count]].astype(np.uint8)
        return found

    # -- filter --------------------------------------------------------------------------------------------------

    def pre_filter(self, cycle: Cycle) -> Status | None:
        constraints = self.constraints(cycle.pod, cycle.cluster, "DoNotSchedule")
        if not constraints:
            cycle.scratch.pop(self.name, None)
            return Status(SKIP)
        nodes = cycle.nodes
        match = required_match(nodes, cycle.pod.spec)
        all_keys = with_all_keys(nodes, constraints)
        states = []
        for constraint in constraints:
            eligible = self.eligible(nodes, cycle.pod, constraint, match) & all_keys
            founding = eligible if self.arithmetic == "1.34" else eligible & match
            codes = nodes.label_codes(constraint.key)
            present = np.zeros(len(nodes.label(constraint.key).values), bool)
            present[codes[founding.astype(bool)]] = True
            if self.arithmetic != "1.34":
                # 1.20 counts pods on every node of a domain that has one eligible node
                eligible = nodes.alive[: nodes.count] & (codes >= 0)
                eligible &= present[np.maximum(codes, 0)] if len(present) else 0
            sums = np.zeros(len(present), np.int64)
            counts = cycle.counts(self.matching(cycle.pod, constraint))
            domain_sums(codes, counts, eligible, cycle.all_rows, sums)
            self_match = int(constraint.selector.matches(cycle.pod.labels))
            states.append(_HardState(constraint, eligible, sums, present, self_match))
        cycle.scratch[self.name] = states
        return None

    def filter(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        out = np.zeros(len(rows), np.int8)
        for state in cycle.scratch.get(self.name, ()):
            codes = cycle.nodes.label_codes(state.constraint.key)
            spread_filter(codes, state.sums, state.self_match, state.minimum(), state.constraint.max_skew, rows, out)
        return out

    def reasons(self, cycle: Cycle, row: int) -> list[str]:
        text = "node(s) didn't match pod topology spread constraints"
        missing = self.filter(cycle, np.array([row], np.int64))[0] == UNRESOLVABLE
        return [f"{text} (missing required label)" if missing else text]

    def pod_added(self, cycle: Cycle, pod: PodInfo, row: int, terminating: bool) -> None:
        self._update(cycle, pod, row, 1)

    def pod_removed(self, cycle: Cycle, pod: PodInfo, row: int, terminating: bool) -> None:
        self._update(cycle, pod, row, -1)

    def _update(self, cycle: Cycle, pod: PodInfo, row: int, delta: int) -> None:
        # terminating pods were not counted at first, yet they are subtracted and added like others (upstream's way)
        if pod.namespace != cycle.pod.namespace:
            return
        for state in cycle.scratch.get(self.name, ()):
            if state.eligible[row] and state.constraint.selector.matches(pod.labels):
                code = cycle.nodes.label_codes(state.constraint.key)[row]
                state.sums[code] += delta

    # -- score ---------------------------------------------------------------------------------------------------

    def pre_score(self, cycle: Cycle, rows: np.ndarray) -> Status | None:
        constraints = self.constraints(cycle.pod, cycle.cluster, "ScheduleAnyway")
        cycle.scratch[self.name + ".score"] = constraints
        if not constraints and self.arithmetic == "1.34":
            return Status(SKIP)
        return None

    def score(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        constraints: tuple[Constraint, ...] = cycle.scratch[self.name + ".score"]
        nodes = cycle.nodes
        match = required_match(nodes, cycle.pod.spec)
        all_keys = np.ones(nodes.count, np.uint8)
        if self.needs_all_keys(cycle.pod):
            all_keys = with_all_keys(nodes, constraints)
        scored = rows[all_keys[rows] != 0]
        cycle.scratch[self.name + ".ignored"] = all_keys[rows] == 0
        points = np.zeros(len(rows), np.float64)
        for constraint in constraints:
            codes = nodes.label_codes(constraint.key)
            counts = cycle.counts(self.matching(cycle.pod, constraint))
            shift = float(constraint.max_skew - 1)
            if constraint.key == HOSTNAME:
                weight = natural_log(len(scored) + 2)
                own_row = np.where(codes >= 0, np.arange(len(codes)), -1)
                spread_points(own_row, counts.astype(np.int64), weight, shift, rows, points)
                continue
            eligible = self.eligible(nodes, cycle.pod, constraint, match) & all_keys
            if self.arithmetic != "1.34":
                eligible &= match
            # a node without the label makes a domain too, under the system's defaults
            weight = natural_log(len(np.unique(codes[scored])) + 2)
            sums = np.zeros(len(nodes.label(constraint.key).values), np.int64)
            domain_sums(codes, counts, eligible, cycle.all_rows, sums)
            spread_points(codes, sums, weight, shift, rows, points)
        points[all_keys[rows] == 0] = 0
        if self.arithmetic == "1.34":
            return np.floor(points + 0.5).astype(np.int64)
        return points.astype(np.int64)

    def normalize_score(self, cycle: Cycle, rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return spread_normalize(scores, cycle.scratch[self.name + ".ignored"], self.top)


def with_all_keys(nodes: NodeTable, constraints: tuple[Constraint, ...]) -> np.ndarray:
    """uint8, one a table row: does the node have the topology keys of all constraints?"""
    found = np.ones(nodes.count, np.uint8)
    for constraint in constraints:
        found &= nodes.label_codes(constraint.key) >= 0
    return found


def _default_constraint(given: TopologySpreadConstraint | Mapping[str, Any]) -> TopologySpreadConstraint:
    if isinstance(given, TopologySpreadConstraint):
        return given
    return TopologySpreadConstraint(
        int(given["maxSkew"]),
        str(given["topologyKey"]),
        str(given["whenUnsatisfiable"]),
        None,
        given.get("minDomains"),
        given.get("nodeAffinityPolicy"),
        given.get("nodeTaintsPolicy"),
    )
