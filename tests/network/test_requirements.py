"""The three requirements, layer-2 needs, traffic over every data path, and the two commands."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.cli_network import app
from sim.network.cni import CNI
from sim.network.cni.catalog import Shape
from sim.network.costs import PathCosts
from sim.network.data_path import Offload, Protocol
from sim.network.requirements import check_requirements, lacking
from sim.network.routes.convergence import convergence
from sim.network.spec import NetworkSpec
from sim.network.traffic import TRAFFIC
from sim.network.traffic_run import TrafficBed


def network(**values: object) -> NetworkSpec:
    return NetworkSpec.model_validate(values)


def holds(spec: NetworkSpec, nodes: int = 10, segments: int = 1) -> list[bool]:
    return [finding.holds for finding in check_requirements(spec, nodes, segments)]


@pytest.mark.parametrize("name", list(CNI))
def test_requirements(name):
    assert holds(network(cni=name)) == [name != "docker-bridge"] * 3
    assert holds(network(cni=name), nodes=1) == [True] * 3


def test_docker_across_hosts_fails_with_the_reason():
    reasons = [finding.reason for finding in check_requirements(network(cni="docker-bridge"), 2)]
    assert "same private range" in reasons[0] or "private range" in reasons[0]
    assert "MASQUERADE" in reasons[2]


def test_unencapsulated_paths_need_one_segment():
    assert holds(network(cni="flannel-host-gw"), segments=3) == [False, False, True]
    assert holds(network(cni="calico-bgp"), segments=3) == [False, False, True]
    assert holds(network(cni="calico-bgp", underlay={"routes_pods": True}), segments=3) == [True] * 3
    assert holds(network(cni="flannel-host-gw", underlay={"routes_pods": True}), segments=3) == [False, False, True]
    assert holds(network(cni="calico-ipip"), segments=3) == [True] * 3


def test_layer_2_needs():
    assert "multicast" in lacking(network(cni="calico-bgp"), ("vrrp",), 3)[0]
    assert lacking(network(cni="flannel-vxlan"), ("vrrp",), 3)
    assert not lacking(network(cni="flannel-vxlan"), ("vrrp",), 1)
    assert not lacking(network(cni="ovs-vxlan"), ("vrrp", "broadcast"), 3)


def bed(**values: object) -> TrafficBed:
    return TrafficBed(network(**values), 8, np.arange(64) % 8)


@pytest.mark.parametrize("cni", list(CNI))
@pytest.mark.parametrize("kind", list(TRAFFIC))
def test_bytes_and_failures_are_accounted_for(cni, kind):
    """Conformance of every data path and every kind of traffic: each transfer finishes or fails with its reason."""
    spec = TRAFFIC[kind]()
    result = bed(cni=cni).run(spec, kind, np.arange(64), np.random.default_rng(1))
    assert result.finished + (sum(result.failed.values()) if result.transfers else 0) == result.transfers
    if cni != "docker-bridge":
        assert not result.failed
        assert result.bytes_moved > 0
        assert result.wire_bytes >= 0
    elif kind in ("shuffle", "bulk"):
        assert any("private range" in why for why in result.failed)
    assert 0 <= result.busiest_core <= 1 + 1e-9
    if kind == "calls":
        assert len(result.latency_s) > 0
        assert np.all(result.latency_s > 0)


def test_traffic_that_needs_layer_2_is_reported():
    result = bed(cni="calico-bgp").run(TRAFFIC["bulk"](needs=("vrrp",)), "ha", np.arange(64), np.random.default_rng(1))
    assert result.finished == 0
    assert "VRRP" in next(iter(result.failed))


def test_flannel_udp_is_bound_by_its_one_thread():
    costs = PathCosts()
    udp = CNI["flannel-udp"]().path(costs, 1500)
    vxlan = CNI["flannel-vxlan"]().path(costs, 1500)
    assert udp.stream_bytes_per_s(Protocol.TCP, Offload.PODS, cores=8) == pytest.approx(
        1420 / costs.tun.rx_packet_s, rel=0.01
    )
    assert vxlan.stream_bytes_per_s(Protocol.TCP, Offload.PODS, cores=8) > 10 * udp.stream_bytes_per_s(
        Protocol.TCP, Offload.PODS, cores=8
    )
    # Two streams share the thread; two VXLAN streams have a core each.
    two = bed(cni="flannel-udp")
    assert two.ways.capacity[two.ways.cores_of(0) + two.ways.cores] == 1.0


def test_headers_and_segments():
    costs = PathCosts()
    path = CNI["flannel-vxlan"]().path(costs, 1500)
    assert (path.mtu_bytes, path.payload_bytes(Protocol.TCP), path.payload_bytes(Protocol.UDP)) == (1450, 1398, 1422)
    assert path.wire_bytes(1398, Protocol.TCP) == 1398 + 20 + 32 + 50 + 38
    direct = CNI["flannel-vxlan"](direct_routing=True)
    assert direct.path(costs, 1500).header_bytes == 0
    assert direct.path(costs, 1500, same_segment=False).header_bytes == 50
    cross = CNI["calico-ipip"](mode="cross-subnet")
    assert [cross.path(costs, 1500, same_segment=same).header_bytes for same in (True, False)] == [0, 20]


@pytest.mark.parametrize("name", list(CNI))
def test_tables_grow_with_the_cluster(name):
    small, large = (CNI[name]().tables(Shape(nodes, 30 * nodes, 100)) for nodes in (10, 1000))
    for field in ("routes", "neighbours", "forwarding", "rules"):
        assert getattr(large, field) >= getattr(small, field) >= 0
    if name == "calico-bgp":
        assert large.routes == pytest.approx(1 + 999 + 30)
        assert CNI[name](aggregate_blocks=False).tables(Shape(1000, 30_000, 100)).routes == pytest.approx(1 + 30_000)


def test_check_command(tmp_path):
    run = CliRunner()
    good = run.invoke(app, ["check", "quick"])
    assert good.exit_code == 0, good.output
    assert good.output.count("holds") == 3
    docker = run.invoke(app, ["check", "quick", "--set", "network.cni=docker-bridge"])
    assert docker.exit_code == 1
    assert docker.output.count("FAILS") == 3
    routed = ["check", "quick", "--set", "network.cni=calico-bgp"]
    assert run.invoke(app, routed).exit_code == 0  # two zones of one flat network
    apart = run.invoke(app, [*routed, "--set", "network.underlay.zone_segments=true"])
    assert apart.output.count("FAILS") == 2
    assert "in 2 segments" in apart.output
    racks = run.invoke(
        app, [*routed, "--set", "network.underlay.topology=leaf-spine", "--set", "network.underlay.rack_nodes=5"]
    )
    assert racks.output.count("FAILS") == 2
    conf = tmp_path / "10.conf"
    conf.write_text(
        json.dumps(
            {
                "cniVersion": "0.4.0",
                "name": "x",
                "type": "bridge",
                "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"},
            }
        )
    )
    assert "same range 10.1.0.0/24" in run.invoke(app, ["check", "quick", "--conf", str(conf)]).output


def test_compare_command(tmp_path):
    result = CliRunner().invoke(
        app,
        [
            "compare",
            "quick",
            "--cni",
            "flannel-vxlan",
            "--cni",
            "docker-bridge",
            "--cni",
            "calico-ipip",
            "--out",
            str(tmp_path),
        ],
    )
    assert result.exit_code == 0, result.output
    for text in (
        "stream_gbit_per_s",
        "calls_p99_us",
        "cpu_s_per_GB",
        "reachable_p99_ms",
        "routes",
        "docker-bridge: stream:",
    ):
        assert text in result.output
    assert (tmp_path / "network-compare.svg").stat().st_size > 1000


def test_udp_beyond_a_daemon_s_rate_is_lost():
    """flannel UDP: the sender emits more than one thread copies; what is beyond that is dropped."""
    spec = TRAFFIC["bulk"](streams=1, protocol="udp", size_bytes=1e8)
    daemon = bed(cni="flannel-udp").run(spec, "flood", np.arange(64), np.random.default_rng(1))
    kernel = bed(cni="kubenet").run(spec, "flood", np.arange(64), np.random.default_rng(1))
    assert daemon.lost_bytes > 0.5 * daemon.bytes_moved
    assert kernel.lost_bytes < 0.1 * kernel.bytes_moved


def test_joins_and_deaths():
    rng = np.random.default_rng(1)
    shape = Shape(1000, 30_000, 100)
    found = {name: convergence(network(cni=name), shape, rng) for name in CNI}
    assert np.isnan(found["host"].join_s)
    assert found["calico-bgp"].silent_death_s == pytest.approx(235, rel=0.05)  # the last of 999 hold timers of 240 s
    assert found["flannel-vxlan"].silent_death_s == np.inf  # the node's annotation stays until the node is deleted
    assert convergence(network(cni="flannel-vxlan", lease={"store": "etcd"}), shape, rng).silent_death_s == 86400
    assert found["flannel-vxlan"].join_s > found["flannel-udp"].join_s
    assert 0 < found["calico-bgp"].upkeep_cores < 0.05
