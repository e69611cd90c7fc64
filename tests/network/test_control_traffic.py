"""The control plane's traffic and everybody else's share the links of a run."""

from __future__ import annotations

import numpy as np
import pytest

from sim.apiserver.identity import MASTERS, identity
from sim.apiserver.request import list_operation
from sim.base.rand import Streams
from sim.engine.clock import Clock, when
from sim.network.control_traffic import NODES, ControlTraffic, Way
from sim.network.control_traffic_spec import ControlTrafficSpec
from sim.network.fabric import Fabric, ServerLink
from sim.network.topology import UnderlaySpec, build_underlay
from sim.scenario import Scenario
from sim.simulate import Cluster, simulate


def bed(rate_bytes_per_s: float, topology: str = "leaf-spine") -> tuple[Clock, Fabric, ControlTraffic]:
    """Four nodes in two racks and one machine in a third, 1 MB/s each; the machine sends to all nodes at a rate."""
    clock = Clock()
    underlay = build_underlay(UnderlaySpec(topology=topology, rack_nodes=2, spines=1, oversubscription=1), 5, 1e6)
    fabric = Fabric(clock, underlay)
    traffic = ControlTraffic(
        clock, ControlTrafficSpec(period_s=1.0, packet_bytes=1000, flow_bytes=1), underlay, 4, {"api": 4}, fabric
    )
    traffic.count(lambda: [(Way("api", NODES), rate_bytes_per_s)])
    clock.start(traffic.run())
    return clock, fabric, traffic


def test_flows_get_what_small_messages_leave():
    """400 kB/s to four nodes leave 600 kB/s of the machine's interface, and 900 kB/s of each node's."""
    clock, fabric, traffic = bed(4e5)
    clock.run_until(1.5)
    done: list[float] = []
    traffic.transfer("api", 0, 6e5).callbacks.append(lambda _: done.append(clock.now))
    fabric.transfer(1, 2, 9e5).callbacks.append(lambda _: done.append(clock.now))
    clock.run_until(10)
    assert done == pytest.approx([2.5, 2.5])


def test_a_flow_under_way_slows_down_when_the_load_rises():
    """Begun alone at 1 MB/s; from the first count on 600 kB/s are left: 1 + (1.6 - 1) / 0.6 s."""
    clock, _, traffic = bed(4e5)
    done: list[float] = []
    traffic.transfer("api", 0, 1.6e6).callbacks.append(lambda _: done.append(clock.now))
    clock.run_until(10)
    assert done == pytest.approx([2.0])


def test_latency_is_that_of_ports_at_their_load():
    """M/G/1 with exponential service: a port at load r adds r / (1 - r) packet times. Half of the nodes are in either rack."""
    clock, _, traffic = bed(4e5)
    idle_s = traffic.one_way_s(Way("api", NODES))
    clock.run_until(1.5)
    own, up, down, node = 0.4 / 0.6 * 1e-3, 0.2 / 0.8 * 0.5e-3, 0.1 / 0.9 * 0.5e-3, 0.1 / 0.9 * 1e-3
    assert up > down
    rack_up, rack_down = 0.4e6 / 2e6, 0.2e6 / 2e6  # a rack's uplink of two interfaces' width
    waits = own + rack_up / (1 - rack_up) * 0.5e-3 + rack_down / (1 - rack_down) * 0.5e-3 + node
    assert traffic.one_way_s(Way("api", NODES)) - idle_s == pytest.approx(waits)


def test_listeners_hear_when_it_changes():
    clock, _, traffic = bed(4e5)
    heard: list[float] = []
    traffic.listen(Way("api", NODES), heard.append)
    clock.run_until(5)
    assert len(heard) == 2  # now, and when the load came; it does not change after
    assert heard[1] > heard[0]


SMALL = {"nodes.count": 60, "horizon_s": 30, "workload.rate_per_s": 10}


def test_a_run_loads_the_interface_of_its_control_plane():
    """Bytes leave the API server for kubelets and are accounted to its interface; no event a message."""
    cluster_scenario = Scenario.load("quick", SMALL)
    result = simulate(cluster_scenario)
    stats = {stat.name: stat for stat in result.record.resources}
    assert 0 < stats["control-plane interface"].utilisation < 0.01
    finer = simulate(cluster_scenario.replace({"network.control_traffic.period_s": 1.0}))
    assert finer.record.counters["events"] - result.record.counters["events"] == 24


def test_a_narrow_interface_delays_watches_and_requests():
    """The same load on 1 MB/s: requests wait for the network, pods start later."""
    wide, narrow = (
        simulate(
            Scenario.load(
                "quick",
                {**SMALL, "network.control_traffic.period_s": 1, "machines.control-plane.nic_bytes_per_s": rate},
            )
        )
        for rate in (1.25e9, 1.2e6)
    )
    took = [np.nanmedian(run.record.pods["watched_s"] - run.record.pods["created_s"]) for run in (wide, narrow)]
    assert took[1] > took[0] + 1e-3


def test_members_of_etcd_wait_for_a_loaded_interface():
    scenario = Scenario.load(
        "quick",
        {
            **SMALL,
            "machines": {name: {"nic_bytes_per_s": 1e6} for name in ("control-plane", "a", "b", "c")},
            "etcd.machines": ["a", "b", "c"],
        },
    )
    load = scenario.checked_workload().build(scenario.setting(), Streams(1))
    cluster = Cluster(scenario, load, Streams(1))
    cluster.clock.run_until(20.0)
    assert cluster.etcd.links.waiting_s > 0
    assert cluster.etcd.links.delay_s(0, 1) > scenario.etcd.member_rtt_s / 2


def sent_by_a_server(shared: bool) -> list[float]:
    """When three transfers of a server of 1 MB/s to nodes of 400 kB/s end; shared: over a fabric."""
    clock, ended = Clock(), []
    underlay = build_underlay(UnderlaySpec(), 4, np.array([4e5, 4e5, 4e5, 1e6]))
    link = ServerLink(clock, "registry", 1e6, 4e5, Fabric(clock, underlay) if shared else None, 3)

    def send(node: int, size_bytes: float) -> None:
        when(link.transfer(size_bytes, node), lambda _: ended.append(clock.now))

    for node, size_bytes in enumerate((3e5, 9e5, 2e5)):
        clock.at(0.3 * node, lambda _, node=node, size_bytes=size_bytes: send(node, size_bytes))
    clock.run_until(20)
    return ended


def test_a_server_alone_needs_no_table_of_flows():
    """Processor sharing on its interface gives the fabric's times."""
    assert len(sent_by_a_server(False)) == 3
    assert sent_by_a_server(False) == pytest.approx(sent_by_a_server(True))


def listed(rate_bytes_per_s: float, **more: object) -> tuple[float, float, ControlTraffic]:
    """Seconds that a LIST of all pods takes when about 200 are there, bytes/s that small messages leave of the interface."""
    scenario = Scenario.load(
        "quick",
        {**SMALL, "machines.control-plane.nic_bytes_per_s": rate_bytes_per_s, **more},
    )
    load = scenario.checked_workload().build(scenario.setting(), Streams(1))
    cluster = Cluster(scenario, load, Streams(1))
    cluster.clock.run_until(20)
    traffic = cluster.control_network.traffic
    left_bytes_per_s = cluster.fabric.link_loads()[0][2 * traffic._places["control-plane"]]
    client, begun_s = cluster._client(identity("kubernetes-admin", (MASTERS,))), cluster.clock.now
    ended: list[float] = []
    task = cluster.clock.start(client.send(list_operation("pods", version="any"), ""))
    when(task, lambda _: ended.append(cluster.clock.now))
    cluster.clock.run_until(cluster.clock.now + 9)
    return ended[0] - begun_s, left_bytes_per_s, traffic


def test_a_large_list_is_a_flow():
    """It takes its bytes over the API server's interface longer than the same LIST that is none."""
    flow = {"network.control_traffic.flow_bytes": 1e4}
    took_s, left_bytes_per_s, traffic = listed(2e6, **flow)
    small_s, _, other = listed(2e6)
    assert traffic.flow_bytes > 1e5
    assert other.flow_bytes == 0
    assert left_bytes_per_s < 2e6
    assert took_s - small_s == pytest.approx(traffic.flow_bytes / left_bytes_per_s, rel=0.03)


def test_an_image_slows_down_beside_a_large_answer():
    """On a flat network too: both come to one node, each gets half of its interface."""
    scenario = Scenario.load("quick", {**SMALL, "network.nic_bytes_per_s": 1e6})
    load = scenario.checked_workload().build(scenario.setting(), Streams(1))
    cluster = Cluster(scenario, load, Streams(1))
    done: list[float] = []
    when(cluster.control_network.traffic.transfer("control-plane", 5, 2e6), lambda _: done.append(cluster.clock.now))
    when(cluster.fabric.transfer(60, 5, 1e6), lambda _: done.append(cluster.clock.now))
    cluster.clock.run_until(4)
    assert done == pytest.approx([2, 3], rel=0.02)


def test_images_and_the_api_share_racks():
    """With racks, machines of the control plane have a place behind the registry's servers."""
    scenario = Scenario.load(
        "quick", {**SMALL, "network.underlay.topology": "leaf-spine", "network.underlay.rack_nodes": 20}
    )
    result = simulate(scenario)
    assert result.record.counters["image_bytes"] > 0
    stats = {stat.name: stat for stat in result.record.resources}
    assert stats["control-plane interface"].utilisation > 0
