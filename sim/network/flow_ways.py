"""What a flow between two nodes uses: links, a core on each host, a daemon's thread, worker threads; and what calls cost.

Every flow uses the sender's and the receiver's interface, the links between, one core on each host (packets of one flow stay on one
core), the single thread of a user-space daemon where the path has one, and worker threads for encryption.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sim.network.data_path import DataPath, Offload, Protocol
from sim.network.latency import Station, request_response_s
from sim.network.requirements import SEGMENTS, needs_segment
from sim.network.spec import NetworkSpec
from sim.network.topology import Underlay
from sim.network.traffic import Demand

FULL = 0.98
"""Highest load of a queue whose wait is given; above it the queue grows for ever and calls fail."""


@dataclass(frozen=True)
class CallCost:
    """One call between pods at random places."""

    cpu_s: float
    """On the cores of both hosts."""
    daemon_s: float
    """On the threads of both hosts' daemons."""
    wire_bytes: float


class FlowWays:
    """Ways over one underlay.

    outside: number of the host that stands for the world outside; its processors are not counted. cores: of each host that move
    packets. Resources are numbered: the underlay's links, then for each host its cores, its daemon's thread, its workers.
    """

    def __init__(self, spec: NetworkSpec, underlay: Underlay, outside: int, cores: int, offload: Offload) -> None:
        self.spec = spec
        self.underlay = underlay
        self.outside = outside
        self.cores = cores
        self.offload = offload
        self.first_core = len(underlay.capacity)
        self._paths: dict[tuple[bool, bool, bool], DataPath] = {}

    @cached_property
    def capacity(self) -> np.ndarray:
        """float64 a resource: bytes/s of links, seconds a second of the rest."""
        of_host = [1.0] * (self.cores + 1) + [float(self.cores)]
        return np.concatenate([self.underlay.capacity, np.tile(of_host, self.underlay.hosts)])

    def cores_of(self, host: int) -> int:
        """The first core of a host; its others, its daemon and its workers come after it."""
        return self.first_core + host * (self.cores + 2)

    def path(self, source: int, destination: int) -> DataPath:
        """Between two nodes; a node to the outside is through the node's NAT."""
        outside, local = self.outside in (source, destination), source == destination
        near = local or outside or self.underlay.same_segment(source, destination)
        known = self._paths.get((outside, local, near))
        if known is None:
            known = self._paths[outside, local, near] = self._path(outside, local, near)
        return known

    def _path(self, outside: bool, local: bool, near: bool) -> DataPath:
        cni, costs, mtu = self.spec.cni, self.spec.costs, self.spec.underlay.mtu_bytes
        if not outside:
            return cni.path(costs, mtu, local, near)
        of_pod = [hop for hop in ("bridge", "conntrack") if hop in (*cni.features.hops, *cni.features.local_hops)]
        hops = ("stack", "veth_route", *of_pod, "nat") if cni.features.hops != ("stack",) else ("stack",)
        return DataPath(hops, 0, mtu, costs)

    def reachable(self, source: int, destination: int) -> str:
        """Why a pod of one node does not reach one of the other; empty: it does."""
        if source == destination or self.outside in (source, destination):
            return ""
        features = self.spec.cni.features
        if features.pods_reach_pods:
            return features.pods_reach_pods
        if needs_segment(self.spec) and not self.underlay.same_segment(source, destination):
            return SEGMENTS
        return ""

    def resources(
        self, source: int, destination: int, flow: int, demand: Demand, size_bytes: float
    ) -> tuple[list[int], list[float], float, float]:
        """Resources with units a payload byte, and processor seconds and wire bytes a payload byte."""
        path = self.path(source, destination)
        wire = path.wire_bytes(size_bytes, demand.protocol, demand.message_bytes) / size_bytes
        used = self.underlay.links(source, destination, flow)
        weights = [wire] * len(used)
        cpu = 0.0
        for host, work in zip(
            (source, destination),
            path.work(size_bytes, demand.protocol, self.offload, demand.message_bytes),
            strict=True,
        ):
            if host == self.outside:
                continue  # clients outside are many machines
            base = self.cores_of(host)
            core = (source * 31 + destination * 17 + flow) % self.cores
            for resource, seconds in (
                (base + core, work.kernel_s),
                (base + self.cores, work.daemon_s),
                (base + self.cores + 1, work.spread_s),
            ):
                if seconds > 0:
                    if resource in used:  # both ends on one node and one core
                        weights[used.index(resource)] += seconds / size_bytes
                    else:
                        used.append(resource)
                        weights.append(seconds / size_bytes)
            cpu += work.total_s / size_bytes
        return used, weights, cpu, wire

    def own_limit(self, source: int, destination: int, demand: Demand) -> float:
        """What holds a flow when it is alone: its busiest core for TCP, the sender's for UDP, which hears of nothing else."""
        path = self.path(source, destination)
        if demand.protocol is Protocol.UDP:
            sender, _ = path.work(1e6, demand.protocol, self.offload, demand.message_bytes)
            return 1e6 / sender.kernel_s
        return path.stream_bytes_per_s(demand.protocol, self.offload, demand.message_bytes, max(2, self.cores))

    def round_trip_s(self, source: int, destination: int) -> float:
        """Of a small packet, undisturbed."""
        return 2 * (self.underlay.latency_s(source, destination) + self.path(source, destination).one_way_s(100))

    def call_cost(self, demand: Demand, far: DataPath, near: DataPath, same: float) -> CallCost:
        """Mean cost of a call: a lone request and a lone response. same: share of calls that stay on a node."""
        both = demand.request_bytes + demand.response_bytes
        cpu_s = lone_s = 0.0
        for share, path in ((1 - same, far), (same, near)):
            cpu_s += share * sum(work.total_s for work in path.work(both, Protocol.TCP, self.offload, both / 2))
            lone_s += share * 2 * sum(self.spec.costs.one(hop).lone_packet_s for hop in path.hops if hop != "stack")
        daemon_s = sum(work.daemon_s for work in far.work(both, Protocol.TCP, self.offload, both / 2))
        wire_bytes = far.wire_bytes(both, Protocol.TCP, both / 2)
        return CallCost(max(cpu_s, lone_s), daemon_s * (1 - same), wire_bytes * (1 - same))

    def call_chain_s(
        self,
        demand: Demand,
        far: DataPath,
        near: DataPath,
        same: float,
        wire_s: float,
        on_hosts: list[Station],
        on_links: list[Station],
        rng: np.random.Generator,
        count: int,
    ) -> np.ndarray:
        """From the front's request to the last answer, for `count` requests: each level waits for the slowest of its calls.

        on_hosts: queues that every call passes; on_links: those of calls between nodes.
        """

        def one_call() -> np.ndarray:
            sizes = (demand.request_bytes, demand.response_bytes)
            costs, services, wide = self.spec.costs, demand.services, self.spec.nic_bytes_per_s
            stations = [*on_hosts, *on_links]
            across = request_response_s(far, costs, *sizes, wire_s, wide, stations, rng, count, services)
            inside = request_response_s(near, costs, *sizes, 0.0, np.inf, on_hosts, rng, count, services)
            return np.where(rng.random(count) < same, inside, across)

        return _chain(one_call, demand.fan_out, demand.depth)


def _chain(one_call: Callable[[], np.ndarray], fan_out: int, depth: int) -> np.ndarray:
    total = one_call()
    for _ in range(depth if fan_out else 0):
        total = total + np.max([one_call() for _ in range(fan_out)], axis=0)
    return total


def calls_of_a_request(demand: Demand) -> int:
    """Calls that one request from outside sets off, its own among them."""
    return sum(demand.fan_out**level for level in range(demand.depth + 1))
