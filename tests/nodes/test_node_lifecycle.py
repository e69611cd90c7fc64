"""Nodes that join, are drained, crash and come back: derived times, and no pod lost."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.base.rand import Streams
from sim.invariants import check_invariants
from sim.node_lifecycle.park import NodeState
from sim.scenario import Scenario
from sim.simulate import Cluster, simulate
from sim.state.pods import Phase
from sim.workload import AppKind, Load
from tests.worked.scenarios import MS, exact, load_of

POOL = {"allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"}}


def play(scenario: Scenario, load: Load, until_s: float | None = None) -> Cluster:
    cluster = Cluster(scenario, load, Streams(1))
    cluster.clock.run_until(scenario.horizon_s if until_s is None else until_s)
    cluster.network.spread.close()
    cluster.sampler.sample()
    check_invariants(cluster)
    return cluster


def phases(cluster: Cluster) -> dict[str, int]:
    counts = np.bincount(cluster.pods.columns()["phase"], minlength=len(Phase))
    return {phase.name: int(counts[phase]) for phase in Phase if counts[phase]}


def requests(cluster: Cluster, verb: str, resource: str) -> int:
    columns, kinds = cluster.requests.columns(), cluster.requests.kinds()
    wanted = [
        row for row, kind in enumerate(kinds) if (kind[0].verb, kind[0].resource) == (verb, resource) and kind[2] < 300
    ]
    return int(columns["count"][np.isin(columns["kind"], wanted)].sum())


def joining(**join: object) -> Scenario:
    """One node from the beginning, three that are ordered at 10 s."""
    late = {**POOL, "count": 3, "join_at_s": 10, "boot_s": 30}
    sets = {"sign_s": 0.2, "network_s": 5, "status_s": 1e-6, **join}
    return exact(nodes__pools={"general": {**POOL, "count": 1}, "late": late}, nodes__join=sets, horizon_s=120)


def test_a_node_joins_step_by_step() -> None:
    """Order at 10 s, boot 30 s, certificate 0.2 s, network 5 s: ready at 45.2 s and the time of its requests, which is short."""
    cluster = play(joining(watches=0), load_of((1.0, AppKind.POD, 1)))
    ready_s = cluster.park.ready_s[1:]
    assert (ready_s > 45.2).all()
    assert (ready_s < 45.2 + 0.6).all()
    for verb, resource in (
        ("POST", "certificatesigningrequests"),
        ("PUT", "certificatesigningrequests/approval"),
        ("PUT", "certificatesigningrequests/status"),
        ("POST", "nodes"),
        ("POST", "leases"),
        ("PATCH", "nodes"),
        ("PATCH", "nodes/status"),
    ):
        assert requests(cluster, verb, resource) == 3, (verb, resource)
    plain = play(joining(watches=0, certificate=False), load_of((1.0, AppKind.POD, 1)))
    assert plain.park.ready_s[1] < ready_s[0]
    assert requests(plain, "POST", "certificatesigningrequests") == 0


def test_each_node_that_joins_lists_and_watches() -> None:
    cluster = play(joining(), load_of((1.0, AppKind.POD, 1)))
    columns, kinds = cluster.requests.columns(), cluster.requests.kinds()
    asks = ("system:node", "system:kube-proxy")
    for verb in ("LIST", "WATCH"):
        rows = [row for row, kind in enumerate(kinds) if kind[0].verb == verb and str(kind[1]) in asks]
        late = np.isin(columns["kind"], rows) & (columns["time_s"] > 10)
        assert columns["count"][late].sum() == 3 * 18


def test_address_ranges_come_one_after_the_other() -> None:
    """The controller's client gives one range a second after its burst of one: the k-th node waits k seconds."""
    cluster = play(joining(cidr_qps=1, cidr_burst=1, watches=0), load_of((1.0, AppKind.POD, 1)))
    assert np.diff(np.sort(cluster.park.ready_s[1:])) == pytest.approx([1.0, 1.0], abs=0.05)


def test_pods_that_fit_nowhere_go_to_the_node_that_joins() -> None:
    """Two pods of 6 CPUs on nodes of 8: the second waits for a node, and is bound when the scheduler hears of one."""
    cluster = play(joining(), load_of((1.0, AppKind.POD, 2), cpu_millicores=6000))
    assert phases(cluster) == {"RUNNING": 2}
    bound_s = sorted(cluster.pods.times["bound_s"])
    assert bound_s[0] < 2
    assert np.nanmin(cluster.park.ready_s[1:]) < bound_s[1] < np.nanmin(cluster.park.ready_s[1:]) + 1
    assert cluster.park.heard == 4


def test_the_result_says_which_nodes_came() -> None:
    result = simulate(joining(), load_of((1.0, AppKind.POD, 2), cpu_millicores=6000), seed=1)
    assert result.nodes["state"].tolist() == ["ready"] * 4
    assert (result.nodes["ready_s"][1:] > 45).all()
    assert result.record.counters["nodes_joined"] == 3
    assert result.series["nodes_ready"].iloc[[0, -1]].tolist() == [1, 4]


def growing(**autoscaler: object) -> Scenario:
    pool = {**POOL, "count": 1, "minimum": 1, "maximum": 10, "boot_s": 30}
    sets = {"scan_cpu_s": 0, "shut_down_s": 5, **autoscaler}
    join = {"network_s": 5, "status_s": 1e-6, "sign_s": 0, "watches": 0}
    return exact(nodes__pools={"general": pool}, nodes__join=join, autoscaler=sets, horizon_s=100)


def test_the_autoscaler_orders_as_many_nodes_as_the_pods_need() -> None:
    """Seven pods of 3 CPUs: two on each node of 8, so three nodes more. It looks at 10 s; the nodes are ready at about 45 s. While they
    are on their way it orders no more."""
    cluster = play(growing(), load_of((1.0, AppKind.POD, 7), cpu_millicores=3000))
    assert cluster.autoscaler.ordered == 3
    assert phases(cluster) == {"RUNNING": 7}
    assert np.sort(cluster.park.ready_s)[1:4] == pytest.approx([45.2] * 3, abs=0.5)


def test_the_autoscaler_stops_at_the_maximum_and_at_what_can_never_fit() -> None:
    cluster = play(growing(max_nodes=2), load_of((1.0, AppKind.POD, 7), cpu_millicores=3000))
    assert cluster.autoscaler.ordered == 1
    assert phases(cluster) == {"PENDING": 3, "RUNNING": 4}
    cluster = play(growing(), load_of((1.0, AppKind.POD, 2), cpu_millicores=9000))
    assert cluster.autoscaler.ordered == 0


@pytest.mark.parametrize(("expander", "grown"), [("least-waste", "small"), ("most-pods", "large")])
def test_expanders(expander: str, grown: str) -> None:
    """Four pods of 3 CPUs want nodes. A node of 12 takes all four without waste, if the pool may have one; three of 3.1 take three."""
    pools = {
        "full": {"count": 1, "allocatable": {"cpu": "1"}},
        "small": {"count": 0, "maximum": 3, "allocatable": {"cpu": "3100m", "memory": "1Gi"}, "boot_s": 30},
        "large": {"count": 0, "maximum": 3, "allocatable": {"cpu": "64", "memory": "1Ti"}, "boot_s": 30},
    }
    scenario = exact(nodes__pools=pools, autoscaler={"expander": expander}, horizon_s=30)
    cluster = play(scenario, load_of((1.0, AppKind.POD, 4), cpu_millicores=3000))
    rows = cluster.park.with_state(NodeState.JOINING).tolist()
    assert {cluster.nodes[row].pool for row in rows if row} >= {grown}
    assert cluster.nodes[rows[0]].pool == grown


def test_idle_nodes_are_taken_away_down_to_the_minimum() -> None:
    """Five nodes, one small pod: after 60 s idle all that are empty go, at once; the pod's node is one of two that stay at least."""
    pool = {**POOL, "count": 5, "minimum": 2, "maximum": 5}
    sets = {"unneeded_s": 60, "after_add_s": 0, "scan_cpu_s": 0, "shut_down_s": 5}
    scenario = exact(nodes__pools={"general": pool}, autoscaler=sets, horizon_s=200)
    cluster = play(scenario, load_of((1.0, AppKind.POD, 1)))
    assert cluster.autoscaler.taken_away == 3
    assert cluster.park.heard == 2
    assert requests(cluster, "DELETE", "nodes") == 3
    assert np.nanmax(cluster.park.removed_s) == pytest.approx(10 + 60 + 5, abs=1.5)
    assert phases(cluster) == {"RUNNING": 1}


def test_a_node_half_empty_is_drained_before_it_goes() -> None:
    """Two nodes with one small pod each, one may go: its pod is evicted, and its ReplicaSet has another elsewhere."""
    pool = {**POOL, "count": 2, "minimum": 1, "maximum": 2}
    sets = {"unneeded_s": 30, "after_add_s": 0, "shut_down_s": 5}
    scenario = exact(nodes__pools={"general": pool}, autoscaler=sets, horizon_s=200)
    cluster = play(scenario, load_of((1.0, AppKind.SERVICE, 2), cpu_millicores=1000))
    assert cluster.autoscaler.taken_away == 1
    assert cluster.park.heard == 1
    assert phases(cluster) == {"RUNNING": 2, "DELETED": 1}


def failing(fault: str, **sets: object) -> Scenario:
    what = {"type": fault, "at_s": [30], "nodes": ["general-0"], **sets}
    return exact(nodes__pools__general__count=2, faults=[what], horizon_s=300)


def test_no_pod_is_lost_over_a_crash_and_return() -> None:
    """Twelve pods on two nodes; one is down from 30 s to 60 s. Its pods are started again there, none is created anew."""
    cluster = play(failing("node-crash", down_s=30), load_of((1.0, AppKind.SERVICE, 12), cpu_millicores=1000))
    assert phases(cluster) == {"RUNNING": 12}
    restarts = np.array(cluster.pods.ids["restarts"])
    on_it = np.array(cluster.pods.ids["node"]) == 0
    assert restarts[on_it].tolist() == [1] * int(on_it.sum())
    assert restarts[~on_it].sum() == 0
    assert on_it.sum() == 6


def test_peers_of_a_node_that_crashes_have_their_pieces_from_others() -> None:
    """Three nodes download from each other; one crashes in the middle, and has its image after its return."""
    pods = load_of((1.0, AppKind.POD, 3), cpu_millicores=8000)
    peers = {
        "type": "kraken",
        "ingress_bytes_per_s": 2e6,
        "egress_bytes_per_s": 2e6,
        "piece_bytes": 2**20,
        "burst_s": 0,
    }
    fault = {"type": "node-crash", "at_s": [10], "nodes": ["general-0"], "down_s": 30}
    scenario = exact(nodes__pools__general__count=3, registry=peers, faults=[fault], horizon_s=300)
    cluster = play(scenario, pods)
    assert phases(cluster) == {"RUNNING": 3}
    ready = dict(zip(cluster.pods.ids["node"], cluster.pods.times["pull_ready_s"], strict=True))
    assert max(ready[1], ready[2]) < 40 < ready[0]


def test_a_run_that_a_crash_broke_off_begins_anew() -> None:
    """Jobs of 100 s that began at about 3 s: on the node that was down from 30 s to 60 s they end 100 s after their second start."""
    cluster = play(
        failing("node-crash", down_s=30), load_of((1.0, AppKind.JOB, 4), cpu_millicores=1000, duration_s=100.0)
    )
    assert phases(cluster) == {"SUCCEEDED": 4}
    finished = np.array(cluster.pods.times["finished_s"])
    crashed = np.array(cluster.pods.ids["restarts"]) == 1
    assert (finished[~crashed] < 110).all()
    assert (finished[crashed] > 160).all()
    assert crashed.any()


def test_pods_run_on_while_their_node_is_cut_off_and_it_catches_up() -> None:
    """Bare pods of 50 s: those on the node that is cut off from 30 s to 130 s end in time, and it is heard of after 130 s. What is
    deleted meanwhile goes when the node is back."""
    lost = failing("node-network-loss", for_s=100)
    cluster = play(lost, load_of((1.0, AppKind.POD, 4), cpu_millicores=1000, duration_s=50.0))
    assert phases(cluster) == {"SUCCEEDED": 4}
    there = np.array(cluster.pods.ids["node"]) == 0
    finished, gone = (np.array(cluster.pods.times[name]) for name in ("finished_s", "gone_s"))
    assert (finished < 60).all()
    assert (gone[there] > 130).all()
    assert (gone[~there] < 70).all()
    deleted = play(lost, load_of((1.0, AppKind.POD, 4), cpu_millicores=1000, end_s=60.0))
    assert phases(deleted) == {"DELETED": 4}
    gone = np.array(deleted.pods.times["gone_s"])
    assert (gone[np.array(deleted.pods.ids["node"]) == 0] > 130).all()


def test_the_api_server_hears_nothing_of_a_node_that_is_away() -> None:
    cluster = play(failing("node-crash", down_s=100), load_of((1.0, AppKind.POD, 1)), until_s=50)
    assert cluster.park.heard == 1
    assert cluster.park.silent_since_s.tolist() == [30.0, inf]
    assert cluster.park.with_state(NodeState.DOWN).tolist() == [0]


def test_a_drain_respects_the_applications_budget() -> None:
    """Four replicas, two a node; one at most may be away. The second eviction is refused until the first pod's successor runs."""
    sets = {"nodes.drain.max_unavailable_share": 0.25}
    scenario = failing("node-drain", service_s=30).replace(sets)
    cluster = play(scenario, load_of((1.0, AppKind.SERVICE, 4), cpu_millicores=1000))
    assert cluster.drains.evicted == 2
    assert cluster.drains.refused >= 1
    assert phases(cluster) == {"RUNNING": 4, "DELETED": 2}
    asked = np.sort([each for each in cluster.pods.times["delete_requested_s"] if each == each])
    assert asked[1] - asked[0] == pytest.approx(cluster.drains.refused * 5.0, abs=0.5)
    assert not cluster.park.cordoned.any()
    nodes = np.array(cluster.pods.ids["node"])[np.array(cluster.pods.ids["phase"]) == Phase.RUNNING]
    assert (nodes == 1).all()


def test_faults_of_nodes_that_do_not_exist_are_found() -> None:
    with pytest.raises(InputError) as caught:
        failing("node-crash", nodes=["general-7"], zone="zone-9")
    told = str(caught.value)
    assert "faults[0].nodes[0]: 'general-7' is no node" in told
    assert "faults[0].zone: 'zone-9' is no zone of a node" in told


def test_pools_and_autoscaler_must_go_together() -> None:
    with pytest.raises(InputError) as caught:
        exact(autoscaler={})
    assert "autoscaler: 'given' has no pool to grow or shrink" in str(caught.value)
    with pytest.raises(InputError) as caught:
        exact(nodes__pools__general__maximum=5)
    assert "nodes.pools.general.maximum: 5 needs an autoscaler" in str(caught.value)


def test_a_cluster_whose_nodes_stay_has_nothing_of_all_this() -> None:
    cluster = Cluster(exact(), load_of((1.0, AppKind.POD, 1)), Streams(1))
    assert cluster.park is None
    assert MS


def test_what_was_under_way_when_a_machine_stops_begins_anew() -> None:
    """A pull of 100 MB at 1 MB/s is cut at 30 s: the pod runs only after a whole pull that begins when the node is back at 60 s;
    what had come is sent, and no layer is kept of it."""
    scenario = exact(
        nodes__pools__general__count=1,
        images={"big": {"size_bytes": 100_000_000}},
        registry={"type": "single", "bandwidth_bytes_per_s": 1_000_000},
        faults=[{"type": "node-crash", "at_s": [30], "nodes": ["general-0"], "down_s": 30}],
        horizon_s=400,
    )
    cluster = play(scenario, load_of((1.0, AppKind.POD, 1), images=("big",)))
    assert phases(cluster) == {"RUNNING": 1}
    assert cluster.pods.times["pull_started_s"][0] > 60
    assert cluster.pods.times["pull_ready_s"][0] > 160
    assert cluster.images.received_bytes == cluster.images.source.sent_bytes == 200_000_000
    assert cluster.images.stored_bytes == 100_000_000
    node = cluster.kubelets.nodes[0]
    assert (node.sandboxes, node.containers, node.admitted_pods) == (1, 1, 1)


@pytest.mark.parametrize("at_s", [round(1.0 + 0.15 * step, 2) for step in range(16)])
@pytest.mark.parametrize("duration_s", [inf, 20.0])
def test_whenever_a_machine_stops_no_pod_is_lost(at_s: float, duration_s: float) -> None:
    """Through all stages of a start: every pod runs or has ended in the end, and the node counts what is there."""
    fault = {"type": "node-crash", "at_s": [at_s], "nodes": ["general-0"], "down_s": 10}
    scenario = exact(nodes__pools__general__count=1, faults=[fault], horizon_s=120)
    cluster = play(scenario, load_of((1.0, AppKind.POD, 3), (1.2, AppKind.SERVICE, 2), duration_s=duration_s))
    counts = phases(cluster)
    assert sum(counts.values()) >= 5
    assert not {"PENDING", "SCHEDULED", "WAITING"} & set(counts)
    node = cluster.kubelets.nodes[0]
    running = counts.get("RUNNING", 0)
    assert (node.sandboxes, node.admitted_pods, node.ports) == (running, running, running)
    assert node.containers <= running
    if duration_s == inf:
        assert node.containers == running == 5
