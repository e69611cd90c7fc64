"""The framework's contract, a user's own plugin, errors, and worked examples of decisions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.base.plugin import Catalog
from sim.kernels import warm
from sim.scheduler.core import Core
from sim.scheduler.framework import PLUGINS, SKIP, SUCCESS, UNSCHEDULABLE, WAIT, Cycle, Plugin, PluginError, Status
from sim.scheduler.incremental import decide_indexed, decide_indexed_plain
from sim.scheduler.node_order import nodes_to_find
from sim.scheduler.profiles import PROFILES, Profile, profile
from sim.state.objects import (
    Affinity,
    Container,
    LabelSelector,
    NodeSpec,
    PodAffinityTerm,
    PodSpec,
    Taint,
    TopologySpreadConstraint,
    pairs,
    quantities,
)

MIB = 2**20
GIB = 2**30


def node(name: str, cpu: int = 4000, memory: int = 8 * GIB, pods: int = 110, **labels: str) -> NodeSpec:
    return NodeSpec(name, pairs(labels), allocatable=quantities({"cpu": cpu, "memory": memory, "pods": pods}))


def pod(cpu: int = 100, memory: int = 100 * MIB, app: str = "web", **fields: object) -> PodSpec:
    container = Container(requests=quantities({"cpu": cpu, "memory": memory}))
    return replace(PodSpec(labels=pairs({"app": app}), containers=(container,)), **fields)  # type: ignore[arg-type]


def core_of(*nodes: NodeSpec, given: Profile | None = None) -> Core:
    core = Core(given or profile("1.34"), "lowest", 100)
    for each in nodes:
        core.add_node(each)
    return core


@pytest.fixture
def own_plugins() -> Iterator[None]:
    """Takes back what a test registers."""
    known = set(PLUGINS)
    yield
    for name in set(PLUGINS) - known:
        del PLUGINS._entries[name]


# -- a user's own plugin ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("own_plugins")
def test_a_plugin_in_ten_lines() -> None:
    """A filter and a score over node labels, in a profile beside the default plugins."""

    @PLUGINS.register("GreenPower")
    class GreenPower(Plugin):
        """Never on coal, best on wind."""

        def filter(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
            return np.where(cycle.nodes.label_is("power", "coal")[rows], UNSCHEDULABLE, SUCCESS).astype(np.int8)

        def score(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
            return np.where(cycle.nodes.label_is("power", "wind")[rows], 100, 0)

    base = profile("1.34")
    given = replace(base, filter=(*base.filter, "GreenPower"), score=(*base.score, ("GreenPower", 10)))
    core = core_of(node("a", power="coal"), node("b", power="gas"), node("c", power="wind"), given=given)
    spec = core.intern(pod())
    assert core.schedule(spec) == 2
    assert core.last.feasible == 2
    core.remove_node(1)
    core.remove_node(2)
    assert core.schedule(spec) == -1
    assert core.fit_error() == "0/1 nodes are available: 1 node(s) were rejected by GreenPower."
    assert core.rejecting_plugins() == {"GreenPower"}


def test_a_plugin_of_another_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point in the group kubedes.scheduler_plugins names it."""
    point = EntryPoint("NearTheSea", "tests.scheduler.own_plugin:NearTheSea", "kubedes.scheduler_plugins")
    monkeypatch.setattr("sim.base.plugin.entry_points", lambda group: [point] if group == point.group else [])
    catalog: Catalog[type[Plugin]] = Catalog("scheduler_plugins", "sim.scheduler.plugins")
    catalog._entries.update(PLUGINS._entries)
    monkeypatch.setattr("sim.scheduler.framework.PLUGINS", catalog)
    base = profile("1.34")
    core = core_of(node("a"), node("b", coast="yes"), given=replace(base, score=(*base.score, ("NearTheSea", 1))))
    assert core.schedule(core.intern(pod())) == 1


@pytest.mark.usefixtures("own_plugins")
def test_scores_out_of_range_are_refused() -> None:
    @PLUGINS.register("TooMuch")
    class TooMuch(Plugin):
        """Breaks the contract."""

        def score(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
            return np.full(len(rows), 150)

    given = replace(profile("1.34"), score=(("TooMuch", 1),))
    core = core_of(node("a"), node("b"), given=given)
    with pytest.raises(PluginError, match='plugin "TooMuch" returns an invalid score 150'):
        core.schedule(core.intern(pod()))


@pytest.mark.usefixtures("own_plugins")
def test_reserve_permit_and_bind() -> None:
    """A rejection after Reserve gives back what was reserved; a binder may leave the binding to the next."""
    steps: list[str] = []

    @PLUGINS.register("Ledger")
    class Ledger(Plugin):
        """Notes what it is asked."""

        def reserve(self, cycle: Cycle, row: int) -> Status | None:
            steps.append("reserve")
            return None

        def unreserve(self, cycle: Cycle, row: int) -> None:
            steps.append("unreserve")

        def permit(self, cycle: Cycle, row: int) -> Status | None:
            return Status(WAIT if row == 0 else UNSCHEDULABLE, "not now")

        def bind(self, cycle: Cycle, row: int) -> Status | None:
            return Status(SKIP)

    given = replace(profile("1.34"), reserve=("Ledger",), permit=("Ledger",), bind=("Ledger", "DefaultBinder"))
    core = core_of(node("a"), node("b"), given=given)
    cycle = core.cycle(core.intern(pod()))
    assert core.framework.run_reserve(cycle, 0) == Status(SUCCESS)
    assert core.framework.run_permit(cycle, 0) == Status(WAIT, "not now", "Ledger")
    assert core.framework.run_permit(cycle, 1) == Status(UNSCHEDULABLE, "not now", "Ledger")
    assert core.framework.run_bind(cycle, 0) == Status(SUCCESS, "", "DefaultBinder")
    assert steps == ["reserve", "unreserve"]


def test_scheduling_gates_keep_a_pod_out_of_the_queue() -> None:
    core = core_of(node("a"))
    gated = core.info(core.intern(pod(scheduling_gates=("quota", "image"))))
    status = core.framework.run_pre_enqueue(gated)
    assert status is not None
    assert (status.plugin, status.message) == ("SchedulingGates", "waiting for scheduling gates: [quota image]")
    assert core.framework.run_pre_enqueue(core.info(core.intern(pod()))) is None


# -- errors ----------------------------------------------------------------------------------------------------------


def test_errors_name_the_place_and_the_near_miss() -> None:
    with pytest.raises(InputError, match=r"scheduler_plugins: 'NodeResourceFit' is not known; did you mean"):
        Core(replace(profile("1.34"), filter=("NodeResourceFit",)), "lowest")
    with pytest.raises(InputError, match=r"profiles.1.34.weights.NodeAfinity: not a score plugin; did you mean"):
        profile("1.34").with_weights({"NodeAfinity": 1})
    with pytest.raises(InputError, match=r"scheduler.profile: '1.33' is not known; did you mean '1.34'"):
        profile("1.33")
    with pytest.raises(InputError, match="tie_break: 'first' must be one of"):
        Core(profile("1.34"), "first")
    with pytest.raises(InputError, match="percentage_of_nodes_to_score: 101 must be from 0 to 100"):
        Core(profile("1.34"), "lowest", 101)


def test_nothing_is_half_applied() -> None:
    """A duplicate node, a pod placed twice or an unknown row leave all columns as they were."""
    core = core_of(node("a"), node("b"))
    spec = core.intern(pod())
    core.assume(0, spec, 0)
    before = (core.nodes.amounts.copy(), core.nodes.count, core.placements.count, core.order.rows().tolist())
    for wrong in (
        lambda: core.add_node(node("a", cpu=1)),
        lambda: core.assume(0, spec, 1),
        lambda: core.assume(1, spec, 7),
        lambda: core.remove(5),
        lambda: core.remove_node(9),
        lambda: core.update_node(0, node("c")),
    ):
        with pytest.raises(InputError):
            wrong()
    assert np.array_equal(core.nodes.amounts, before[0])
    assert (core.nodes.count, core.placements.count, core.order.rows().tolist()) == before[1:]


# -- worked examples -------------------------------------------------------------------------------------------------


def test_least_allocated_and_balance_by_hand() -> None:
    """Node a: 4000m, 8 GiB, empty. Pod: 1000m, 1 GiB.

    LeastAllocated: CPU (4000-1000)*100/4000 = 75; memory (8-1)*100/8 = 87 (87.5 truncated); mean (75+87)/2 = 81.
    Balanced: fractions 0.25 and 0.125; std = |0.25-0.125|/2 = 0.0625; (1-0.0625)*100 = 93 (93.75 truncated).
    TaintToleration: no taints, 100 times weight 3. Total 81 + 93 + 300 = 474.
    Node b has 2000m: CPU 50, memory 87, mean 68; fractions 0.5 and 0.125, std 0.1875, 81; total 449.
    """
    core = core_of(node("a"), node("b", cpu=2000))
    assert core.schedule(core.intern(pod(1000, GIB))) == 0
    assert (core.last.top, core.last.ties, core.last.feasible) == (474, 1, 2)


def test_1_12_scores_are_out_of_ten() -> None:
    """LeastRequestedPriority: CPU (4000-1000)*10/4000 = 7, memory (8-1)*10/8 = 8, mean 7. BalancedResourceAllocation:
    (1-|0.25-0.125|)*10 = 8. SelectorSpread, TaintToleration: 10 each. NodePreferAvoidPods: 10 times weight 10,000.
    NodeAffinity, InterPodAffinity: 0. Total 7 + 8 + 10 + 10 + 100,000 = 100,035; node b, 2000m: 5 and 8, mean 6;
    (1-|0.5-0.125|)*10 = 6; 100,032."""
    core = core_of(node("a"), node("b", cpu=2000), given=profile("1.12"))
    spec = core.intern(pod(1000, GIB))
    composed = core.compose(spec)
    assert composed.total.tolist() == [100_035, 100_032]
    assert core.schedule(spec) == 0
    assert core.schedule(core.intern(pod(9000))) == -1
    assert core.fit_error() == "0/2 nodes are available: 2 Insufficient cpu."
    assert core.rejecting_plugins() == {"PodFitsResources"}


def test_fit_error_counts_reasons() -> None:
    """Each node is counted once, under its first rejecting plugin, all of that plugin's reasons."""
    core = core_of(
        node("a", cpu=50),
        node("b", cpu=50, memory=MIB),
        replace(node("c"), taints=(Taint("gpu", "yes"),)),
        replace(node("d"), unschedulable=True),
    )
    assert core.schedule(core.intern(pod())) == -1
    assert core.fit_error() == (
        "0/4 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint {gpu: yes}, "
        "1 node(s) were unschedulable, 2 Insufficient cpu."
    )
    assert core.rejecting_plugins() == {"NodeResourcesFit", "TaintToleration", "NodeUnschedulable"}


@pytest.mark.parametrize(
    ("nodes", "percentage", "wanted"),
    [(99, 10, 99), (100, 10, 100), (1000, 0, 420), (5000, 0, 500), (15_000, 0, 750), (100_000, 0, 5000), (1000, 30, 300)],
)
def test_nodes_to_find(nodes: int, percentage: int, wanted: int) -> None:
    """Under 100 nodes all; adaptive 50 - N/125 percent, at least 5; never fewer than 100."""
    assert nodes_to_find(nodes, percentage) == wanted


def test_first_pod_of_a_group_that_wants_its_own_kind() -> None:
    """Nobody matches yet and the pod matches itself: any node with the zone label. The second must join the first."""
    term = PodAffinityTerm("zone", LabelSelector(pairs({"app": "web"})))
    core = core_of(node("a"), node("b", zone="1"), node("c", zone="2"))
    spec = core.intern(pod(affinity=Affinity(pod_required=(term,))))
    first = core.schedule(spec)
    assert core.last.feasible == 2
    core.assume(0, spec, first)
    assert core.schedule(spec) == first
    assert core.last.feasible == 1


def test_pods_over_hosts_one_each() -> None:
    """Required anti-affinity by host: four nodes take four pods, the fifth finds none; a deletion frees one."""
    term = PodAffinityTerm("host", LabelSelector(pairs({"app": "web"})))
    core = core_of(*(node(name, host=name) for name in "abcd"))
    spec = core.intern(pod(affinity=Affinity(anti_required=(term,))))
    for number in range(4):
        core.assume(number, spec, core.schedule(spec))
    assert sorted(core.placements.node[:4].tolist()) == [0, 1, 2, 3]
    assert core.schedule(spec) == -1
    core.remove(2)
    assert core.schedule(spec) == 2


def test_hard_spreading_over_zones() -> None:
    """maxSkew 1 over three zones with one, one and two nodes: six pods end up two in every zone."""
    constraint = TopologySpreadConstraint(1, "zone", "DoNotSchedule", LabelSelector(pairs({"app": "web"})))
    core = core_of(node("a", zone="1"), node("b", zone="2"), node("c", zone="3"), node("d", zone="3"))
    spec = core.intern(pod(topology_spread_constraints=(constraint,)))
    zones = []
    for number in range(6):
        row = core.schedule(spec)
        core.assume(number, spec, row)
        zones.append(dict(core.nodes.specs[row].labels)["zone"])
    assert sorted(zones[:3]) == ["1", "2", "3"]
    assert sorted(zones) == ["1", "1", "2", "2", "3", "3"]


def test_node_that_leaves_and_returns_keeps_its_row() -> None:
    core = core_of(node("a"), node("b"))
    spec = core.intern(pod())
    core.assume(0, spec, 1)
    core.remove_node(1)
    assert core.schedule(spec) == 0
    assert core.last.evaluated == 1
    core.remove(0)
    assert core.add_node(node("b", cpu=16_000)) == 1
    assert core.schedule(spec) == 1


@pytest.mark.parametrize("path", ["composed", "full", "incremental"])
def test_no_nodes_at_all(path: str) -> None:
    """Before the first node registers, and after the last one left."""
    core = core_of()
    core.path = path
    spec = core.intern(pod())
    assert core.schedule(spec) == -1
    assert core.fit_error() == "no nodes available to schedule pods"
    row = core.add_node(node("a"))
    assert core.schedule(spec) == row
    core.remove_node(row)
    assert core.schedule(spec) == -1
    assert core.preempt(1, spec).outcome == "noCandidate"


def test_preemption_takes_the_least_important() -> None:
    """One node of 1000m holds 400m of priority 1, 300m of priority 2 and 300m of priority 3; a pod of priority 5 wants
    500m. All three are taken off; put back in the order 3, 2 (together 600m, 400m left, which is too little, so the
    pod of priority 2 stays off: 700m left), then 1 (400m: 300m left, too little). Victims: priorities 2 and 1."""
    core = core_of(node("a", cpu=1000))
    for number, (cpu, priority) in enumerate(((400, 1), (300, 2), (300, 3))):
        core.assume(number, core.intern(pod(cpu, priority=priority)), 0, start_s=float(number))
    wanted = core.intern(pod(500, priority=5))
    assert core.schedule(wanted) == -1
    result = core.preempt(10, wanted)
    assert (result.outcome, result.node, result.victims) == ("preempt", 0, (1, 0))
    for victim in result.victims:
        core.remove(victim)
    core.nominate(10, wanted, 0)
    # the nominated pod's room is not given to a pod of lower priority, but to itself and to more important ones
    assert core.schedule(core.intern(pod(500, priority=4)), 11) == -1
    assert core.schedule(wanted, 10) == 0
    assert core.schedule(core.intern(pod(500, priority=6)), 12) == 0


def test_profiles_of_all_versions_place_a_pod() -> None:
    for version in PROFILES:
        core = core_of(node("a"), node("b"), given=profile(version))
        assert core.schedule(core.intern(pod())) == 0


def test_kernels_are_warmed_once() -> None:
    """The first call compiles or loads what a run needs; after it a call costs milliseconds."""
    first = warm()
    again = warm()
    assert again.ready == first.ready >= 8
    assert again.compiled == 0
    assert decide_indexed.signatures
    assert decide_indexed_plain.signatures


@pytest.mark.parametrize("version", sorted(PROFILES))
def test_reasons_counted_at_once_are_those_of_each_node(version: str) -> None:
    """Nodes short of one thing, of several, of none, unschedulable or tainted, under every version's rules."""
    rng = np.random.default_rng(7)
    nodes = [
        replace(
            node(f"n{i}", cpu=int(rng.choice([50, 500])), memory=int(rng.choice([1, 8])) * GIB, pods=int(rng.choice([0, 5]))),
            unschedulable=bool(i % 7 == 0), taints=(Taint("dedicated", "x", "NoSchedule"),) if i % 5 == 0 else (),
        )
        for i in range(60)
    ]
    core = core_of(*nodes, given=profile(version))
    spec = core.intern(pod(cpu=1000, memory=4 * GIB))
    assert core.schedule(spec) < 0
    result = core._compose_again(spec, -1)
    one_by_one: dict[str, int] = {}
    for row in result.cycle.all_rows:
        for reason in core.reasons(result, int(row)):
            one_by_one[reason] = one_by_one.get(reason, 0) + 1
    assert core._count_reasons(result) == one_by_one
    assert "Insufficient cpu" in one_by_one
