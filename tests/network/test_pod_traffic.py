"""Traffic between the pods of a run: flows and calls on shared links, and why they fail."""

from __future__ import annotations

import numpy as np
import pytest

from sim.engine.clock import Clock
from sim.network.control_traffic import NODES, ControlTraffic, Way
from sim.network.fabric import build_fabric
from sim.network.pod_traffic import (
    DONE,
    NEVER_BEGAN,
    NO_ROUTE,
    NODE_DEAD,
    NODE_DIED,
    NOT_SPREAD,
    POD_ENDED,
    PodTraffic,
    Tally,
)
from sim.network.routes.spread import RouteSpread
from sim.network.spec import NetworkSpec
from sim.network.topology import UnderlaySpec, build_underlay
from sim.network.transport import slow_start_s
from sim.result.result import Result
from sim.scenario import Scenario
from sim.simulate import simulate
from sim.state.pods import Phase, PodTable

NIC = 1.25e8


class Bed:
    """Nodes with one running pod each, 1 Gbit/s interfaces, and named traffic; the control plane has one machine."""

    def __init__(self, nodes: int, traffic: dict[str, object], **network: object) -> None:
        self.clock = Clock()
        spec = NetworkSpec.model_validate({"cni": "kubenet", "nic_bytes_per_s": NIC, **network, "traffic": traffic})
        self.pods = PodTable()
        self.pods.add(*(np.zeros(nodes, int) for _ in range(3)), np.full(nodes, np.inf))
        for pod in range(nodes):
            self.pods.ids["node"][pod] = pod
            self.pods.ids["phase"][pod] = Phase.RUNNING
        fabric = build_fabric(self.clock, spec, ["a"] * nodes, NIC, cores=4)
        self.fabric = fabric
        self.control = ControlTraffic(self.clock, spec.control_traffic, fabric.underlay, nodes, {"api": nodes}, fabric)
        self.spread = RouteSpread(self.clock, spec.cni, spec.bgp, spec.felix, nodes, 0, self.pods)
        self.traffic = PodTraffic(
            self.clock,
            spec.traffic,
            fabric,
            self.control,
            self.pods,
            self.spread,
            nodes,
            lambda name: np.random.default_rng(1),
        )
        self.clock.start(self.control.run())

    def run(self, until_s: float) -> Tally:
        self.clock.run_until(until_s)
        return self.traffic.tallies[0]


def test_a_stream_takes_its_bytes_at_the_interface_s_rate():
    """1 GB with headers of 90 bytes to 1,448 (TCP, IP, framing) over 1 Gbit/s, and the rounds of slow start."""
    tally = Bed(2, {"one": {"type": "bulk", "streams": 1, "size_bytes": 1e9, "start_s": 3}}).run(60)
    assert tally.count == {DONE: 1}
    bed = Bed(2, {})
    round_trip_s = bed.traffic._ways.round_trip_s(0, 1)
    wire_s = 1e9 * (1 + 90 / 1448) / NIC
    expected = wire_s + slow_start_s(1e9, 1448, round_trip_s, 1e9 / wire_s)
    assert tally.durations_s() == pytest.approx([expected], rel=1e-6)
    assert (tally.bytes_moved, tally.wire_bytes) == pytest.approx((1e9, 1e9 * (1 + 90 / 1448)))


def test_small_messages_of_the_control_plane_take_from_a_stream():
    """Half of both nodes' interfaces is the API server's: the stream takes twice as long from then on."""
    traffic = {"one": {"type": "bulk", "streams": 1, "size_bytes": 1e9}}
    bed = Bed(2, traffic, control_traffic={"period_s": 1})
    bed.control.count(lambda: [(Way("api", NODES), NIC)])
    wire_s = 1e9 * (1 + 90 / 1448) / NIC
    assert bed.run(60).durations_s() == pytest.approx([1 + 2 * (wire_s - 1)], rel=1e-2)


def test_a_node_s_death_ends_flows_and_fails_new_ones_until_routes_are_gone():
    bed = Bed(2, {"every": {"type": "bulk", "streams": 1, "size_bytes": 1e9, "every_s": 20}}, cni="calico-bgp")
    bed.clock.run_until(5)
    bed.spread.node_died(1)
    bed.traffic.node_died(1)
    tally = bed.run(21)
    assert tally.count == {NODE_DIED: 1, NODE_DEAD: 1}
    assert tally.bytes_moved == pytest.approx(5 * NIC / (1 + 90 / 1448), rel=1e-2)
    gone_s = bed.spread.dropped_s[1]
    assert 180 < gone_s < 246
    tally = bed.run(20 * (gone_s // 20 + 1) + 1)
    assert tally.count[NO_ROUTE] == 1
    bed.traffic.node_back(1)
    bed.clock.run_until(bed.clock.now + 30)
    assert tally.count[DONE] == 1
    assert not bed.traffic._open or tally.open == 1


def test_a_pod_that_ends_takes_its_flows_with_it():
    bed = Bed(3, {"shuffle": {"type": "shuffle", "workers": 3, "part_bytes": 1e9}})
    bed.clock.run_until(2)
    bed.traffic.pod_detached(0)
    tally = bed.run(200)
    assert tally.count == {POD_ENDED: 4, DONE: 2}
    assert tally.open == 0
    assert np.allclose(bed.fabric.load, 0, atol=1e-3)


def test_a_route_that_is_on_its_way():
    """Nodes hear in order: the first half knows the pod at 10 s, all at 100 s."""
    bed = Bed(4, {"shuffle": {"type": "shuffle", "workers": 4, "part_bytes": 1e3, "start_s": 20}}, cni="calico-bgp")
    for name, at_s in (("reachable_50_s", 10.0), ("reachable_90_s", 80.0), ("reachable_all_s", 100.0)):
        for pod in range(4):
            bed.pods.times[name][pod] = at_s
    tally = bed.run(30)
    assert tally.count == {DONE: 6, NOT_SPREAD: 6}  # nodes 0 and 1 know the three others


def test_traffic_without_pods_says_so():
    bed = Bed(1, {"lonely": {"type": "bulk"}})
    tally = bed.run(60)
    bed.traffic.close()
    assert tally.count == {NEVER_BEGAN: 1}


def test_calls_are_counted_load_links_and_slow_flows():
    """10,000 calls a second of 5,000 bytes and headers among 4 pods; three of four leave their node."""
    spec = {"type": "calls", "rate_per_s": 10_000, "fan_out": 0, "depth": 0}
    bed = Bed(4, {"calls": spec}, control_traffic={"period_s": 1})
    before = bed.clock.events
    tally = bed.run(10.5)
    assert tally.count == {DONE: 100_000}
    assert bed.clock.events - before < 40
    wire = 5000 + 4 * 90  # two packets each way at most
    load = bed.control.link_load()[:8] * NIC
    assert load == pytest.approx(np.full(8, 10_000 * 0.25 * 0.75 * wire), rel=0.1)
    assert len(tally.durations_s()) == 2000
    assert np.median(tally.durations_s()) > bed.traffic._ways.round_trip_s(0, 1) / 2
    done: list[float] = []
    bed.fabric.transfer(0, 1, 1e8).callbacks.append(lambda _: done.append(bed.clock.now))
    bed.clock.run_until(20)
    assert done[0] - 10.5 == pytest.approx(1e8 / (NIC - load[0]), rel=0.02)
    cores = bed.fabric._table.capacity[bed.traffic._ways.cores_of(0)]
    assert 0.5 < cores < 0.999


def test_calls_beyond_what_the_interfaces_carry_fail():
    spec = {"type": "calls", "rate_per_s": 10_000, "response_bytes": 1e5, "fan_out": 0, "depth": 0}
    tally = Bed(2, {"calls": spec}, control_traffic={"period_s": 1}).run(10.5)
    assert sum(tally.count.values()) == pytest.approx(100_000, abs=10)
    assert tally.count[DONE] < 80_000


@pytest.mark.parametrize("topology", ["flat", "leaf-spine", "fat-tree"])
def test_shares_of_links_are_those_of_all_pairs(topology):
    """The closed form against every pair of hosts over every spine."""
    rng = np.random.default_rng(3)
    spec = UnderlaySpec(topology=topology, rack_nodes=3, spines=2, zones_bandwidth_bytes_per_s=1e9)
    underlay = build_underlay(spec, 10, 1e6, np.arange(10) // 6)
    weight = rng.random(10)
    weight /= weight.sum()
    counted = np.zeros(len(underlay.capacity))
    for a in range(10):
        for b in range(10):
            for spine in range(2):
                for link in underlay.links(a, b, spine):
                    counted[link] += weight[a] * weight[b] / 2
    assert underlay.uniform_shares(weight) == pytest.approx(counted)


TRAFFIC = {
    "mesh": {"type": "calls", "rate_per_s": 2000, "start_s": 10},
    "batch": {"type": "shuffle", "workers": 8, "part_bytes": 5e6, "start_s": 20, "every_s": 15},
    "down": {"type": "north-south", "start_s": 15, "rate_per_s": 20},
    "stream": {"type": "bulk", "start_s": 12, "size_bytes": 5e8},
}
SMALL = {"nodes.count": 20, "horizon_s": 48, "workload.rate_per_s": 5}


@pytest.mark.parametrize("cni", ["bridge", "flannel-udp", "calico-bgp", "docker-bridge"])
def test_a_run_with_traffic(cni, tmp_path):
    """Every transfer has an outcome; the rest of the run stays what it is; the table is kept with the result."""
    scenario = Scenario.load("quick", {**SMALL, "network.cni": cni, "network.traffic": TRAFFIC})
    result = simulate(scenario)
    table = result.traffic
    assert set(table.traffic) == set(TRAFFIC)
    batch = table[table.traffic == "batch"]
    assert batch["count"].sum() == 2 * 8 * 7
    done = table[table.outcome == DONE].set_index("traffic")
    if cni == "docker-bridge":
        assert table.outcome.str.contains("private range").any()
    else:
        assert done.loc["mesh", "count"] == 2000 * 7 * 35  # from the first whole period after two pods run
        assert (done.bytes > 0).all()
        assert (done.p99_s >= done.p50_s).all()
    again = Result.load(result.save(tmp_path / "run"))
    assert again.traffic.equals(table)


def test_a_run_without_traffic_has_an_empty_table():
    result = simulate(Scenario.load("quick", {**SMALL, "horizon_s": 6}))
    assert len(result.traffic) == 0
    assert "traffic" in set(result.schema.table)
