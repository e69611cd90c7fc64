"""Plays traffic over one data path: throughput, latency, processor time, and what fails and why.

Every flow uses the sender's and the receiver's interface, the links between, one core on each host (packets of one flow stay on one
core), the single thread of a user-space daemon where the path has one, and worker threads for encryption. Rates are max-min fair
over all of these. Calls are too many for flows: their work is put on the cores as load, and their latency is the path's with queues
at that load.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sim.network.data_path import DataPath, Offload, Protocol
from sim.network.flows import HOPS, run_flows
from sim.network.latency import Station, request_response_s
from sim.network.requirements import SEGMENTS, lacking, needs_segment
from sim.network.spec import NetworkSpec
from sim.network.topology import Underlay, build_underlay
from sim.network.traffic import Demand, TrafficSpec
from sim.network.transport import retransmitted_bytes, slow_start_s

CALL_SAMPLES = 20_000
"""Calls whose latency is drawn."""
FULL = 0.98
"""Highest load of a queue whose wait is given; above it the queue grows for ever and calls fail."""


@dataclass
class TrafficResult:
    """What one kind of traffic met. Times in seconds, sizes in bytes."""

    kind: str
    transfers: int = 0
    finished: int = 0
    bytes_moved: float = 0.0
    span_s: float = 0.0
    finish_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """Duration of each finished transfer, slow start included."""
    latency_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """Of sampled requests from the front to the last answer."""
    cpu_s: float = 0.0
    """Processor time of all hosts."""
    wire_bytes: float = 0.0
    lost_bytes: float = 0.0
    """Dropped by full queues: sent again by TCP, gone with UDP (`bytes_moved` is what arrived)."""
    failed: Counter[str] = field(default_factory=Counter)
    """Flows that could not be, by reason."""
    busiest_core: float = 0.0
    """Highest share of a core in use over the span."""

    @property
    def throughput_bytes_per_s(self) -> float:
        return self.bytes_moved / self.span_s if self.span_s else 0.0

    @property
    def cpu_s_per_gb(self) -> float:
        return self.cpu_s / self.bytes_moved * 1e9 if self.bytes_moved else float("nan")


class TrafficBed:
    """Hosts with their resources, and pods on them.

    node_of_pod: int64 a pod. cores: of each node that move packets. zone: int64 a node. The world outside is one more host whose
    interface is as wide as all nodes'.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        nodes: int,
        node_of_pod: np.ndarray,
        zone: np.ndarray | None = None,
        cores: int = 4,
        offload: Offload = Offload.PODS,
    ) -> None:
        self.spec = spec
        self.nodes = nodes
        self.node_of_pod = node_of_pod
        self.cores = cores
        self.offload = offload
        zones = np.zeros(nodes, np.int64) if zone is None else zone
        nic = np.append(np.full(nodes, spec.nic_bytes_per_s), nodes * spec.nic_bytes_per_s)
        self.underlay: Underlay = build_underlay(spec.underlay, nodes + 1, nic, np.append(zones, 0))
        self._first = len(self.underlay.capacity)
        per_host = cores + 2
        self.capacity = np.concatenate(
            [self.underlay.capacity, np.tile([1.0] * (cores + 1) + [float(cores)], nodes + 1)]
        )
        self._per_host = per_host

    def path(self, source: int, destination: int) -> DataPath:
        """Between two nodes; a node to the outside is through the node's NAT."""
        outside = self.nodes in (source, destination)
        cni, costs, mtu = self.spec.cni, self.spec.costs, self.spec.underlay.mtu_bytes
        if outside:
            local = cni.features.local_hops
            hops = (
                "stack",
                "veth_route",
                *(hop for hop in ("bridge", "conntrack") if hop in cni.features.hops or hop in local),
                "nat",
            )
            return DataPath(hops if cni.features.hops != ("stack",) else ("stack",), 0, mtu, costs)
        return cni.path(costs, mtu, source == destination, self.underlay.same_segment(source, destination))

    def resources(
        self, source: int, destination: int, flow: int, demand: Demand, size_bytes: float
    ) -> tuple[list[int], list[float], float, float]:
        """Resources with units a payload byte, and processor seconds and wire bytes a payload byte."""
        path = self.path(source, destination)
        used, weights = [], []
        wire = path.wire_bytes(size_bytes, demand.protocol, demand.message_bytes) / size_bytes
        for link in self.underlay.links(source, destination, flow):
            used.append(link)
            weights.append(wire)
        cpu = 0.0
        for host, work in zip(
            (source, destination),
            path.work(size_bytes, demand.protocol, self.offload, demand.message_bytes),
            strict=True,
        ):
            base = self._first + host * self._per_host
            if host == self.nodes:
                continue  # clients outside are many machines
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

    def run(self, traffic: TrafficSpec, kind: str, pods: np.ndarray, rng: np.random.Generator) -> TrafficResult:
        """Play one kind of traffic among `pods`, alone on the network."""
        result = TrafficResult(kind)
        demand = traffic.demand(pods, rng)
        if missing := lacking(self.spec, traffic.needs, self.nodes):
            result.failed["; ".join(missing)] += max(1, len(demand.source))
            return result
        if len(demand.source):
            self._transfers(demand, result)
        if demand.calls_per_s:
            self._calls(demand, pods, rng, result)
        return result

    def reachable(self, source: int, destination: int) -> str:
        """Why a pod of one node does not reach one of the other; empty: it does."""
        if source == destination or self.nodes in (source, destination):
            return ""
        features = self.spec.cni.features
        if features.pods_reach_pods:
            return features.pods_reach_pods
        if needs_segment(self.spec) and not self.underlay.same_segment(source, destination):
            return SEGMENTS
        return ""

    def _transfers(self, demand: Demand, result: TrafficResult) -> None:
        hosts = np.append(self.node_of_pod, self.nodes)  # pod -1 is outside
        source, destination = hosts[demand.source], hosts[demand.destination]
        result.transfers = len(source)
        kept, rows = [], []
        for flow, (a, b) in enumerate(zip(source.tolist(), destination.tolist(), strict=True)):
            if why := self.reachable(a, b):
                result.failed[why] += 1
                continue
            kept.append(flow)
            rows.append(self.resources(a, b, flow, demand, float(demand.size_bytes[flow])))
        if not kept:
            return
        used, weight = np.full((len(kept), HOPS), -1, np.int64), np.zeros((len(kept), HOPS))
        for row, (resources, weights, _, _) in enumerate(rows):
            used[row, : len(resources)] = resources
            weight[row, : len(weights)] = weights
        size, start = demand.size_bytes[kept], demand.start_s[kept]
        finish, use = np.zeros(len(kept)), np.zeros(len(self.capacity))
        limit = np.array([self._own_limit(int(source[flow]), int(destination[flow]), demand) for flow in kept])
        run_flows(self.capacity, used, weight, np.arange(len(kept)), limit, start, size, len(kept) + 1, finish, use)
        mss = self.path(int(source[kept[0]]), int(destination[kept[0]])).payload_bytes(demand.protocol)
        took = finish - start
        rate = size / np.maximum(took, 1e-12)
        if demand.protocol is Protocol.UDP:  # nobody slows down: what the sender emits beyond its share is dropped
            result.lost_bytes = float((took * np.maximum(0.0, limit - rate)).sum())
        else:
            for row, flow in enumerate(kept):
                a, b = int(source[flow]), int(destination[flow])
                round_trip_s = 2 * (self.underlay.latency_s(a, b) + self.path(a, b).one_way_s(100))
                took[row] += slow_start_s(float(size[row]), mss, round_trip_s, float(rate[row]))
                queue_s = self.spec.underlay.buffer_bytes / self.spec.nic_bytes_per_s
                result.lost_bytes += retransmitted_bytes(
                    float(size[row]), float(rate[row]), mss, round_trip_s + queue_s, rate[row] < 0.99 * limit[row]
                )
        result.finished = len(kept)
        result.bytes_moved = float(size.sum())
        result.span_s = float((start + took).max() - start.min())
        result.finish_s = took
        result.cpu_s = float(sum(row[2] * bytes_ for row, bytes_ in zip(rows, size, strict=True)))
        result.wire_bytes = float(sum(row[3] * bytes_ for row, bytes_ in zip(rows, size, strict=True)))
        result.busiest_core = float((use[self._first :] / self.capacity[self._first :]).max() / result.span_s)

    def _own_limit(self, source: int, destination: int, demand: Demand) -> float:
        """What holds a flow when it is alone: its busiest core for TCP, the sender's for UDP, which hears of nothing else."""
        path = self.path(source, destination)
        if demand.protocol is Protocol.UDP:
            sender, _ = path.work(1e6, demand.protocol, self.offload, demand.message_bytes)
            return 1e6 / sender.kernel_s
        return path.stream_bytes_per_s(demand.protocol, self.offload, demand.message_bytes, max(2, self.cores))

    def _calls(self, demand: Demand, pods: np.ndarray, rng: np.random.Generator, result: TrafficResult) -> None:
        """Calls go to pods at random: a pair of nodes is chosen for each sampled call."""
        nodes = self.node_of_pod[pods]
        calls_each = [demand.fan_out**level for level in range(1, demand.depth + 1)]
        all_calls = 1 + sum(calls_each)
        a, b = rng.choice(nodes, CALL_SAMPLES), rng.choice(nodes, CALL_SAMPLES)
        reasons = Counter(
            why for x, y in zip(a[:2000].tolist(), b[:2000].tolist(), strict=True) if (why := self.reachable(x, y))
        )
        lost = sum(reasons.values()) / 2000
        for why, count in reasons.items():
            result.failed[why] += round(count / 2000 * demand.calls_per_s * all_calls)
        pairs = [(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True) if not self.reachable(x, y)]
        if not pairs:
            return
        same = np.mean([x == y for x, y in pairs])
        x, y = next(((x, y) for x, y in pairs if x != y), pairs[0])
        ways = {"far": self.path(x, y), "near": self.path(x, x)}
        # Work of one call on the cores of both hosts: a lone request and a lone response.
        message = (demand.request_bytes + demand.response_bytes) / 2
        per_call_s = sum(
            share * sum(work.total_s for work in path.work(2 * message, Protocol.TCP, self.offload, message))
            for share, path in ((1 - same, ways["far"]), (same, ways["near"]))
        )
        lone_s = sum(
            share * 2 * sum(self.spec.costs.one(hop).lone_packet_s for hop in path.hops if hop != "stack")
            for share, path in ((1 - same, ways["far"]), (same, ways["near"]))
        )
        per_call_s = max(per_call_s, lone_s)
        total_calls_per_s = demand.calls_per_s * all_calls * (1 - lost)
        hosts = len(np.unique(nodes))
        load = total_calls_per_s * per_call_s / (hosts * self.cores)
        daemon_s = sum(work.daemon_s for work in ways["far"].work(2 * message, Protocol.TCP, self.offload, message)) * (
            1 - same
        )
        daemon_load = total_calls_per_s * daemon_s / hosts
        result.busiest_core = max(load, daemon_load)
        result.cpu_s = total_calls_per_s * per_call_s
        result.bytes_moved = total_calls_per_s * 2 * message
        result.span_s = 1.0
        result.wire_bytes = (
            result.bytes_moved * (1 - same) * ways["far"].wire_bytes(2 * message, Protocol.TCP, message) / (2 * message)
        )
        link_load = result.wire_bytes / (hosts * self.spec.nic_bytes_per_s)
        if max(load, daemon_load, link_load) > FULL:
            result.failed["the cores, the daemon or the interfaces that carry the calls are full"] += round(
                total_calls_per_s
            )
            return
        stations = [
            Station(load, per_call_s / 4),
            Station(load, per_call_s / 4),
            Station(daemon_load, daemon_s / 4 or 1e-9),
            Station(link_load, message / self.spec.nic_bytes_per_s),
        ]
        wire_s = float(np.mean([self.underlay.latency_s(x, y) for x, y in pairs[:2000]]))

        def one_call(count: int) -> np.ndarray:
            far = request_response_s(
                ways["far"],
                self.spec.costs,
                demand.request_bytes,
                demand.response_bytes,
                wire_s,
                self.spec.nic_bytes_per_s,
                stations,
                rng,
                count,
                demand.services,
            )
            near = request_response_s(
                ways["near"],
                self.spec.costs,
                demand.request_bytes,
                demand.response_bytes,
                0.0,
                np.inf,
                stations[:2],
                rng,
                count,
                demand.services,
            )
            return np.where(rng.random(count) < same, near, far)

        total = one_call(CALL_SAMPLES)
        for _ in range(demand.depth if demand.fan_out else 0):
            total = total + np.max([one_call(CALL_SAMPLES) for _ in range(demand.fan_out)], axis=0)
        result.latency_s = total


def pods_of(traffic: TrafficSpec, app_of_pod: np.ndarray) -> np.ndarray:
    """Pods that take part: those of an application, or all."""
    return (
        np.arange(len(app_of_pod)) if traffic.application is None else np.flatnonzero(app_of_pod == traffic.application)
    )


def default_traffic() -> Sequence[tuple[str, str]]:
    """What `compare` plays when a scenario names no traffic: one stream, a shuffle, calls, downloads."""
    return (("stream", "bulk"), ("shuffle", "shuffle"), ("calls", "calls"), ("north-south", "north-south"))
