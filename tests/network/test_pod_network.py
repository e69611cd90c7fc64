"""Pods get addresses, queue on their node's lock, become reachable; what cannot be is refused with path and reason."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sim.apiserver.request import CREATE_POD
from sim.base.errors import InputError
from sim.base.rand import Streams
from sim.engine.clock import Clock
from sim.kubelet.node import Node
from sim.kubelet.spec import KubeletSpec
from sim.network import ipam_store
from sim.network.cni import CNI
from sim.network.pod_network import PodNetwork
from sim.network.routes.bgp import BgpSpec
from sim.network.spec import NetworkSpec
from sim.scenario import Scenario
from sim.simulate import Cluster, simulate
from sim.state.pods import PodTable

QUIET = {"setup_cpu_s": 0, "steps": {"noise": 1}}


class Bed:
    """Nodes without kubelets: pods are attached as fast as asked for."""

    def __init__(self, network: dict, nodes: int = 1, pods: int = 300, base_dir: str = ".") -> None:
        self.clock = Clock()
        self.pods = PodTable()
        zeros = np.zeros(pods, np.int64)
        self.pods.add(zeros, zeros, zeros, np.full(pods, np.inf))
        self.spec = NetworkSpec.model_validate(network)
        self.network = PodNetwork(self.clock, self.spec, nodes, self.pods, base_dir)
        self.nodes = [
            Node(self.clock, i, f"n{i}", 4, KubeletSpec(), Streams(1), {}, 0.0, 0.0) for i in range(min(nodes, 4))
        ]

    def attach(self, pod: int, node: int = 0) -> None:
        self.clock.start(self.network.attach(self.nodes[node], pod))

    def column(self, name: str) -> np.ndarray:
        return self.pods.columns()[name]


@pytest.mark.parametrize("name", list(CNI))
def test_every_plugin_attaches_and_detaches(name):
    bed = Bed({"cni": name}, nodes=3)
    for pod in range(12):
        bed.attach(pod, pod % 3)
    bed.clock.run_until(30)
    assert [node.ports for node in bed.nodes] == ([0, 0, 0] if name == "host" else [4, 4, 4])
    addresses = bed.column("address")[:12]
    if name == "host":
        assert set(addresses) == {-1}
    elif name != "docker-bridge":
        assert len(set(addresses)) == 12
    for pod in range(12):
        bed.clock.start(bed.network.detach(bed.nodes[pod % 3], pod))
    bed.clock.run_until(60)
    assert [node.ports for node in bed.nodes] == [0, 0, 0]
    assert set(bed.column("address")) == {-1}


def test_concurrent_pods_queue_on_the_lock():
    """Two together: the second waits for the first; with 100 pods there the bridge is slower by 100 ports."""
    bed = Bed({"cni": {"type": "bridge", **QUIET}})
    steps = bed.spec.cni.steps
    bed.attach(0), bed.attach(1)
    bed.clock.run_until(1)
    assert bed.column("reachable_all_s")[:2] == pytest.approx([steps.fixed_s, 2 * steps.fixed_s + steps.port_s])
    for pod in range(2, 101):
        bed.attach(pod)
    bed.clock.run_until(2)
    bed.attach(101)
    bed.clock.run_until(3)
    assert bed.column("reachable_all_s")[101] == pytest.approx(2 + steps.fixed_s + 101 * steps.port_s)


def test_a_routed_pod_does_not_pay_for_the_others():
    bed = Bed({"cni": {"type": "calico-bgp", **QUIET}})
    for pod in range(60):
        bed.attach(pod)
    bed.clock.run_until(2)
    assert bed.nodes[0].network_lock.meter.read()[0] == pytest.approx(60 * bed.spec.cni.steps.fixed_s)


def test_a_full_subnet_makes_pods_wait_until_an_address_is_free():
    bed = Bed({"cni": {"type": "bridge", **QUIET}, "node_prefix": 28, "retry_s": 5})
    for pod in range(14):
        bed.attach(pod)
    bed.clock.run_until(1)
    assert np.isfinite(bed.column("reachable_all_s")[:14]).sum() == 13
    assert bed.network.exhausted == 1
    bed.clock.start(bed.network.detach(bed.nodes[0], 3))
    bed.clock.run_until(6)
    assert bed.column("reachable_all_s")[13] == pytest.approx(5, abs=0.01)


def test_configuration_file_gives_the_range(tmp_path):
    (tmp_path / "net.conflist").write_text(
        json.dumps(
            {
                "cniVersion": "0.4.0",
                "name": "n",
                "plugins": [
                    {"type": "bridge", "ipam": {"type": "host-local", "subnet": "10.9.0.0/29"}},
                    {"type": "portmap"},
                ],
            }
        )
    )
    bed = Bed({"cni": {"type": "bridge", **QUIET}, "cni_conf": "net.conflist"}, base_dir=str(tmp_path))
    for pod in range(8):
        bed.attach(pod)
    bed.clock.run_until(1)
    assert sorted(bed.column("address")[:8]) == [-1, -1, -1, 2, 3, 4, 5, 6]


def test_a_block_is_announced_once_and_a_reflector_serves_peers_in_order():
    bgp = BgpSpec(topology="reflectors")
    bed = Bed({"cni": {"type": "calico-bgp", **QUIET}, "bgp": {"topology": "reflectors"}}, nodes=5000)
    bed.attach(0), bed.attach(1)
    bed.clock.run_until(5)
    assert bed.network.spread.announced == 1
    half, everybody = bed.column("reachable_50_s"), bed.column("reachable_all_s")
    sending = 4999 * bgp.send_cpu_s
    assert everybody[0] - half[0] == pytest.approx(
        sending / 2, rel=0.15
    )  # half of the time is hidden by Felix's own work
    assert everybody[0] >= sending
    assert everybody[1] < 0.1  # its block is known already: only its own node's chains


def test_what_waits_goes_in_one_batch():
    bed = Bed(
        {"cni": {"type": "calico-bgp", "aggregate_blocks": False, **QUIET}, "bgp": {"topology": "reflectors"}},
        nodes=5000,
    )
    for pod in range(200):
        bed.attach(pod, pod % 4)
    bed.clock.run_until(5)
    assert bed.network.spread.announced == 200
    assert bed.network.spread.batches <= 4
    assert np.isfinite(bed.column("reachable_all_s")[:200]).all()


def test_policies_wait_for_address_sets():
    quiet = Bed({"cni": {"type": "calico-vxlan", **QUIET}}, nodes=1000)
    strict = Bed({"cni": {"type": "calico-vxlan", **QUIET}, "policies": 10}, nodes=1000)
    for bed in (quiet, strict):
        bed.attach(0)
        bed.clock.run_until(5)
    assert (
        strict.column("reachable_50_s")[0]
        > quiet.column("reachable_50_s")[0] + 10 * strict.spec.felix.set_member_s * 0.5
    )


def test_hidden_pods_are_never_reachable():
    bed = Bed({"cni": "docker-bridge"}, nodes=2)
    bed.attach(0)
    bed.clock.run_until(5)
    assert np.isnan(bed.column("reachable_50_s")[0])


@pytest.mark.parametrize(
    ("sets", "path", "words"),
    [
        ({"network.pod_range": "172.16.0.0/12"}, "network.pod_range", "overlaps service_range"),
        ({"network.cni": {"type": "flannel-vxlan", "mtu_bytes": 1500}}, "network.cni.mtu_bytes", "at most 1450"),
        (
            {"network.pod_range": "10.244.0.0/16", "nodes.count": 300},
            "network.pod_range",
            "256 subnets of /24 for 300 nodes",
        ),
        ({"network.cni": "flanel-vxlan"}, "network.cni", "did you mean 'flannel-vxlan'"),
        ({"network.pod_range": "10.0.0.1/8"}, "network.pod_range", "without host bits"),
    ],
)
def test_refused(sets, path, words):
    with pytest.raises(InputError) as error:
        Scenario.load("quick", sets)
    assert path in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"mtu": 1501}, "net.conf: mtu", "at most 1500"),
        ({"ipam": {"type": "host-local", "subnet": "172.20.1.0/24"}}, "net.conf: ipam", "overlaps service_range"),
        ({"ipam": {"type": "host-local", "subnet": "100.64.0.0/16"}}, "net.conf: ipam", "overlaps host_range"),
        ({"ipam": None}, "ipam", "must be given"),
        ({"type": "briddge"}, "type", "did you mean 'bridge'"),
    ],
)
def test_a_configuration_that_does_not_fit_the_network_is_refused(change, path, words, tmp_path):
    good = {
        "cniVersion": "0.4.0",
        "name": "net",
        "type": "bridge",
        "ipam": {"type": "host-local", "subnet": "10.9.0.0/24"},
    }
    (tmp_path / "net.conf").write_text(json.dumps({**good, **change}))
    with pytest.raises(InputError) as error:
        Bed({"cni": "bridge", "cni_conf": "net.conf"}, base_dir=str(tmp_path))
    assert path in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize("name", ["calico-bgp", "flannel-vxlan", "calico-vxlan"])
def test_reachable_columns_of_a_run(name):
    pods = simulate(Scenario.load("quick", {"network.cni": name, "network.bgp.topology": "reflectors"})).pods
    done = pods[pods["network_ready_s"].notna()]
    assert len(done) > 50
    order = done[
        ["network_ready_s", "reachable_50_s", "reachable_90_s", "reachable_99_s", "reachable_all_s"]
    ].to_numpy()
    known = order[~np.isnan(order).any(axis=1)]
    assert len(known) > 50
    assert np.all(np.diff(known, axis=1) >= 0)


def test_a_pod_deleted_while_it_waits_for_an_address_stops_waiting():
    """One address a node: the second pod waits; deleted at 3 s, it is done at 3 s and leaves nothing behind."""
    bed = Bed({"cni": {"type": "bridge", **QUIET}, "pod_range": "10.0.0.0/24", "node_prefix": 30, "retry_s": 10})
    bed.attach(0)
    ended: list[float] = []

    def second():
        yield from bed.network.attach(bed.nodes[0], 1)
        ended.append(bed.clock.now)
        yield from bed.network.detach(bed.nodes[0], 1)

    bed.clock.start(second())
    bed.clock.at(3.0, lambda _: bed.network.give_up(1))
    bed.clock.run_until(30)
    assert ended == [3.0]
    assert bed.network.exhausted == 1
    assert bed.nodes[0].ports == 1
    assert np.isnan(bed.column("reachable_all_s")[1])


def test_calico_s_ipam_asks_the_api_for_each_address_and_each_block():
    """A claim is three writes, an address two, its return two, and two more when that empties the block."""
    asked: list[str] = []

    def send(operation):
        asked.append(f"{operation.verb} {operation.resource}")
        yield bed.clock.timeout(0.01)
        return 200

    bed = Bed({"cni": "calico-bgp"})
    bed.network = PodNetwork(bed.clock, bed.spec, 1, bed.pods, send=send)
    bed.attach(0)
    bed.clock.run_until(5)
    claim, address = (
        ["POST blockaffinities", "POST ipamblocks", "PUT blockaffinities"],
        ["POST ipamhandles", "PUT ipamblocks"],
    )
    assert asked == [*claim, *address]
    assert bed.column("reachable_all_s")[0] > 0.05
    bed.attach(1)
    bed.clock.run_until(10)
    assert asked[5:] == address
    asked.clear()
    for pod in (0, 1):
        bed.clock.start(bed.network.detach(bed.nodes[0], pod))
        bed.clock.run_until(20 + pod * 10)
    back = ["PUT ipamblocks", "DELETE ipamhandles"]
    assert asked == [*back, *back, "DELETE ipamblocks", "DELETE blockaffinities"]


def test_ipam_writes_again_after_a_conflict_and_the_plug_in_fails_after_an_error():
    """The block's update meets 409 twice; then the API server answers 500 for 15 s: the plug-in is run again after 10 and 20 s."""
    codes: list[int] = []
    down_until_s = 0.0

    def send(operation):
        yield bed.clock.timeout(0.001)
        if bed.clock.now < down_until_s:
            codes.append(500)
        elif operation.resource == "ipamblocks" and operation.verb == "PUT" and codes.count(409) < 2:
            codes.append(409)
        else:
            codes.append(200)
        return codes[-1]

    bed = Bed({"cni": {"type": "calico-bgp", **QUIET}})
    bed.network = PodNetwork(bed.clock, bed.spec, 1, bed.pods, send=send)
    bed.attach(0)
    bed.clock.run_until(5)
    assert bed.network.store is not None
    assert (codes.count(409), bed.network.store.conflicts, bed.network.store.failures) == (2, 2, 0)
    assert bed.column("address")[0] >= 0
    down_until_s = 20.0
    bed.attach(1)
    bed.clock.run_until(14)
    assert bed.column("address")[1] == -1
    assert bed.network.store.failures == 1
    bed.clock.run_until(40)
    assert bed.column("address")[1] == 1
    assert bed.network.store.failures == 2
    assert bed.column("reachable_all_s")[1] == pytest.approx(25, abs=0.1)


def test_ipam_has_its_own_account_and_role():
    """It may write its own objects and nothing else; without the add-on's role it is refused."""
    small = {"nodes.count": 5, "horizon_s": 20, "network.cni": "calico-bgp"}
    scenario = Scenario.load("quick", small)
    cluster = Cluster(scenario, scenario.checked_workload().build(scenario.setting(), Streams(1)), Streams(1))
    decisions = cluster.api.authorization.decisions
    assert not decisions[ipam_store.ACCOUNT, ipam_store.UPDATE_BLOCK, ""].code
    assert decisions[ipam_store.ACCOUNT, CREATE_POD, "default"].code == 403
    plain = scenario.replace({"network.cni": "kubenet"})
    cluster = Cluster(plain, plain.checked_workload().build(plain.setting(), Streams(1)), Streams(1))
    assert cluster.api.authorization.decisions[ipam_store.ACCOUNT, ipam_store.UPDATE_BLOCK, ""].code == 403


def test_ipam_s_requests_and_routes_are_counted_in_a_result():
    small = {"nodes.count": 20, "horizon_s": 20, "network.cni": "calico-bgp"}
    with_store = simulate(Scenario.load("quick", small)).record
    kinds = {kind.resource for kind in with_store.request_kinds}
    assert {"ipamhandles", "ipamblocks", "blockaffinities"} <= kinds
    assert {kind.code for kind in with_store.request_kinds if kind.resource == "ipamhandles"} <= {200, 201}
    assert with_store.counters["routes_announced"] > 0
    assert with_store.counters["route_batches"] == 0  # a full mesh: every node tells all others itself
    without = simulate(
        Scenario.load("quick", {**small, "network.cni": {"type": "calico-bgp", "datastore_requests": False}})
    ).record
    assert "ipamhandles" not in {kind.resource for kind in without.request_kinds}


def test_a_dead_node_s_routes_stay_until_timers_end():
    """Hold timer 30 s: peers drop the routes after U(0.75, 1) x 30 s less the age of the last keepalive; a cloud's never."""
    bed = Bed({"cni": "calico-bgp", "bgp": {"hold_s": 30}}, nodes=50)
    bed.clock.at(5.0, lambda _: bed.network.spread.node_died(3))
    bed.clock.run_until(60)
    died_s, half_s, all_s = bed.network.spread.deaths[0]
    assert died_s == 5.0
    assert 5 + 0.75 * 30 - 10 < half_s < all_s < 5 + 30
    cloud = Bed({"cni": "kubenet"}, nodes=50)
    cloud.network.spread.node_died(3)
    assert cloud.network.spread.deaths == [(0.0, np.inf, np.inf)]
    leased = Bed({"cni": "flannel-vxlan", "lease": {"store": "etcd", "lease_s": 100}}, nodes=50)
    leased.network.spread.node_died(3)
    assert leased.network.spread.deaths == [(0.0, 100.0, 100.0)]
