"""Plays traffic over one data path: throughput, latency, processor time, and what fails and why.

Rates of flows are max-min fair over all that they use (`FlowWays`). Calls are too many for flows: their work is put
on the cores as load, and their latency is the path's with queues at that load.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sim.network.data_path import Offload, Protocol
from sim.network.flow_ways import FULL, FlowWays, calls_of_a_request
from sim.network.flows import HOPS, run_flows
from sim.network.latency import Station
from sim.network.requirements import lacking
from sim.network.spec import NetworkSpec
from sim.network.topology import build_underlay
from sim.network.traffic import Demand, TrafficSpec
from sim.network.transport import retransmitted_bytes, slow_start_s

CALL_SAMPLES = 20_000
"""Calls whose latency is drawn."""
OVERLOADED = "the cores, the daemon or the interfaces that carry the calls are full"


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
        zones = np.zeros(nodes, np.int64) if zone is None else zone
        nic = np.append(np.full(nodes, spec.nic_bytes_per_s), nodes * spec.nic_bytes_per_s)
        underlay = build_underlay(spec.underlay, nodes + 1, nic, np.append(zones, 0))
        self.ways = FlowWays(spec, underlay, nodes, cores, offload)

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

    def _transfers(self, demand: Demand, result: TrafficResult) -> None:
        hosts = np.append(self.node_of_pod, self.nodes)  # pod -1 is outside
        source, destination = hosts[demand.source], hosts[demand.destination]
        result.transfers = len(source)
        kept, rows = [], []
        for flow, (a, b) in enumerate(zip(source.tolist(), destination.tolist(), strict=True)):
            if why := self.ways.reachable(a, b):
                result.failed[why] += 1
                continue
            kept.append(flow)
            rows.append(self.ways.resources(a, b, flow, demand, float(demand.size_bytes[flow])))
        if not kept:
            return
        used, weight = np.full((len(kept), HOPS), -1, np.int64), np.zeros((len(kept), HOPS))
        for row, (resources, weights, _, _) in enumerate(rows):
            used[row, : len(resources)] = resources
            weight[row, : len(weights)] = weights
        size, start = demand.size_bytes[kept], demand.start_s[kept]
        finish, use = np.zeros(len(kept)), np.zeros(len(self.ways.capacity))
        limit = np.array([self.ways.own_limit(int(source[flow]), int(destination[flow]), demand) for flow in kept])
        run_flows(
            self.ways.capacity, used, weight, np.arange(len(kept)), limit, start, size, len(kept) + 1, finish, use
        )
        mss = self.ways.path(int(source[kept[0]]), int(destination[kept[0]])).payload_bytes(demand.protocol)
        took = finish - start
        rate = size / np.maximum(took, 1e-12)
        if demand.protocol is Protocol.UDP:  # nobody slows down: what the sender emits beyond its share is dropped
            result.lost_bytes = float((took * np.maximum(0.0, limit - rate)).sum())
        else:
            for row, flow in enumerate(kept):
                a, b = int(source[flow]), int(destination[flow])
                round_trip_s = self.ways.round_trip_s(a, b)
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
        first = self.ways.first_core
        result.busiest_core = float((use[first:] / self.ways.capacity[first:]).max() / result.span_s)

    def _calls(self, demand: Demand, pods: np.ndarray, rng: np.random.Generator, result: TrafficResult) -> None:
        """Calls go to pods at random: a pair of nodes is chosen for each sampled call."""
        ways, nodes = self.ways, self.node_of_pod[pods]
        all_calls = calls_of_a_request(demand)
        a, b = rng.choice(nodes, CALL_SAMPLES), rng.choice(nodes, CALL_SAMPLES)
        reasons = Counter(
            why for x, y in zip(a[:2000].tolist(), b[:2000].tolist(), strict=True) if (why := ways.reachable(x, y))
        )
        lost = sum(reasons.values()) / 2000
        for why, count in reasons.items():
            result.failed[why] += round(count / 2000 * demand.calls_per_s * all_calls)
        pairs = [(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True) if not ways.reachable(x, y)]
        if not pairs:
            return
        same = float(np.mean([x == y for x, y in pairs]))
        x, y = next(((x, y) for x, y in pairs if x != y), pairs[0])
        far, near = ways.path(x, y), ways.path(x, x)
        cost = ways.call_cost(demand, far, near, same)
        message = (demand.request_bytes + demand.response_bytes) / 2
        total_calls_per_s = demand.calls_per_s * all_calls * (1 - lost)
        hosts = len(np.unique(nodes))
        load = total_calls_per_s * cost.cpu_s / (hosts * ways.cores)
        daemon_load = total_calls_per_s * cost.daemon_s / hosts
        result.busiest_core = max(load, daemon_load)
        result.cpu_s = total_calls_per_s * cost.cpu_s
        result.bytes_moved = total_calls_per_s * 2 * message
        result.span_s = 1.0
        result.wire_bytes = total_calls_per_s * cost.wire_bytes
        link_load = result.wire_bytes / (hosts * self.spec.nic_bytes_per_s)
        if max(load, daemon_load, link_load) > FULL:
            result.failed[OVERLOADED] += round(total_calls_per_s)
            return
        on_hosts = [Station(load, cost.cpu_s / 4)] * 2
        on_links = [
            Station(daemon_load, cost.daemon_s / 4 or 1e-9),
            Station(link_load, message / self.spec.nic_bytes_per_s),
        ]
        wire_s = float(np.mean([ways.underlay.latency_s(x, y) for x, y in pairs[:2000]]))
        result.latency_s = ways.call_chain_s(demand, far, near, same, wire_s, on_hosts, on_links, rng, CALL_SAMPLES)


def pods_of(traffic: TrafficSpec, app_of_pod: np.ndarray) -> np.ndarray:
    """Pods that take part: those of an application, or all."""
    return (
        np.arange(len(app_of_pod)) if traffic.application is None else np.flatnonzero(app_of_pod == traffic.application)
    )


def default_traffic() -> Sequence[tuple[str, str]]:
    """What `compare` plays when a scenario names no traffic: one stream, a shuffle, calls, downloads."""
    return (("stream", "bulk"), ("shuffle", "shuffle"), ("calls", "calls"), ("north-south", "north-south"))
