"""Traffic between the pods of a run: over the data path of its plug-in and the links that everybody shares.

A transfer is one flow. Calls are a stream: once a period their bytes and their work are put on the links and cores between the nodes
that hold the pods, and the latency of some is drawn with queues at the load of that moment. What cannot be is counted as failed
with its reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from simpy.events import Event

from sim.engine.clock import Clock, when
from sim.network.control_traffic import ControlTraffic
from sim.network.data_path import Protocol
from sim.network.fabric import Fabric
from sim.network.flow_ways import FULL, calls_of_a_request
from sim.network.latency import Station
from sim.network.requirements import lacking
from sim.network.routes.spread import RouteSpread
from sim.network.setup import Process
from sim.network.traffic import TRAFFIC, Demand, TrafficSpec
from sim.network.transport import retransmitted_bytes, slow_start_s
from sim.state.pods import REACHABLE, Phase, PodTable

DONE = "done"
NEVER_BEGAN = "never began: fewer than two of its pods ran"
NODE_DEAD = "its node does not run, and others still have its routes"
NO_ROUTE = "its node does not run, and nobody has routes to it any more"
NODE_DIED = "the node of one of its ends died"
POD_ENDED = "one of its pods ended"
NOT_SPREAD = "the pod's route has not come to the sender's node yet"
OVERLOADED = "the cores, daemons or links that carry the calls are full"
SAMPLES = 200
"""Calls of a period whose latency is drawn."""
PAIRS = 500
"""Pairs of pods of a period that are looked at for whether they reach each other."""


@dataclass
class Tally:
    """What became of one named traffic."""

    name: str
    kind: str
    count: Counter[str] = field(default_factory=Counter)
    """Transfers or calls by outcome: `DONE`, or why not."""
    bytes_moved: float = 0.0
    wire_bytes: float = 0.0
    lost_bytes: float = 0.0
    """Dropped by full queues: sent again by TCP, gone with UDP."""
    cpu_s: float = 0.0
    """Processor time of all nodes."""
    took_s: list[np.ndarray] = field(default_factory=list)
    """Of transfers that are done, or of sampled requests from the front to the last answer."""
    open: int = 0
    """Transfers under way."""

    def durations_s(self) -> np.ndarray:
        return np.concatenate([np.zeros(0), *self.took_s])


@dataclass(frozen=True, slots=True)
class _Open:
    """A transfer under way."""

    tally: Tally
    demand: Demand
    pods: tuple[int, int]
    nodes: tuple[int, int]
    size_bytes: float
    limit_bytes_per_s: float
    cpu_s_per_byte: float
    wire_per_byte: float
    begun_s: float


class PodTraffic:
    """All named traffic of a run.

    fabric: with ways between pods. control: hears of the calls' bytes and knows the links' load. spread: knows which nodes have
    routes to which. rng_of: a generator for each name.
    """

    def __init__(
        self,
        clock: Clock,
        traffic: dict[str, TrafficSpec],
        fabric: Fabric,
        control: ControlTraffic,
        pods: PodTable,
        spread: RouteSpread,
        nodes: int,
        rng_of: Callable[[str], np.random.Generator],
    ) -> None:
        self._clock = clock
        assert fabric.ways is not None
        self._ways = ways = fabric.ways
        self._fabric = fabric
        self._control = control
        self._pods = pods
        self._spread = spread
        self._nodes = nodes
        self._period_s = ways.spec.control_traffic.period_s
        self._reachable = [(share, pods.times[name]) for name, share in REACHABLE]
        self._dead: set[int] = set()
        self._open: dict[Event, _Open] = {}
        self._of_pod: dict[int, set[Event]] = defaultdict(set)
        self._begun = 0
        self._call_load: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        """Of each stream of calls: bytes/s on each link; share of each host's cores, and of its daemon, in use."""
        self._held = np.zeros(ways.underlay.hosts, bool)
        """Hosts whose cores calls have used."""
        control.stream(self._call_bytes_per_s)
        self.tallies: list[Tally] = []
        for name, spec in traffic.items():
            tally = Tally(name, next(kind for kind in TRAFFIC if TRAFFIC[kind] is type(spec)))
            self.tallies.append(tally)
            clock.start(self._play(spec, tally, rng_of(name)))

    # --- what happens to nodes and pods

    def node_died(self, node: int) -> None:
        """A machine stops: its flows end, and new ones to it fail."""
        self._dead.add(node)
        for event in [event for event, flow in self._open.items() if node in flow.nodes]:
            self._break(event, NODE_DIED)

    def node_back(self, node: int) -> None:
        """The machine runs again."""
        self._dead.discard(node)

    def pod_detached(self, pod: int) -> None:
        """A pod's network is taken down."""
        for event in list(self._of_pod.pop(pod, ())):
            self._break(event, POD_ENDED)

    def close(self) -> None:
        """The run ends now."""
        for tally in self.tallies:
            if not tally.count and not tally.open:
                tally.count[NEVER_BEGAN] += 1

    # --- playing it

    def _play(self, spec: TrafficSpec, tally: Tally, rng: np.random.Generator) -> Process:
        yield self._clock.timeout(spec.start_s)
        while len(pods := self._running(spec)) < 2:
            yield self._clock.timeout(self._period_s)
        missing = "; ".join(lacking(self._ways.spec, spec.needs, self._nodes))
        while True:
            demand = spec.demand(pods, rng)
            if missing:
                tally.count[missing] += max(1, len(demand.source))
            elif demand.calls_per_s:
                yield from self._calls(spec, demand, tally, rng)
            else:
                self._clock.start(self._transfers(demand, tally))
            every_s = getattr(spec, "every_s", None)
            if every_s is None or missing:
                return
            yield self._clock.timeout(every_s)
            while len(pods := self._running(spec)) < 2:
                yield self._clock.timeout(every_s)

    def _running(self, spec: TrafficSpec) -> np.ndarray:
        """Pods that the API server says run, int64."""
        if not self._pods.rows:
            return np.zeros(0, np.int64)
        runs = np.frombuffer(self._pods.ids["phase"], np.int32) == Phase.RUNNING
        if spec.application is not None:
            runs &= np.frombuffer(self._pods.ids["app"], np.int32) == spec.application
        return np.flatnonzero(runs)

    def _why_not(self, source: int, destination: int, pod: int) -> str:
        """Why a pod on `destination` does not hear from node `source`; empty: it does. pod: -1 outside."""
        for node in (source, destination):
            if node in self._dead:
                return NO_ROUTE if self._spread.dropped_s.get(node, np.inf) <= self._clock._now else NODE_DEAD
        if why := self._ways.reachable(source, destination):
            return why
        if pod >= 0 and source != destination and source < self._nodes:
            rank = (source + 1) / self._nodes
            known_s = next((column[pod] for share, column in self._reachable if share >= rank), 0.0)
            if known_s > self._clock._now:
                return NOT_SPREAD
        return ""

    def _transfers(self, demand: Demand, tally: Tally) -> Process:
        begun_s, node_of = self._clock._now, self._pods.ids["node"]
        for row, (source, destination) in enumerate(
            zip(demand.source.tolist(), demand.destination.tolist(), strict=True)
        ):
            wait_s = begun_s + float(demand.start_s[row]) - self._clock._now
            if wait_s > 0:
                yield self._clock.timeout(wait_s)
            a, b = (node_of[pod] if pod >= 0 else self._ways.outside for pod in (source, destination))
            ended = any(pod >= 0 and self._pods.ids["phase"][pod] != Phase.RUNNING for pod in (source, destination))
            if why := POD_ENDED if ended else self._why_not(a, b, destination):
                tally.count[why] += 1
                continue
            size_bytes = float(demand.size_bytes[row])
            used, weights, cpu, wire = self._ways.resources(a, b, self._begun, demand, size_bytes)
            self._begun += 1
            limit = self._ways.own_limit(a, b, demand)
            tally.open += 1
            event = self._fabric.flow(used, weights, size_bytes, limit)
            flow = _Open(tally, demand, (source, destination), (a, b), size_bytes, limit, cpu, wire, self._clock._now)
            self._open[event] = flow
            for pod in flow.pods:
                self._of_pod[pod].add(event)
            when(event, self._finished)

    def _finished(self, event: Event) -> None:
        flow = self._forget(event)
        tally, ways, demand = flow.tally, self._ways, flow.demand
        tally.count[DONE] += 1
        took_s = max(self._clock._now - flow.begun_s, 1e-12)
        rate = flow.size_bytes / took_s
        if demand.protocol is Protocol.UDP:  # nobody slows down: what the sender emits beyond its share is dropped
            tally.lost_bytes += took_s * max(0.0, flow.limit_bytes_per_s - rate)
        else:
            round_trip_s = ways.round_trip_s(*flow.nodes)
            mss = ways.path(*flow.nodes).payload_bytes(demand.protocol)
            took_s += slow_start_s(flow.size_bytes, mss, round_trip_s, rate)
            queue_s = ways.spec.underlay.buffer_bytes / ways.spec.nic_bytes_per_s
            held = rate < 0.99 * flow.limit_bytes_per_s
            tally.lost_bytes += retransmitted_bytes(flow.size_bytes, rate, mss, round_trip_s + queue_s, held)
        self._account(flow, flow.size_bytes)
        tally.took_s.append(np.array([took_s]))

    def _break(self, event: Event, why: str) -> None:
        flow = self._forget(event)
        flow.tally.count[why] += 1
        self._account(flow, flow.size_bytes - self._fabric.stop(event))

    def _forget(self, event: Event) -> _Open:
        flow = self._open.pop(event)
        flow.tally.open -= 1
        for pod in flow.pods:
            self._of_pod[pod].discard(event)
        return flow

    @staticmethod
    def _account(flow: _Open, size_bytes: float) -> None:
        flow.tally.bytes_moved += size_bytes
        flow.tally.wire_bytes += size_bytes * flow.wire_per_byte * (flow.nodes[0] != flow.nodes[1])
        flow.tally.cpu_s += size_bytes * flow.cpu_s_per_byte

    # --- calls

    def _calls(self, spec: TrafficSpec, demand: Demand, tally: Tally, rng: np.random.Generator) -> Process:
        """A stream until the end of the run; each period is counted at its end and loads links and cores during the next."""
        while True:
            yield self._clock.timeout(self._period_s)
            self._call_period(self._running(spec), demand, tally, rng)

    def _call_period(self, pods: np.ndarray, demand: Demand, tally: Tally, rng: np.random.Generator) -> None:
        ways, underlay, per_s = self._ways, self._ways.underlay, demand.calls_per_s * calls_of_a_request(demand)
        if len(pods) < 2:
            tally.count[NEVER_BEGAN if not tally.count else POD_ENDED] += round(per_s * self._period_s)
            self._no_calls(tally)
            return
        nodes = np.frombuffer(self._pods.ids["node"], np.int32)[pods].astype(np.int64)
        callers, callees = (rng.integers(0, len(pods), PAIRS) for _ in range(2))
        pairs = []
        for x, y, pod in zip(nodes[callers].tolist(), nodes[callees].tolist(), pods[callees].tolist(), strict=True):
            if why := self._why_not(x, y, pod):
                tally.count[why] += round(per_s * self._period_s / PAIRS)
            else:
                pairs.append((x, y))
        if not pairs:
            self._no_calls(tally)
            return
        served_per_s = per_s * len(pairs) / PAIRS
        same = float(np.mean([x == y for x, y in pairs]))
        x, y = next(((x, y) for x, y in pairs if x != y), pairs[0])
        far, near = ways.path(x, y), ways.path(x, x)
        cost = ways.call_cost(demand, far, near, same)
        weight = np.bincount(nodes, minlength=underlay.hosts) / len(nodes)
        self._call_load.pop(tally.name, None)
        others = sum((hosts for _, hosts in self._call_load.values()), np.zeros((2, underlay.hosts)))
        own = served_per_s * np.outer((cost.cpu_s / ways.cores, cost.daemon_s), weight)
        cores, daemon = self._flow_load() @ weight + (others + own) @ weight
        shares = underlay.uniform_shares(weight)
        across = served_per_s * cost.wire_bytes / max(1 - same, 1e-9)  # a far call's bytes; shares know who is far
        # Flows give way to calls, calls not to each other.
        wanted = (self._call_bytes_per_s() + across * shares) / underlay.capacity
        fullest = max(float(wanted.max()), float((others + own).max()))
        done = min(1.0, FULL / fullest)
        if done < 1:
            tally.count[OVERLOADED] += round(served_per_s * self._period_s * (1 - done))
        link = float(shares @ self._control.link_load()) / max(float(shares.sum()), 1e-12)
        message = (demand.request_bytes + demand.response_bytes) / 2
        on_hosts = [Station(min(cores, FULL), cost.cpu_s / 4)] * 2
        on_links = [Station(min(daemon, FULL), cost.daemon_s / 4)] if cost.daemon_s else []
        on_links += [Station(min(link, FULL), message / ways.spec.nic_bytes_per_s)] * 2
        wire_s = float(np.mean([underlay.latency_s(x, y) for x, y in pairs]))
        tally.took_s.append(ways.call_chain_s(demand, far, near, same, wire_s, on_hosts, on_links, rng, SAMPLES))
        calls = served_per_s * done * self._period_s
        tally.count[DONE] += round(calls)
        tally.bytes_moved += calls * 2 * message
        tally.wire_bytes += calls * cost.wire_bytes
        tally.cpu_s += calls * cost.cpu_s
        self._call_load[tally.name] = (across * done * shares, done * own)
        self._hold_hosts(others + done * own)

    def _no_calls(self, tally: Tally) -> None:
        if self._call_load.pop(tally.name, None) is not None:
            nothing = np.zeros((2, self._ways.underlay.hosts))
            self._hold_hosts(sum((hosts for _, hosts in self._call_load.values()), nothing))

    def _flow_load(self) -> np.ndarray:
        """Share of each host's cores, and of its daemon, that flows use; float64, 2 rows."""
        ways = self._ways
        by_host = self._fabric.load[ways.first_core :].reshape(ways.underlay.hosts, ways.cores + 2)
        return np.stack([by_host[:, : ways.cores].mean(axis=1), by_host[:, ways.cores]])

    def _hold_hosts(self, of_calls: np.ndarray) -> None:
        """Flows find the rest of each host's cores and daemon."""
        ways = self._ways
        hosts = np.flatnonzero(of_calls.any(axis=0) | self._held)
        self._held[hosts] = True
        left = np.maximum(1 - of_calls[:, hosts], 1 - FULL)
        first = ways.first_core + hosts[:, None] * (ways.cores + 2)
        resources = (first + np.arange(ways.cores + 1)).ravel()
        self._fabric.set_capacity(resources, np.column_stack([*[left[0]] * ways.cores, left[1]]).ravel())

    def _call_bytes_per_s(self) -> np.ndarray:
        return sum((links for links, _ in self._call_load.values()), np.zeros(len(self._ways.underlay.capacity)))
