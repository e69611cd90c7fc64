"""The control plane's own traffic on the underlay: requests, answers, watch events and replication, as steady loads on links.

Small messages are too many for flows and for events. Every component counts what it sends; once a period the counts become
rates on the links of each way, which flows find missing from the links' capacity, and the load of the links becomes the time that
a small message takes (M/G/1 at each port). So a message meets the load of the period before: a burst shorter than a period is
averaged, which is the error this makes. What is large (a LIST, a snapshot) is a flow: `transfer`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from simpy.events import Event

from sim.engine.clock import Clock
from sim.engine.meter import Meter
from sim.network.control_traffic_spec import ControlTrafficSpec
from sim.network.fabric import Fabric
from sim.network.topology import Underlay

NODES = ""
"""All nodes evenly, as an end of a way."""
FULLEST = 0.98
"""Highest load of a port whose wait is given; above it, the wait at this load."""


@dataclass(frozen=True)
class Way:
    """From one place to another: names of machines, or `NODES`."""

    source: str
    target: str


class ControlTraffic:
    """Bytes by way, and the latency of each way at the present load.

    places: machine -> its host in `underlay`; nodes are the hosts from 0 on. fabric: the flows that share the links; None: no flow does.
    """

    def __init__(
        self,
        clock: Clock,
        spec: ControlTrafficSpec,
        underlay: Underlay,
        nodes: int,
        places: Mapping[str, int],
        fabric: Fabric | None = None,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._underlay = underlay
        self._nodes = nodes
        self._places = dict(places)
        self._fabric = fabric
        self._counters: list[Callable[[], Iterable[tuple[Way, float]]]] = []
        self._streams: list[Callable[[], np.ndarray]] = []
        self._listeners: list[tuple[Way, Callable[[float], None]]] = []
        self._told_s: list[float] = []
        self._links: dict[Way, tuple[np.ndarray, np.ndarray, float]] = {}
        self._background = np.zeros(len(underlay.capacity))
        self._full = underlay.capacity.copy()
        self._idle_s: dict[Way, float] = {}
        """Latencies without flows, until the background changes."""
        self.sent_bytes = 0.0
        self.flow_bytes = 0.0
        """Of these, in flows."""
        self.meters = {
            name: Meter(clock, f"{name} interface", "network", float(underlay.capacity[2 * host]))
            for name, host in self._places.items()
        }

    def count(self, read: Callable[[], Iterable[tuple[Way, float]]]) -> None:
        """`read` returns bytes by way since its last call; what stays inside one machine uses no link."""
        self._counters.append(read)

    def stream(self, read: Callable[[], np.ndarray]) -> None:
        """`read` returns the present bytes/s on each link of something steady that is no flow (calls between pods)."""
        self._streams.append(read)

    def link_load(self) -> np.ndarray:
        """Share of each link in use by all, at most `FULLEST`; float64 a link."""
        load = self._background
        if self._fabric is not None:
            load = load + self._fabric.load[: len(load)]
        return np.minimum(load / self._full, FULLEST)

    def listen(self, way: Way, tell: Callable[[float], None]) -> None:
        """`tell(one_way_s)` is called now and whenever the latency of `way` has changed by a hundredth or more; 0: not worth an event."""
        self._listeners.append((way, tell))
        self._told_s.append(self._felt_s(way))
        tell(self._told_s[-1])

    def run(self) -> Generator[Event, Any, None]:
        """Process: rates from counts, once a period."""
        while True:
            yield self._clock.timeout(self._spec.period_s)
            self._load(self._spec.period_s)
            for number, (way, tell) in enumerate(self._listeners):
                one_way_s = self._felt_s(way)
                if abs(one_way_s - self._told_s[number]) > 0.01 * self._told_s[number]:
                    self._told_s[number] = one_way_s
                    tell(one_way_s)

    def transfer(self, source: str, target: str | int, size_bytes: float) -> Event | None:
        """Something large from a machine to another or to a node, as a flow; fires with the last byte. None: it is none."""
        host = target if isinstance(target, int) else self._places[target]
        if self._fabric is None or size_bytes < self._spec.flow_bytes or host == self._places[source]:
            return None
        self.sent_bytes += size_bytes
        self.flow_bytes += size_bytes
        return self._fabric.transfer(self._places[source], host, size_bytes)

    def one_way_s(self, way: Way) -> float:
        """Propagation, switches, and waiting behind others at each port; the mean over nodes."""
        if way.source == way.target:
            return 0.0
        flows = self._fabric.load if self._fabric is not None and self._fabric.load.any() else None
        known_s = self._idle_s.get(way)
        if flows is None and known_s is not None:
            return known_s
        links, shares, latency_s = self._ways(way)
        load = self._background[links]
        if flows is not None:
            load = load + flows[links]
        load = np.minimum(load / self._full[links], FULLEST)
        service_s = self._spec.packet_bytes / self._full[links]
        waits_s = load / (1 - load) * service_s  # as `latency.Station`, for all links at once
        one_way_s = latency_s + float(shares @ waits_s)
        if flows is None:
            self._idle_s[way] = one_way_s
        return one_way_s

    def round_trip_s(self, way: Way) -> float:
        """What a request waits for the network; 0 where it is too short to be worth an event."""
        both_s = self.one_way_s(way) + self.one_way_s(Way(way.target, way.source))
        return both_s if both_s >= self._spec.least_wait_s else 0.0

    def _felt_s(self, way: Way) -> float:
        one_way_s = self.one_way_s(way)
        return one_way_s if one_way_s >= self._spec.least_delay_s else 0.0

    def _load(self, period_s: float) -> None:
        load = np.zeros_like(self._background)
        sent = dict.fromkeys(self.meters, 0.0)
        for way, size_bytes in (pair for read in self._counters for pair in read()):
            if way.source == way.target or not size_bytes:
                continue
            links, shares, _ = self._ways(way)
            load[links] += shares * (size_bytes / period_s)
            self.sent_bytes += size_bytes
            if way.source in sent:
                sent[way.source] += size_bytes
        for steady in self._streams:
            load += steady()
        for name, size_bytes in sent.items():
            self.meters[name].in_use_s += size_bytes
        changed = np.flatnonzero(np.abs(load - self._background) > 0.001 * self._full)
        self._background[changed] = load[changed]
        if len(changed):
            self._idle_s.clear()
        if self._fabric is not None and len(changed):
            self._fabric.set_capacity(
                changed, np.maximum(self._full[changed] - load[changed], 0.02 * self._full[changed])
            )

    def _ways(self, way: Way) -> tuple[np.ndarray, np.ndarray, float]:
        """Links of a way with the share of its messages that use each, and its latency without load."""
        known = self._links.get(way)
        if known is None:
            shares: dict[int, float] = {}
            latency_s = 0.0
            pairs = [(source, target) for source in self._hosts(way.source) for target in self._hosts(way.target)]
            for number, (source, target) in enumerate(pairs):
                latency_s += self._underlay.latency_s(source, target) / len(pairs)
                for link in self._underlay.links(source, target, number):
                    shares[link] = shares.get(link, 0.0) + 1 / len(pairs)
            links = np.array(list(shares), np.int64)
            known = self._links[way] = (links, np.array(list(shares.values())), latency_s)
        return known

    def _hosts(self, place: str) -> Sequence[int]:
        return range(self._nodes) if place == NODES else (self._places[place],)
