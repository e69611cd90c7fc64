"""The underlay during a run: transfers between hosts share interfaces, rack uplinks and the way between zones.

Every transfer is a flow in a `FlowTable`. One server alone, with nothing but interfaces around it, is an `Uplink`: processor sharing
on its interface, which is the same and needs no table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush

import numpy as np
from simpy.events import Event

from sim.engine.clock import Alarm, Clock, fire, when
from sim.engine.machine import Machine
from sim.engine.meter import Meter
from sim.network.data_path import Offload
from sim.network.flow_ways import FlowWays
from sim.network.flows import FlowTable
from sim.network.spec import NetworkSpec
from sim.network.topology import Underlay, build_underlay

DONE_BYTES = 1e-3
"""Bytes left below this are rounding."""


class Uplink:
    """One host's interface that many nodes pull from: fair sharing, each receiver held to its own interface.

    Egalitarian sharing of a link of B bytes/s among n flows of at most b bytes/s each is processor sharing on
    B/b cores, so the link is a `Machine` whose work is counted in bytes.
    """

    def __init__(self, clock: Clock, name: str, bandwidth_bytes_per_s: float, receiver_bytes_per_s: float) -> None:
        receivers = max(1.0, bandwidth_bytes_per_s / receiver_bytes_per_s)
        per_flow = min(bandwidth_bytes_per_s, receiver_bytes_per_s)
        self._link = Machine(clock, name, "images", receivers, per_flow)
        self.meter = self._link.meter

    def transfer(self, size_bytes: float) -> Event:
        """Send `size_bytes` to one receiver; fires with the last byte."""
        return self._link.work(size_bytes)


class Fabric:
    """All links of a cluster, shared max-min fairly by whatever is sent.

    underlay: hosts and links; servers outside the cluster (a registry) are hosts too. ways: between pods, where they
    use more than links; None: nothing but links is shared.
    """

    def __init__(self, clock: Clock, underlay: Underlay, ways: FlowWays | None = None) -> None:
        self._clock = clock
        self.underlay = underlay
        self.ways = ways
        self._table = FlowTable(underlay.capacity if ways is None else ways.capacity)
        self._events: dict[int, Event] = {}
        self._left: dict[int, float] = {}
        self._rate: dict[int, float] = {}
        self._since: dict[int, float] = {}
        self._ends: list[tuple[float, int, int]] = []
        self._version: dict[int, int] = {}
        self._count = 0
        self._alarm: Alarm | None = None
        self.meter = Meter(clock, "fabric transfers", "network", max(1, 2 * underlay.hosts))
        self.on_change: list[Callable[[], None]] = []
        """Called when rates have changed."""
        self.sent_bytes = 0.0

    def transfer(
        self, source: int, destination: int, size_bytes: float, limit_bytes_per_s: float = float("inf")
    ) -> Event:
        """Send `size_bytes` from one host to another; fires when the last byte has arrived."""
        links = self.underlay.links(source, destination, self._count)
        self._count += 1
        return self.flow(links, [1.0] * len(links), size_bytes, limit_bytes_per_s)

    def flow(
        self,
        resources: Sequence[int],
        weights: Sequence[float],
        size_bytes: float,
        limit_bytes_per_s: float = float("inf"),
    ) -> Event:
        """Send `size_bytes` over the given resources, `weights` units of each a byte; fires when the last byte has arrived."""
        event = Event(self._clock)
        if size_bytes <= 0 or not resources:
            fire(event)
            return event
        slot, changed = self._table.add(resources, weights, limit_bytes_per_s)
        self._events[slot] = event
        self._left[slot] = float(size_bytes)
        self._rate[slot] = 0.0
        self._since[slot] = self._clock._now
        self.sent_bytes += size_bytes
        self._update(changed)
        return event

    def stop(self, event: Event) -> float:
        """A flow ends here; its event never fires. Returns the bytes that were left."""
        slot = next(slot for slot, one in self._events.items() if one is event)
        left = self._left[slot] - self._rate[slot] * (self._clock._now - self._since[slot])
        self._remove(slot)
        return max(0.0, left)

    @property
    def load(self) -> np.ndarray:
        """What flows use of each resource: bytes/s of links. float64."""
        return self._table.load

    def set_capacity(self, links: np.ndarray, bytes_per_s: np.ndarray) -> None:
        """What flows may use of some links from now on: the rest carries what is no flow."""
        self._update(self._table.set_capacity(links, bytes_per_s))

    def link_loads(self) -> tuple[np.ndarray, np.ndarray]:
        """(capacity, load) of every link now, bytes/s, float64; views, in the order of `Underlay.capacity`."""
        return self._table.capacity, self._table.load

    def utilisation(self) -> dict[str, float]:
        """Share in use of each link that carries anything, now."""
        table = self._table
        return {
            self.underlay.link_name(int(link)): float(table.load[link] / table.capacity[link])
            for link in table.load[: len(self.underlay.capacity)].nonzero()[0]
        }

    def _update(self, changed: np.ndarray) -> None:
        now = self._clock._now
        rates = self._table.rate
        for slot in changed.tolist():
            rate = float(rates[slot])
            if slot not in self._events or rate == self._rate[slot]:
                continue
            self._left[slot] -= self._rate[slot] * (now - self._since[slot])
            self._since[slot], self._rate[slot] = now, rate
            version = self._version[slot] = self._version.get(slot, 0) + 1
            heappush(self._ends, (now + max(0.0, self._left[slot]) / rate, slot, version))
        self.meter.level(len(self._events), 0)
        for look in self.on_change:
            look()
        self._arm()

    def _arm(self) -> None:
        ends = self._ends
        while ends and self._version.get(ends[0][1]) != ends[0][2]:
            heappop(ends)
        if ends:
            self._alarm = self._clock.at(max(0.0, ends[0][0] - self._clock._now), self._ring)

    def _ring(self, alarm: Alarm) -> None:
        if alarm is not self._alarm or not self._ends:
            return
        _, slot, version = self._ends[0]
        if self._version.get(slot) != version:
            self._arm()
            return
        heappop(self._ends)
        event = self._events[slot]
        self.meter.served += 1
        self._remove(slot)
        fire(event)

    def _remove(self, slot: int) -> None:
        del self._events[slot], self._left[slot], self._rate[slot], self._since[slot]
        self._version[slot] += 1
        self._update(self._table.remove(slot))


class ServerLink:
    """A server's transfers to nodes: over the fabric, or, where only interfaces limit, its own `Uplink`.

    host: the server's index in the fabric's underlay.
    """

    def __init__(
        self,
        clock: Clock,
        name: str,
        bandwidth_bytes_per_s: float,
        receiver_bytes_per_s: float,
        fabric: Fabric | None = None,
        host: int = -1,
    ) -> None:
        self._fabric = fabric
        self._host = host
        self._flows = 0
        self._flow_bytes_per_s = min(bandwidth_bytes_per_s, receiver_bytes_per_s)
        if fabric is None:
            self._uplink = Uplink(clock, name, bandwidth_bytes_per_s, receiver_bytes_per_s)
            self.meter: Meter = self._uplink.meter
        else:
            self.meter = Meter(clock, name, "images", max(1.0, bandwidth_bytes_per_s / receiver_bytes_per_s))
            fabric.on_change.append(self._look)

    def transfer(self, size_bytes: float, node: int) -> Event:
        """Send to node number `node`; fires with the last byte."""
        if self._fabric is None:
            return self._uplink.transfer(size_bytes)
        self._flows += 1
        event = self._fabric.transfer(self._host, node, size_bytes)
        when(event, self._sent)
        return event

    def _sent(self, _: Event) -> None:
        self._flows -= 1
        self.meter.served += 1
        self._look()

    def _look(self) -> None:
        """Use and queue in receivers served at full speed, as `Uplink` counts them; who is slowed elsewhere does not queue here."""
        assert self._fabric is not None
        capacity, load = self._fabric.link_loads()
        out = 2 * self._host
        in_use = float(load[out]) / self._flow_bytes_per_s
        full = load[out] > 0.999999 * capacity[out]
        self.meter.level(in_use, max(0.0, self._flows - in_use) if full else 0.0)


def build_fabric(
    clock: Clock,
    spec: NetworkSpec,
    zones: Sequence[str],
    *servers_bytes_per_s: float,
    cores: int = 0,
) -> Fabric:
    """The fabric of a cluster with its servers as the last hosts.

    zones: the zone of each node. servers_bytes_per_s: interface of each server; servers stand in the first zone.
    cores: of each node that move packets between pods; 0: no traffic between pods is played. Else the world outside is the last
    host, as wide as all nodes.
    """
    if cores:
        outside = len(zones) + len(servers_bytes_per_s)
        underlay = underlay_of(spec, zones, *servers_bytes_per_s, len(zones) * spec.nic_bytes_per_s)
        return Fabric(clock, underlay, FlowWays(spec, underlay, outside, cores, Offload.PODS))
    return Fabric(clock, underlay_of(spec, zones, *servers_bytes_per_s))


def underlay_of(spec: NetworkSpec, zones: Sequence[str], *servers_bytes_per_s: float) -> Underlay:
    """The links of a cluster with its servers as the last hosts, in the first zone."""
    names = {zone: index for index, zone in enumerate(dict.fromkeys(zones))}
    zone = np.array([*(names[name] for name in zones), *(0 for _ in servers_bytes_per_s)], np.int64)
    nic = np.array([*(spec.nic_bytes_per_s for _ in zones), *servers_bytes_per_s])
    return build_underlay(spec.underlay, len(zone), nic, zone)
