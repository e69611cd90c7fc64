"""The underlay as a graph of links: hosts, racks, spines, zones; which links a transfer uses, and how far it travels.

Pure. A link is an index into a table of capacities; the flows share them (`sim/network/flows.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sim.base.spec import Spec, param


class UnderlaySpec(Spec):
    """What connects the nodes."""

    topology: Literal["flat", "leaf-spine", "fat-tree"] = param(
        "flat",
        "flat: only hosts' interfaces limit. leaf-spine: racks with uplinks. fat-tree: the same with as much capacity up as down",
    )
    rack_nodes: int = param(40, "nodes a rack", ge=1, le=4096)
    spines: int = param(4, "spine switches; a flow is hashed to one", ge=1, le=1024)
    oversubscription: float = param(
        3.0, "capacity of a rack's nodes over that of its uplinks; a fat-tree has 1", ge=1, le=1000
    )
    zones_bandwidth_bytes_per_s: float = param(
        0.0, "capacity between two zones, each way; 0: not limited", ge=0, le=1e15
    )
    zone_segments: bool = param(
        False, "each zone is a layer-2 segment of its own, with routers between; in a flat topology. Racks always are"
    )
    routes_pods: bool = param(
        False,
        "routers between segments know pods' addresses, because nodes speak BGP with them; only BGP plug-ins can use it",
    )
    mtu_bytes: int = param(1500, "largest packet of the underlay", ge=576, le=65535)
    node_latency_s: float = param(1.0e-6, "interface and cable, each end", unverified=True, ge=0, le=1)
    switch_latency_s: float = param(
        0.7e-6, "one switch, store and forward of a small packet included", unverified=True, ge=0, le=1
    )
    zone_latency_s: float = param(300e-6, "one way between zones of a region", unverified=True, ge=0, le=10)
    buffer_bytes: int = param(1_000_000, "queue of a switch port before it drops", unverified=True, ge=1500, le=2**32)


@dataclass(frozen=True)
class Underlay:
    """Links of one cluster.

    capacity: bytes/s a link, float64. Hosts' links come first: 2 * host is what it sends on, 2 * host + 1 what it receives on.
    """

    spec: UnderlaySpec
    hosts: int
    zone: np.ndarray
    """int64 a host."""
    capacity: np.ndarray
    racks: int

    def links(self, source: int, destination: int, flow: int = 0) -> list[int]:
        """Links that a flow uses, in order; `flow` chooses among equal ways. Nothing between pods of one host."""
        if source == destination:
            return []
        out = [2 * source]
        spec = self.spec
        here, there = source // spec.rack_nodes, destination // spec.rack_nodes
        if spec.topology != "flat" and here != there:
            spine = (source * 7919 + destination * 104729 + flow * 31) % spec.spines
            base = 2 * self.hosts
            out += [base + 2 * (here * spec.spines + spine), base + 2 * (there * spec.spines + spine) + 1]
        a, b = int(self.zone[source]), int(self.zone[destination])
        if a != b and spec.zones_bandwidth_bytes_per_s:
            zones = int(self.zone.max()) + 1
            first = 2 * self.hosts + (0 if spec.topology == "flat" else 2 * self.racks * spec.spines)
            out.append(first + a * zones + b)
        out.append(2 * destination + 1)
        return out

    def uniform_shares(self, weight: np.ndarray) -> np.ndarray:
        """Share of messages that pass each link when both ends are drawn by `weight` (float64 a host); float64 a link."""
        spec, hosts = self.spec, self.hosts
        weight = weight / weight.sum()
        rack = np.zeros(hosts, np.int64) if spec.topology == "flat" else np.arange(hosts) // spec.rack_nodes
        of_rack = np.bincount(rack, weight, self.racks)
        of_zone = np.bincount(self.zone, weight, int(self.zone.max()) + 1)
        shares = [np.repeat(weight * (1 - weight), 2)]
        if spec.topology != "flat":  # a rack's uplinks up, then down, one of each a spine, in turn
            shares.append(np.repeat(of_rack * (1 - of_rack) / spec.spines, 2 * spec.spines))
        if spec.zones_bandwidth_bytes_per_s:
            between = np.outer(of_zone, of_zone)
            np.fill_diagonal(between, 0.0)
            shares.append(between.ravel())
        return np.concatenate(shares)

    def latency_s(self, source: int, destination: int) -> float:
        """Propagation and switching one way."""
        if source == destination:
            return 0.0
        spec = self.spec
        switches = 1 if spec.topology == "flat" or source // spec.rack_nodes == destination // spec.rack_nodes else 3
        far = self.zone[source] != self.zone[destination]
        return 2 * spec.node_latency_s + switches * spec.switch_latency_s + (spec.zone_latency_s if far else 0.0)

    def same_segment(self, source: int, destination: int) -> bool:
        """One layer-2 segment: the same rack where there are racks, else the same zone if zones are segments, else all."""
        if self.spec.topology == "flat":
            return not self.spec.zone_segments or bool(self.zone[source] == self.zone[destination])
        return source // self.spec.rack_nodes == destination // self.spec.rack_nodes

    def link_name(self, link: int) -> str:
        """For people: `node 3 out`, `rack 0 up 2`, `zone 0 to 1`."""
        if link < 2 * self.hosts:
            return f"node {link // 2} {'in' if link % 2 else 'out'}"
        rest = link - 2 * self.hosts
        trunks = 0 if self.spec.topology == "flat" else 2 * self.racks * self.spec.spines
        if rest < trunks:
            return f"rack {rest // 2 // self.spec.spines} {'down' if rest % 2 else 'up'} {rest // 2 % self.spec.spines}"
        zones = int(self.zone.max()) + 1
        return f"zone {(rest - trunks) // zones} to {(rest - trunks) % zones}"


def build_underlay(
    spec: UnderlaySpec, hosts: int, nic_bytes_per_s: float | np.ndarray, zone: np.ndarray | None = None
) -> Underlay:
    """Links for `hosts` hosts. nic_bytes_per_s: of each host, one number or one a host."""
    nic = np.broadcast_to(np.asarray(nic_bytes_per_s, float), (hosts,))
    zones = np.zeros(hosts, np.int64) if zone is None else np.asarray(zone, np.int64)
    capacity = [np.repeat(nic, 2)]
    racks = -(-hosts // spec.rack_nodes)
    if spec.topology != "flat":
        ratio = spec.oversubscription if spec.topology == "leaf-spine" else 1.0
        uplink = float(np.median(nic)) * spec.rack_nodes / ratio / spec.spines
        capacity.append(np.full(2 * racks * spec.spines, uplink))
    if spec.zones_bandwidth_bytes_per_s:
        capacity.append(np.full((int(zones.max(initial=0)) + 1) ** 2, spec.zones_bandwidth_bytes_per_s))
    return Underlay(spec, hosts, zones, np.concatenate(capacity), racks)
