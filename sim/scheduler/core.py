"""The decision core: one object that knows nodes and placed pods and says where the next pod goes. No clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sim.base.errors import InputError
from sim.kernels import warmer
from sim.scheduler.cluster import ClusterObjects, DisruptionBudget
from sim.scheduler.dry_run import DryRun, takes_of, with_nominated
from sim.scheduler.framework import SUCCESS, Cycle, Filtered, Framework
from sim.scheduler.fused import (
    BEST,
    CHOSEN,
    FEASIBLE,
    TIES,
    choose,
    dense_base,
    finish,
    judge_topology,
    scan,
)
from sim.scheduler.incremental import (
    CLASSES,
    EVALUATED,
    LEAF_OF,
    MAX_CLASSES,
    PROCESSED,
    REPORT_SIZE,
    ROW_OF,
    START,
    Index,
    decide_indexed,
    decide_indexed_plain,
    shaped_for_index,
)
from sim.scheduler.node_order import NodeOrder, nodes_to_find
from sim.scheduler.placing import LOG_SIZE, note_changed, place, unplace
from sim.scheduler.plan import Plan, Planner, can_fuse
from sim.scheduler.plugins.node_resources_fit import NodeResourcesFit
from sim.scheduler.plugins.pod_topology_spread import HOSTNAME, ZONE
from sim.scheduler.pod_info import PodInfo
from sim.scheduler.preemption import BY_PREEMPTION, Evaluator, Preemption
from sim.scheduler.profiles import Profile, profile
from sim.scheduler.tallies import Tallies
from sim.state.nodes import NodeTable
from sim.state.objects import (
    Affinity,
    Container,
    LabelSelector,
    NodeSpec,
    Pairs,
    PodAffinityTerm,
    PodSpec,
    TopologySpreadConstraint,
    pairs,
    quantities,
)
from sim.state.placements import SPEC, TERMINATING, Placements

TIE_BREAKS = ("random", "lowest")


class Last:
    """What the last `schedule` did: the exact work, from which durations are made. The next call overwrites it."""

    __slots__ = ("_report", "pod", "spec")

    def __init__(self, report: np.ndarray) -> None:
        self._report = report
        self.spec = -1
        self.pod = -1

    @property
    def node(self) -> int:
        """The row chosen, -1 for none."""
        return int(self._report[CHOSEN])

    @property
    def feasible(self) -> int:
        """Feasible nodes found; a search that stopped early has not looked for more."""
        return int(self._report[FEASIBLE])

    @property
    def processed(self) -> int:
        """Nodes that count for the rotation: feasible ones found and rejected ones met."""
        return int(self._report[PROCESSED])

    @property
    def evaluated(self) -> int:
        """Nodes the filters ran on."""
        return int(self._report[EVALUATED])

    @property
    def scored(self) -> int:
        """Nodes that were scored (none when only one is feasible)."""
        return self.feasible if self.feasible > 1 else 0

    @property
    def ties(self) -> int:
        """Nodes that share the top score."""
        return int(self._report[TIES])

    @property
    def top(self) -> int:
        """The top score, weighted sum over plugins; 0 when nothing was scored."""
        return int(self._report[BEST]) if self.feasible > 1 else 0

    @property
    def next_start(self) -> int:
        """Position in the walk at which the next search starts."""
        return int(self._report[START])

    def __repr__(self) -> str:
        names = ("spec", "pod", "node", "feasible", "processed", "evaluated", "scored", "ties", "top", "next_start")
        return f"Last({', '.join(f'{name}={getattr(self, name)}' for name in names)})"


@dataclass(slots=True)
class _Nomination:
    spec: int
    node: int


@dataclass(slots=True)
class Composed:
    """What the plugins said in one cycle, in full."""

    cycle: Cycle
    filtered: Filtered
    found: np.ndarray
    """Feasible rows in the order found."""
    processed: int
    evaluated: int
    sampled: bool
    """The search could have ended before all nodes were seen."""
    by_plugin: dict[str, np.ndarray] = field(default_factory=dict)
    total: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


_BLOCK = 1024
"""Uniform numbers drawn at a time."""
_NO_ROWS = np.zeros(0, np.int64)


STREAK_FOR_INDEX = 3
"""Decisions in a row, with few changes between them, after which a spec gets an index."""
MIN_NODES_FOR_INDEX = 64
"""Below this the full path is as fast."""
CHANGE_COST_NODES = 110
"""Looking at one changed node costs about as much as this many nodes of the vectorised loop."""
BUILD_COST_NODES = 40
"""Building an index costs about this many nodes of the vectorised loop a node."""
MIN_CHANGES = 16
INDEX_BYTES_LIMIT = 128 * 2**20
"""Memory that indexes may take; beyond it the oldest is dropped."""


def _places(rows: np.ndarray, count: int) -> np.ndarray:
    """int64[2, n]: rows by leaf, and leaves by row (-1 for rows that are no leaf)."""
    places = np.full((2, max(count, 1)), -1, np.int64)
    places[ROW_OF, : len(rows)] = rows
    places[LEAF_OF, rows] = np.arange(len(rows))
    return places


class _Scratch:
    """Columns that the fused loops write."""

    def __init__(self) -> None:
        self.ok = np.zeros(0, np.uint8)
        self.sums = np.zeros(0, np.int64)
        self.reserve(64, 64)

    def reserve(self, count: int, sums: int) -> None:
        """Make room for this many rows and sums by domain."""
        if len(self.sums) < sums:
            self.sums = np.zeros(2 * sums, np.int64)
        if len(self.ok) >= count:
            return
        room = max(count, 2 * len(self.ok))
        self.ok = np.zeros(room, np.uint8)
        self.fits = np.zeros(room, np.uint8)
        self.totals = np.zeros(room, np.int32)
        self.rows = np.zeros(room, np.int64)
        self.spread = np.zeros(room, np.float64)
        self.affinity = np.zeros(room, np.int64)


class Core:
    """kube-scheduler's decisions over columns.

    profile: plugins, weights, arithmetic (`sim.scheduler.profiles`).
    tie_break: "random" draws among the top nodes with `rng`; "lowest" takes the lowest row (parity tests).
    percentage_of_nodes_to_score: None takes the profile's; 0 is adaptive; 100 evaluates all nodes.
    rng: the named random stream for ties; needed for "random".
    """

    def __init__(
        self,
        profile: Profile,
        tie_break: str = "random",
        percentage_of_nodes_to_score: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        if tie_break not in TIE_BREAKS:
            raise InputError(f"tie_break: '{tie_break}' must be one of {', '.join(TIE_BREAKS)}")
        if tie_break == "random" and rng is None:
            raise InputError("rng: None must be a random generator when ties are broken at random")
        self.profile = profile
        self.framework = Framework(profile)
        self.nodes = NodeTable()
        self.placements = Placements()
        self.cluster = ClusterObjects()
        self.tallies = Tallies(self.cluster, self.placements, self.nodes.capacity)
        self.order = NodeOrder()
        self._report = np.zeros(REPORT_SIZE, np.int64)
        self.last = Last(self._report)
        self._percentage = (
            profile.percentage_of_nodes_to_score if percentage_of_nodes_to_score is None else percentage_of_nodes_to_score
        )
        if not 0 <= self._percentage <= 100:
            raise InputError(f"percentage_of_nodes_to_score: {self._percentage} must be from 0 to 100")
        self._random = tie_break == "random"
        self._rng = rng
        self._infos: list[PodInfo] = []
        self._ids: dict[PodSpec, int] = {}
        self._groups: dict[tuple[str, Pairs], int] = {}
        self._takes: list[np.ndarray] = []
        self._nominations: dict[int, _Nomination] = {}
        self._nomination_changes = 0
        self.path = "incremental"
        """How `schedule` decides: "composed" runs the plugins one by one, "full" the fused loops, "incremental" keeps an
        index for specs that come in a row. All give the same answers."""
        self._log = np.zeros(1 + LOG_SIZE, np.int64)
        self._indexes: dict[int, Index] = {}
        self._index_bytes = 0
        self._streaks: dict[int, tuple[int, int]] = {}
        self._unindexed: dict[int, Plan] = {}
        self._places = np.zeros((2, 0), np.int64)
        self._places_stamp = -1
        self._planner = Planner(self.framework) if can_fuse(self.framework) else None
        self._room_only = {
            plugin.name for plugin in self.framework.filters if not isinstance(plugin, NodeResourcesFit)
        }
        self._composed: tuple[tuple[int, ...], Composed] | None = None
        self._plans: dict[int, Plan] = {}
        self._scratch = _Scratch()
        self._uniforms: list[float] = []
        self._drawn = 0
        self._rows_stamp = -1
        self._rows = np.zeros(0, np.int64)

    # -- nodes ---------------------------------------------------------------------------------------------------

    def add_node(self, spec: NodeSpec) -> int:
        """Register a node; returns its row, which its name keeps for good. A duplicate name is an InputError."""
        row = self.nodes.add(spec)
        self.order.add(row, self.nodes)
        self.tallies.reserve_nodes(self.nodes.capacity)
        self.placements.reserve(0, row)
        return row

    def update_node(self, row: int, spec: NodeSpec) -> None:
        """Replace what a node is: labels, taints, allocatable amounts, images, cordon."""
        self.nodes.update(row, spec)
        note_changed(self._log, row)
        if self.order.update(row, self.nodes):
            self.nodes.set_version += 1

    def remove_node(self, row: int) -> None:
        """Take a node out; its pods stay accounted until they are removed."""
        self.nodes.remove(row)
        self.order.remove(row)

    # -- the rest of the cluster ---------------------------------------------------------------------------------

    def set_namespaces(self, labels: Mapping[str, Mapping[str, str]]) -> None:
        """Replace the namespaces and their labels (for namespaceSelector)."""
        self.cluster.namespaces = {name: dict(of_name) for name, of_name in labels.items()}
        self.tallies.forget_all()
        self.cluster.version += 1

    def set_service(self, namespace: str, name: str, selector: Pairs | None) -> None:
        """Add or change a service; None removes it."""
        self.cluster.version += 1
        services = self.cluster.services.setdefault(namespace, {})
        if selector is None:
            services.pop(name, None)
        else:
            services[name] = selector

    def set_controller(self, kind: str, namespace: str, name: str, selector: LabelSelector | None) -> None:
        """Add or change a ReplicaSet, StatefulSet or ReplicationController; None removes it."""
        self.cluster.version += 1
        controllers = self.cluster.controllers.setdefault(namespace, {})
        if selector is None:
            controllers.pop((kind, name), None)
        else:
            controllers[(kind, name)] = selector

    def set_budgets(self, budgets: tuple[DisruptionBudget, ...]) -> None:
        """Replace the PodDisruptionBudgets."""
        self.cluster.budgets = budgets

    # -- pods ----------------------------------------------------------------------------------------------------

    def intern(self, spec: PodSpec) -> int:
        """The id of a spec; equal specs share one."""
        found = self._ids.get(spec)
        if found is None:
            found = len(self._infos)
            group = self._groups.setdefault((spec.namespace, spec.labels), len(self._groups))
            info = PodInfo(spec, found, group, self.profile.arithmetic != "1.34")
            self._infos.append(info)
            self._takes.append(takes_of(info, self.nodes))
            self.tallies.register(info)
            self.placements.reserve_specs(len(self._infos))
            self._ids[spec] = found
        return found

    @property
    def infos(self) -> list[PodInfo]:
        """All interned specs, by id."""
        return self._infos

    def info(self, spec: int) -> PodInfo:
        """The spec made ready for the rules."""
        return self._infos[spec]

    def assume(self, pod: int, spec: int, node: int, start_s: float = 0.0) -> None:
        """Place a pod: it occupies its node at once. start_s: status.startTime, for preemption."""
        if pod < 0 or self.placements.is_placed(pod):
            raise InputError(f"pods[{pod}]: placed already or negative; forget or remove it first")
        if not 0 <= node < self.nodes.count:
            raise InputError(f"pods[{pod}].node: {node} must be a node row below {self.nodes.count}")
        places = self.placements
        places.reserve(pod, node)
        place.fast(
            self.nodes.amounts, self.tallies.counts, places.pods, places.heads,
            self._takes[spec], self.tallies.effects(spec), self._log, pod, spec, node,
        )  # fmt: skip
        places.start_s[pod] = start_s
        places.of_spec[spec] += 1
        places.count += 1

    def remove(self, pod: int) -> None:
        """Take a placed pod off its node: it is gone."""
        places = self.placements
        places.check_placed(pod)
        spec = int(places.pods[SPEC, pod])
        effects = self.tallies.effects(spec, bool(places.pods[TERMINATING, pod]))
        unplace.fast(
            self.nodes.amounts, self.tallies.counts, places.pods, places.heads, self._takes[spec], effects, self._log, pod
        )
        places.of_spec[spec] -= 1
        places.count -= 1

    def forget(self, pod: int) -> None:
        """Undo an assumption: the binding failed."""
        self.remove(pod)

    def terminate(self, pod: int, by_preemption: bool = False) -> None:
        """A placed pod got its deletion timestamp: spreading no longer counts it, its room stays taken."""
        places = self.placements
        places.check_placed(pod)
        if places.pods[TERMINATING, pod]:
            return
        spec, row = int(places.pods[SPEC, pod]), int(places.node[pod])
        for sign, terminating in ((-1, False), (1, True)):
            slots, weights = self.tallies.effects(spec, terminating)
            self.tallies.counts[slots, row] += sign * weights
        note_changed(self._log, row)
        places.pods[TERMINATING, pod] = BY_PREEMPTION if by_preemption else 1

    def nominate(self, pod: int, spec: int, node: int) -> None:
        """A pending pod is nominated to a node: pods of lower or equal priority must leave it room there."""
        self._nominations[pod] = _Nomination(spec, node)
        self._nomination_changes += 1

    def clear_nomination(self, pod: int) -> None:
        """The nomination is over; unknown pods are fine."""
        self._nominations.pop(pod, None)
        self._nomination_changes += 1

    def nomination(self, pod: int) -> int:
        """The node row a pending pod is nominated to, -1 if none."""
        found = self._nominations.get(pod)
        return -1 if found is None else found.node

    def preempt(self, pod: int, spec: int, all_candidates: bool = False) -> Preemption:
        """Find victims for a pod that fits nowhere. Nothing is changed: the caller evicts, then nominates the pod.

        all_candidates: try every potential node from the first instead of a share from a random one."""
        evaluator = Evaluator(self, pod, spec, self._compose_again(spec, pod))
        if all_candidates or not self._random:
            return evaluator.run()
        return evaluator.run(self._uniform(), self._uniform())

    # -- the decision --------------------------------------------------------------------------------------------

    def schedule(self, spec: int, pod: int = -1) -> int:
        """The row of the node for a pod of this spec, or -1; details are in `last`.

        pod: its id, so that its own nomination is tried first and does not stand in its way."""
        draw = self._uniform() if self._random else 0.0
        last = self.last
        last.spec, last.pod = spec, pod
        if self.path == "composed":
            return self._schedule_composed(spec, pod, draw)
        plan = self._plans.get(spec)
        if plan is None or plan.stamp != self.nodes.version + self.tallies.version + self.cluster.version:
            plan = self._make_plan(spec)
            if plan is None:
                return self._schedule_composed(spec, pod, draw)
        if self._nominations:
            info = self._infos[spec]
            nominated = self.nominated_beside(pod, info)
            if nominated or pod in self._nominations:
                if len(plan.rules) or pod in self._nominations:
                    return self._schedule_composed(spec, pod, draw)
                return self._schedule_fused(plan, draw, self._beside(plan, info, nominated))
        if self.path == "incremental":
            index = self._indexes.get(spec)
            if index is not None and index.plan is plan:
                if index.plain:
                    node = decide_indexed_plain(self.nodes.amounts, self._log, draw, self._report, *index.fixed)
                else:
                    nodes = self.nodes
                    node = decide_indexed(
                        nodes.amounts, nodes.labels, self.tallies.counts, self._log, draw, self._report, *index.fixed
                    )
                if node >= -1:
                    return node
            self._consider_index(spec, plan)
        return self._schedule_fused(plan, draw)

    def _schedule_composed(self, spec: int, pod: int, draw: float) -> int:
        result = self.compose(spec, pod)
        feasible = len(result.found)
        top, ties, node = -1, min(feasible, 1), -1
        if feasible == 1:
            node = int(result.found[0])
        elif feasible:
            top = int(result.total.max())
            best = result.found[result.total == top]
            if not self._random or not result.sampled:
                best = np.sort(best)
            ties = len(best)
            node = int(best[min(int(draw * ties), ties - 1)])
        start = int(self._report[START])
        if self.nodes.alive_count:
            start = (start + result.processed) % self.nodes.alive_count
        self._report[:] = (feasible, top, ties, node, result.processed, result.evaluated, start)
        return node

    def _consider_index(self, spec: int, plan: Plan) -> None:
        """Build, or build again, the index of a spec that comes in a row; drop one that others' pods outran."""
        changes = int(self._log[0])
        seen, streak = self._streaks.get(spec, (-LOG_SIZE, 0))
        leaves = self.nodes.alive_count
        wanted = nodes_to_find(leaves, self._percentage)
        sampled = wanted < leaves
        visited = 6 * wanted if sampled else leaves
        if len(plan.rules) or len(plan.soft) or len(plan.points):
            visited = 6 * visited + 2 * leaves
        limit = max(MIN_CHANGES, visited // CHANGE_COST_NODES)
        streak = streak + 1 if changes - seen <= limit // 4 else 0
        self._streaks[spec] = (changes, streak)
        if self._unindexed.get(spec) is plan:
            return
        # build once the full path has cost as much as a build does
        enough = max(STREAK_FOR_INDEX, BUILD_COST_NODES * leaves // max(visited, 1)) if STREAK_FOR_INDEX else 0
        if streak < enough or leaves < MIN_NODES_FOR_INDEX or plan.walk is not None or plan.rejected:
            return
        old = self._indexes.pop(spec, None)
        if old is not None:
            self._index_bytes -= old.bytes
        classes = 1 if plan.plain else 8
        if old is not None and old.plan is plan and old.head[CLASSES] == old.classes:
            classes = 2 * old.classes
        if self._places_stamp != self.nodes.set_version:
            self._places = _places(self.order.rows() if sampled else self._rows, self.nodes.count)
            self._places_stamp = self.nodes.set_version
        while classes <= MAX_CLASSES and shaped_for_index(plan):
            index = Index(plan, self._places, leaves, wanted, classes, sampled, not self._random)
            number = index.fill(self.nodes.amounts, self.nodes.labels, self.tallies.counts, self._log)
            if number <= classes:
                break
            classes = number + number // 2
        else:
            self._unindexed[spec] = plan
            return
        index.limit(limit)
        self._streaks[spec] = (changes, 0)
        while self._indexes and self._index_bytes + index.bytes > INDEX_BYTES_LIMIT:
            self._index_bytes -= self._indexes.pop(next(iter(self._indexes))).bytes
        self._indexes[spec] = index
        self._index_bytes += index.bytes

    def _make_plan(self, spec: int) -> Plan | None:
        """The plan of a spec: the one there is, where nothing it depends on has changed, else a new one."""
        planner, nodes, tallies, cluster = self._planner, self.nodes, self.tallies, self.cluster
        if planner is None:
            return None
        info, old = self._infos[spec], self._plans.get(spec)
        plan = old
        same = old is not None and old.inputs == planner.inputs(info, nodes, tallies, cluster)
        if old is None or not same or not tallies.hold(old.slots):
            plan = planner.plan(self.cycle(spec), self.order.rows())
            if plan is None:
                return None
            if old is not None and old.same_as(plan):
                plan = old
            # making the plan may have counted new tallies
            plan.inputs = planner.inputs(info, nodes, tallies, cluster)
            self._plans[spec] = plan
        assert plan is not None
        plan.stamp = nodes.version + tallies.version + cluster.version
        return plan

    def _beside(self, plan: Plan, info: PodInfo, nominated: dict[int, list[PodInfo]]) -> np.ndarray:
        """The plan's `ok` without the nodes that have no room beside their nominated pods. Only for a plan without rules
        about other pods: such a pod meets the nominated ones in resources alone."""
        ok = plan.ok.copy()
        cycle = self.cycle(info.index)
        dry_run = DryRun(self.framework, cycle, self._room_only, 0)
        for row, infos in nominated.items():
            if row < len(ok) and ok[row]:
                ok[row] = dry_run.filter(row, infos)[0] == SUCCESS
        return ok

    def _schedule_fused(self, plan: Plan, draw: float, open_rows: np.ndarray | None = None) -> int:
        """All nodes, or as many as sampling asks for, through the fused loops; open_rows replaces the plan's `ok`."""
        report = self._report
        nodes, scratch = self.nodes, self._scratch
        start, alive = int(report[START]), nodes.alive_count
        walk = self.order.rows() if plan.walk is None else plan.walk
        if plan.rejected or not len(walk):
            report[:] = (0, -1, 0, -1, 0, 0, start)
            return -1
        count = nodes.count
        scratch.reserve(count, plan.room)
        wanted = nodes_to_find(len(walk), self._percentage)
        ok = plan.ok if open_rows is None else open_rows
        if len(plan.rules):
            ok = scratch.ok
            ok[:count] = plan.ok
            judge_topology.fast(
                nodes.labels, self.tallies.counts, plan.masks, plan.rules, plan.itself, count, scratch.sums, ok
            )
        processed = evaluated = len(walk)
        rows, found = _NO_ROWS, count
        if wanted < len(walk):
            found, processed, evaluated = scan.fast(
                nodes.amounts, ok, plan.extra, plan.resources, walk, start % len(walk), wanted, scratch.rows,
                scratch.totals,
            )  # fmt: skip
            rows = scratch.rows
        else:
            dense_base.fast(nodes.amounts, ok, plan.extra, plan.resources, count, scratch.fits, scratch.totals)
        if not plan.plain:
            finish.fast(
                nodes.labels, self.tallies.counts, plan.masks, plan.statics, plan.soft, plan.points, plan.scores, count,
                rows, found, scratch.totals, scratch.sums, scratch.spread, scratch.affinity, draw, not self._random, report,
            )  # fmt: skip
        else:
            choose.fast(scratch.totals, found, draw, not self._random, rows, report)
        report[PROCESSED] = processed
        report[EVALUATED] = evaluated
        report[START] = (start + processed) % alive
        return int(report[CHOSEN])

    def _uniform(self) -> float:
        """One uniform number a decision, drawn in blocks."""
        if self._drawn == len(self._uniforms):
            assert self._rng is not None
            self._uniforms = self._rng.random(_BLOCK).tolist()
            self._drawn = 0
        self._drawn += 1
        return self._uniforms[self._drawn - 1]

    def compose(self, spec: int, pod: int = -1, *, score_single: bool = False) -> Composed:
        """One cycle through the plugins, without choosing: the truth that the fast paths must equal."""
        cycle = self.cycle(spec)
        filtered = self.framework.run_filters(cycle)
        nominated = self.nominated_beside(pod, self._infos[spec])
        if nominated and filtered.rejection is None:
            with_nominated(self.framework, cycle, filtered, nominated, filtered.skipped)
        own = self._nominations.get(pod)
        if own is not None and own.node < self.nodes.count and filtered.status[own.node] == SUCCESS:
            found, processed, evaluated = np.array([own.node], np.int64), 1, 1
        else:
            found, processed, evaluated = self._search(cycle, filtered)
        sampled = nodes_to_find(len(self._walk(cycle)), self._percentage) < len(self._walk(cycle))
        result = Composed(cycle, filtered, found, processed, evaluated, sampled)
        if len(found) > 1 or (score_single and len(found)):
            result.by_plugin, result.total = self.framework.run_scores(cycle, found)
        return result

    def _compose_again(self, spec: int, pod: int) -> Composed:
        """`compose`, remembered while nothing changes: the questions after a failure are about one cycle."""
        now = (
            spec, pod, int(self._log[0]), self.nodes.version, self.tallies.version, self.cluster.version,
            self._nomination_changes,
        )  # fmt: skip
        if self._composed is None or self._composed[0] != now:
            self._composed = (now, self.compose(spec, pod))
        return self._composed[1]

    def cycle(self, spec: int) -> Cycle:
        """A fresh cycle for a pod of this spec."""
        if self._rows_stamp != self.nodes.set_version:
            self._rows = self.nodes.rows()
            self._rows_stamp = self.nodes.set_version
        return Cycle(
            self._infos[spec], self.nodes, self.placements, self.tallies, self.cluster, self._infos, self._rows
        )

    def _walk(self, cycle: Cycle) -> np.ndarray:
        """Rows in walking order, without those that PreFilter ruled out by name."""
        walk = self.order.rows()
        return walk if cycle.allowed is None else walk[cycle.allowed[walk]]

    def _search(self, cycle: Cycle, filtered: Filtered) -> tuple[np.ndarray, int, int]:
        """Walk the nodes from the start index until enough are feasible: (rows found, processed, evaluated)."""
        if filtered.rejection is not None:
            return np.zeros(0, np.int64), 0, 0
        walk = self._walk(cycle)
        if not len(walk):
            return walk, 0, 0
        walk = np.roll(walk, -(int(self._report[START]) % len(walk)))
        feasible = filtered.status[walk] == SUCCESS
        wanted = nodes_to_find(len(walk), self._percentage)
        positions = np.flatnonzero(feasible)
        if len(positions) <= wanted:
            return walk[positions], len(walk), len(walk)
        stop = int(positions[wanted])
        return walk[positions[:wanted]], stop, stop + 1

    def nominated_beside(self, pod: int, info: PodInfo) -> dict[int, list[PodInfo]]:
        """Specs of nominated pods of equal or higher priority, the pod itself left out, by node row."""
        found: dict[int, list[PodInfo]] = {}
        for other, nomination in self._nominations.items():
            theirs = self._infos[nomination.spec]
            if other != pod and theirs.spec.priority >= info.spec.priority:
                found.setdefault(nomination.node, []).append(theirs)
        return found


    # -- why not -------------------------------------------------------------------------------------------------

    def fit_error(self) -> str:
        """Why the last `schedule` failed, as users know it: "0/5 nodes are available: 3 Insufficient cpu, …".

        Worked out on asking, so ask before anything changes."""
        total = self.nodes.alive_count
        if not total:
            return "no nodes available to schedule pods"
        result = self._compose_again(self.last.spec, self.last.pod)
        text = f"0/{total} nodes are available:"
        rejection = result.filtered.rejection
        if rejection is not None:
            return f"{text} {rejection.message}."
        counts = self._count_reasons(result)
        listed = sorted(f"{count} {reason}" for reason, count in counts.items())
        return f"{text} {', '.join(listed)}." if listed else text

    def _count_reasons(self, result: Composed) -> dict[str, int]:
        """Nodes by reason, each plugin asked about all its nodes at once; `reasons` says the same node by node."""
        filtered, cycle = result.filtered, result.cycle
        rows = cycle.all_rows
        alone = np.zeros(len(rows), np.bool_)
        if cycle.allowed is not None:
            alone |= ~cycle.allowed[rows]
        if filtered.reasons:
            alone |= np.isin(rows, list(filtered.reasons))
        counts: dict[str, int] = {}
        for row in rows[alone]:
            for reason in self.reasons(result, int(row)):
                counts[reason] = counts.get(reason, 0) + 1
        others = rows[~alone]
        rejected_by = filtered.rejected_by[others]
        for index in np.unique(rejected_by):
            of_plugin = self.framework.filters[int(index)].count_reasons(cycle, others[rejected_by == index])
            for reason, count in of_plugin.items():
                counts[reason] = counts.get(reason, 0) + count
        return counts

    def reasons(self, result: Composed, row: int) -> list[str]:
        """Why the first rejecting plugin of a cycle rejects a node."""
        filtered, cycle = result.filtered, result.cycle
        if row in filtered.reasons:
            return filtered.reasons[row]
        if cycle.allowed is not None and not cycle.allowed[row]:
            return [f"node(s) didn't satisfy plugin(s) [{' '.join(filtered.ruled_out_by)}]"]
        return self.framework.reasons(cycle, row, int(filtered.rejected_by[row]))

    def rejecting_plugins(self) -> frozenset[str]:
        """Names of the plugins that rejected the last failed pod on some node: whose events may help it."""
        result = self._compose_again(self.last.spec, self.last.pod)
        if result.filtered.rejection is not None:
            return frozenset([result.filtered.rejection.plugin])
        indices = np.unique(result.filtered.rejected_by[result.cycle.all_rows])
        return frozenset(self.framework.filters[index].name for index in indices if index >= 0)




@warmer
def _warm() -> None:
    """Compile, or load, what runs of the default profile call: the full and the incremental path, plain and not."""
    for percentage in (100, 0):
        core = Core(profile("1.34"), "random", percentage, np.random.default_rng(0))
        room = quantities({"cpu": 4000, "memory": 2**33, "pods": 110})
        for index in range(MIN_NODES_FOR_INDEX):
            core.add_node(NodeSpec(f"n{index}", pairs({HOSTNAME: f"n{index}", ZONE: f"z{index % 3}"}), (), False, room))
        labels = pairs({"app": "warm"})
        soft = TopologySpreadConstraint(1, ZONE, "ScheduleAnyway", LabelSelector(labels))
        alone = Affinity(anti_required=(PodAffinityTerm(HOSTNAME, LabelSelector(labels)),))
        containers = (Container(requests=quantities({"cpu": 10, "memory": 2**20})),)
        specs = (
            core.intern(PodSpec(containers=containers)),
            core.intern(PodSpec(labels=labels, containers=containers, affinity=alone, topology_spread_constraints=(soft,))),
        )
        for pod, spec in enumerate(specs):
            # long enough for an index, then a change for it to take in
            for _ in range(2 * BUILD_COST_NODES):
                core.schedule(spec)
            core.assume(pod, spec, core.schedule(spec))
            core.schedule(spec)
        core.remove(0)
