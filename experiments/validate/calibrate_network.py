"""The network's unit costs from the measured rows that may be looked at: single streams, one worker, the smallest clusters.

    python -m experiments.validate.calibrate_network [DIR]

prints each parameter, the value that follows from its rows, and the default. One rule for each kind of row: of data paths one TCP
stream without offloads and the lone one-byte request/response; of set-up one worker; of tables a line through the smallest and the
largest row of the same kind, medians of the rounds; of BGP clusters of 5 nodes. All other rows are predictions; a prediction
that misses changes nothing here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import log, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from experiments.validate.network import BATCH_S, measurements
from experiments.validate.truth import Truth
from sim.network.cni import CNI
from sim.network.costs import PathCosts
from sim.network.routes.bgp import BgpSpec
from sim.network.routes.bgp_twin import BgpTwin
from sim.network.routes.kube_proxy import KubeProxySpec
from sim.network.routes.leases import LeaseSpec
from sim.network.setup import BridgeSteps, RoutedSteps, RuleSteps

HOPS = {
    "veth_route": ("routed", "host"),
    "conntrack": ("routed_ct", "routed"),
    "bridge": ("kubenet", "routed"),
    "nat": ("nat", "kubenet"),
    "ipip": ("ipip_bpf", "routed"),
    "vxlan": ("vxlan", "kubenet"),
    "tun": ("udp", "kubenet"),
}
"""Hop -> the measured path with it, and the one without."""
SEGMENT_BYTES = {"vxlan": 1398, "udp": 1420, "ipip_bpf": 1428}
"""Largest TCP segment where it is not 1,448."""


@dataclass(frozen=True, slots=True)
class Derived:
    """One parameter: what its rows say, and what the specification's default is."""

    name: str
    value: float
    default: float
    rows: str


def derive(folder: Path | None = None) -> list[Derived]:
    """All of them. folder: of the measurements, in place of the shared one."""
    truth = measurements(folder)
    return [*_hops(truth), *_rules(truth), *_programs(truth), *_set_up(truth), *_iptables(truth), *_bgp(truth)]


def _hops(truth: Truth) -> Iterator[Derived]:
    """Differences between paths: processor time a packet of one stream, latency of a lone packet."""
    costs = PathCosts()
    rows = truth.rows("datapath.json")
    bulk = {row["mode"]: row for row in rows if (row["profile"], row["test"]) == ("off", "tcp1")}
    lone = {row["mode"]: row for row in rows if (row["profile"], row["test"]) == ("on", "rr1")}

    def packet_s(mode: str, side: str, copy_s: float) -> float:
        per_byte_s = bulk[mode][f"cpu_s_per_GB_{side}"]["p20"] * 1e-9 - copy_s
        return float(per_byte_s * SEGMENT_BYTES.get(mode, 1448))

    def one_way_s(mode: str) -> float:
        return float(lone[mode]["p50_us"]["min"]) / 2 * 1e-6

    sides = (("tx", "A", costs.copy_tx_byte_s), ("rx", "B", costs.copy_rx_byte_s))
    for name, (mode, below) in HOPS.items():
        hop = costs.one(name)
        for side, measured, copy_s in sides:
            value = packet_s(mode, measured, copy_s) - packet_s(below, measured, copy_s)
            default = getattr(hop, f"{side}_packet_s")
            yield Derived(f"costs.{name}.{side}_packet_s", value, default, f"tcp1 off, {mode} less {below}")
        value = one_way_s(mode) - one_way_s(below)
        yield Derived(f"costs.{name}.lone_packet_s", value, hop.lone_packet_s, f"rr1 p50, {mode} less {below}")
    for side, measured, copy_s in sides:
        yield Derived(
            f"costs.stack.{side}_packet_s",
            packet_s("host", measured, copy_s),
            getattr(costs.stack, f"{side}_packet_s"),
            "tcp1 off, host",
        )
    yield Derived("costs.stack.lone_packet_s", one_way_s("host"), costs.stack.lone_packet_s, "rr1 p50, host")
    host = lone["host"]
    middle, p90, p99 = (host[key]["median"] * 1e-6 for key in ("p50_us", "p90_us", "p99_us"))
    values = costs.jitter_s.values  # type: ignore[union-attr]
    yield Derived("costs.jitter_s at 0.9", p90 - middle, values[9], "rr1 p90 less p50, host")
    # The tenths are joined by lines: the last one passes through p99 at nine tenths of its way.
    yield Derived("costs.jitter_s at 1", p90 - middle + (p99 - p90) / 0.9, values[10], "rr1 p99 and p90 less p50, host")


def _rules(truth: Truth) -> Iterator[Derived]:
    """What 20,000 rules add to a lone request/response over the empty chain of the same kind."""
    costs = PathCosts()
    rows = truth.rows("rules_path.json")
    took_us = {(row["kind"], row["n"]): row["p50_us"]["median"] for row in rows if row["test"] == "rr1"}
    for kind, name in (("iptables_linear", "rule_s"), ("nft_linear", "nft_rule_s")):
        value = (took_us[kind, 20_000] - took_us[kind, 0]) / 40_000 * 1e-6
        yield Derived(f"costs.{name}", value, getattr(costs, name), f"rr1 with 20,000 {kind} rules less 0")
    connects = {row["n"]: row["connect_p50_us"]["median"] for row in rows if row["test"] == "kubeproxy_crr"}
    value = (connects[20_000] - connects[1]) / 20_000 * 1e-6
    yield Derived("costs.service_rule_s", value, costs.service_rule_s, "connect through 20,000 services less 1")


def _programs(truth: Truth) -> Iterator[Derived]:
    """A line through the smallest and the largest table; the program that reads a batch starts in the median of the smallest rows."""
    proxy, lease = KubeProxySpec(), LeaseSpec()
    took = {
        (row["op"], row["n"]): row["wall_s"]["median"]
        for row in truth.rows("rules_program.json")
        if row["kind"] == "iptables-legacy"
    }
    one, many = took["restore_noflush1", 100], took["restore_noflush1", 20_000]
    table_s = (many - one) / 19_900
    program_s = one - 100 * table_s
    yield Derived("kube_proxy.table_rule_s", table_s, proxy.table_rule_s, "one rule into 20,000 and into 100")
    yield Derived("kube_proxy.program_s", program_s, proxy.program_s, "one rule into 100")
    written_s = (took["kubeproxy_resync", 20_000] - program_s) / 20_000 - table_s
    yield Derived("kube_proxy.restore_rule_s", written_s, proxy.restore_rule_s, "resync of 20,000 rules")
    batch = {(row["test"], row["n"]): row["wall_s"]["median"] for row in truth.rows("fib.json")}
    start_s = float(np.median([batch[test, 1] for test in ("route26", "route32", "fdb", "neigh", "vxlan_route")]))
    yield Derived("start of a batch program", start_s, BATCH_S, "batches of one entry")
    route_s = (batch["route26", 50_000] - start_s) / 50_000
    yield Derived("lease.route_s", route_s, lease.route_s, "50,000 routes")
    yield Derived("lease.neighbour_s", (batch["neigh", 1000] - start_s) / 1000, lease.neighbour_s, "1,000 ARP entries")
    yield Derived("lease.forwarding_s", (batch["fdb", 1000] - start_s) / 1000, lease.forwarding_s, "1,000 FDB entries")
    growing_s = (batch["vxlan_route", 1000] - start_s - 1000 * route_s) / 500
    yield Derived("lease.vxlan_route_s", growing_s, lease.vxlan_route_s, "1,000 routes over a VXLAN device")


STEPS = {
    "namespace_s": "netns",
    "veth_s": "veth",
    "ipam_s": "ipam",
    "sysctls_s": "sysctls",
    "links_up_s": "links_up",
    "address_s": "addr",
    "routes_s": "pod_routes",
    "host_route_s": "host_route",
}
"""Parameter of a plug-in's steps -> the measured step."""


def _set_up(truth: Truth) -> Iterator[Derived]:
    """One worker in the quiet turn; the spread that makes its mean out of its median steps."""
    for steps, mode in ((RoutedSteps(), "calico"), (BridgeSteps(), "bridge")):
        quiet = _last(truth.rows("cni.json"), mode=mode, iptables="none", conc=1)
        rows, kind = f"{mode}, one worker, no iptables", type(steps).__name__
        for name, step in STEPS.items():
            if hasattr(steps, name):
                value = quiet["steps"][step]["p50"] * 1e-6
                yield Derived(f"{kind}.{name}", value, getattr(steps, name), rows)
        mean_s, ports_s = 1 / quiet["pods_per_s"], 0.0
        if isinstance(steps, BridgeSteps):
            by_ports = {int(ports): took["total"] * 1e-6 for ports, took in quiet["p50_by_pods_present"].items()}
            attach_s = quiet["p50_by_pods_present"]["0"]["bridge_attach"] * 1e-6
            yield Derived(f"{kind}.attach_s", attach_s, steps.attach_s, rows + ", empty bridge")
            port_s = _slope(by_ports)
            yield Derived(f"{kind}.port_s", port_s, steps.port_s, rows + ": median slope over the pods present")
            ports_s = port_s * (quiet["pods"] - 1) / 2
        spread = sqrt(2 * log(mean_s / (steps.fixed_s + ports_s)))
        sigma = steps.noise.sigma  # type: ignore[union-attr]
        yield Derived(f"{kind}.noise.sigma", spread, sigma, "the same: mean over the steps' medians")


def _iptables(truth: Truth) -> Iterator[Derived]:
    """Programs that Calico's set-up runs, one worker: the step with next to no pods, and how it grows with them."""
    rules, plugin = RuleSteps(), CNI["calico-bgp"]
    for backend, prefix in (("legacy", ""), ("nft", "nft_")):
        quiet = _last(truth.rows("cni.json"), mode="calico", iptables=backend, conc=1)
        by_pods = {int(pods): took["iptables"] * 1e-6 for pods, took in quiet["p50_by_pods_present"].items()}
        rows = f"calico, one worker, iptables {backend}"
        for name, value in (
            ("program_s", by_pods[0] / plugin.programs),
            ("rule_s", _slope(by_pods) / plugin.programs / plugin.rules_per_pod),
        ):
            yield Derived(f"RuleSteps.{prefix}{name}", value, getattr(rules, prefix + name), rows)


def _slope(by_count: dict[int, float]) -> float:
    """Median slope over all pairs of points."""
    pairs = [(here, there) for here in by_count for there in by_count if here < there]
    return float(np.median([(by_count[there] - by_count[here]) / (there - here) for here, there in pairs]))


def _last(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    """The later row of a case that was taken twice: the quiet turn."""
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())][-1]


def _bgp(truth: Truth) -> Iterator[Derived]:
    """Processor time in clusters of 5 nodes; it is linear in each cost, so the twin's own work gives the coefficients."""
    default = BgpSpec()
    cpu = {
        (row["test"], row["topo"]): (row.get("cpu_s") or row.get("cpu_ms") or {"median": 0.0})["median"]
        * (1e-3 if "cpu_ms" in row else 1.0)
        for row in truth.rows("bgp.json")
        if row["N"] == 5
    }
    nodes = 5

    def twin(topology: str, **costs: float) -> BgpTwin:
        none = {
            "daemon_cpu_s": 0.0,
            "session_cpu_s": 0.0,
            "send_cpu_s": 0.0,
            "receive_cpu_s": 0.0,
            "route_cpu_s": 0.0,
            "duplicate_share": 0.0,
            "duplicate_route_share": 0.0,
        }
        bed = {} if topology == "mesh" else {"topology": "reflectors", "reflectors": int(topology[2:])}
        return BgpTwin(
            BgpSpec.model_validate({**none, **bed, **costs}), nodes, np.random.default_rng(0), shared_cores=2
        )

    mesh = cpu["announce32", "mesh"]
    sends = twin("mesh", send_cpu_s=1.0).announce(nodes - 1).cpu_s
    reads = twin("mesh", receive_cpu_s=1.0).announce(nodes - 1).cpu_s
    receive_s = (mesh - sends * default.send_cpu_s) / reads
    yield Derived(
        "bgp.receive_cpu_s", receive_s, default.receive_cpu_s, "one route, mesh of 5, less the sender's share"
    )
    both = {"send_cpu_s": default.send_cpu_s, "receive_cpu_s": receive_s}
    once = twin("rr2", **both).announce(nodes - 1).cpu_s
    twice = twin("rr2", **both, duplicate_share=1.0).announce(nodes - 1).cpu_s
    share = (cpu["announce32", "rr2"] - once) / (twice - once)
    yield Derived("bgp.duplicate_share", share, default.duplicate_share, "one route, two reflectors, 5 nodes")
    first = twin("mesh", **both).announce(nodes - 1, 1000).cpu_s
    further = twin("mesh", route_cpu_s=1.0).announce(nodes - 1, 1000).cpu_s
    route_s = (cpu["bulk", "mesh"] - first) / further
    yield Derived("bgp.route_cpu_s", route_s, default.route_cpu_s, "1,000 routes, mesh of 5")
    of_first = {**both, "duplicate_share": share}
    new = twin("rr2", **of_first, route_cpu_s=route_s).announce(nodes - 1, 1000).cpu_s
    again = twin("rr2", **of_first, route_cpu_s=route_s, duplicate_route_share=1.0).announce(nodes - 1, 1000).cpu_s
    yield Derived(
        "bgp.duplicate_route_share",
        (cpu["bulk", "rr2"] - new) / (again - new),
        default.duplicate_route_share,
        "1,000 routes, two reflectors, 5 nodes",
    )
    # Two unknowns, three cold starts: least squares.
    ends = {"mesh": 20, "rr1": 8, "rr2": 14}
    left, right = (
        np.array([[nodes, count] for count in ends.values()], float),
        np.array([cpu["cold_start", bed] for bed in ends]),
    )
    daemon_s, session_s = np.linalg.lstsq(left, right, rcond=None)[0]
    yield Derived("bgp.daemon_cpu_s", float(daemon_s), default.daemon_cpu_s, "cold starts of 5 nodes, least squares")
    yield Derived("bgp.session_cpu_s", float(session_s), default.session_cpu_s, "the same")


def main() -> None:
    """Print what follows from the rows beside the defaults."""
    for one in derive(Path(sys.argv[1]) if len(sys.argv) > 1 else None):
        print(f"{one.name:34s} {one.value:12.4g} {one.default:12.4g}   {one.rows}")


if __name__ == "__main__":
    main()
