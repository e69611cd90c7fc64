"""Peer-to-peer distribution as a source: origins hold the blobs, nodes that pull pass pieces on to each other."""

from __future__ import annotations

import zlib
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from simpy.events import Event

from sim.base.spec import param
from sim.engine.clock import Alarm, fire
from sim.engine.machine import Machine
from sim.engine.meter import Meter
from sim.images.layers import Layer
from sim.images.sources.catalog import ImageSource, Process, Site, SourceSpec

if TYPE_CHECKING:
    from sim.images.piece_exchange import Rules
    from sim.kubelet.node import Node
    from sim.network.topology import Underlay

SLICE_S = 0.02
"""Peers advance together by so much; who begins to download in between is heard at the end of the slice."""
LEAST_SHARE = 0.01
"""Of its interface that a host's peers keep however much else it carries."""


class PeerToPeer(SourceSpec):
    """Base of the peer-to-peer sources: each node runs an agent with limits of its own, which serves whole and partial blobs."""

    origins: int = param(5, "hosts that seed blobs", ge=1, le=1000)
    origin_bytes_per_s: float = param(1.25e9, "interface of each origin", gt=0, le=1e13)
    copies: int = param(3, "origins that hold each blob", ge=1, le=1000)
    back_end_bytes_per_s: float | None = param(
        None,
        "what origins read from the store behind them at a blob's first use; null: they hold every blob",
        gt=0,
        le=1e13,
    )
    egress_bytes_per_s: float = param(3.0e8, "what an agent sends at most", gt=0, le=1e13)
    ingress_bytes_per_s: float = param(3.0e8, "what an agent receives at most", gt=0, le=1e13)
    burst_s: float = param(1.0, "of those rates that their token buckets save", ge=0, le=60)
    piece_bytes: int = param(4 * 2**20, "of one piece", ge=4096, le=2**32)
    pipeline: int = param(3, "pieces asked for over one connection at a time", ge=1, le=1000)
    trackers: int = param(5, "servers that tell agents of each other; a blob has one of them", ge=1, le=1000)
    announce_s: float = param(2.0e-4, "time of one announcement on its tracker", unverified=True, ge=0, le=10)
    announce_every_s: float = param(3.0, "an agent announces one of its unfinished blobs so often", gt=0, le=3600)
    handout: int = param(50, "peers in a tracker's answer", ge=1, le=10_000)
    latency_s: float = param(5.0e-4, "one way between two hosts, software included", unverified=True, ge=0, le=10)

    def rules(self) -> Rules:
        """How its peers behave."""
        raise NotImplementedError

    def servers(self, nodes: int) -> tuple[float, ...]:
        return (self.origin_bytes_per_s,) * self.origins

    def connect(self, site: Site) -> ImageSource:
        return _Peers(site, self)


class _Peers(ImageSource):
    """Drives the exchange: while anybody downloads it advances by slices, ahead of the clock, and ends fire at their own time."""

    def __init__(self, site: Site, spec: PeerToPeer) -> None:
        from sim.images.piece_exchange import PieceExchange

        super().__init__(site, spec)
        self._peers = spec
        self._nodes = site.nodes
        hosts = site.nodes + spec.origins
        self._nic = np.full(hosts, float(site.nic_bytes_per_s))
        self._nic[site.nodes :] = spec.origin_bytes_per_s
        self._egress = np.where(np.arange(hosts) < site.nodes, spec.egress_bytes_per_s, spec.origin_bytes_per_s)
        self._ingress = np.where(np.arange(hosts) < site.nodes, spec.ingress_bytes_per_s, spec.origin_bytes_per_s)
        seed = int(site.streams("images.peers").integers(2**62))
        self.exchange = PieceExchange(spec.rules(), self._egress, self._ingress, self._nic, seed)
        self._store = None
        if spec.back_end_bytes_per_s is not None:
            self._store = Machine(site.clock, "origins' store", "images", 1, spec.back_end_bytes_per_s)
        self._swarms: dict[str, int] = {}
        self._cached: dict[str, Event] = {}
        self._waiting: dict[int, Event] = {}
        self._members: dict[int, dict[int, int]] = {}
        """Of each node: its member of each swarm."""
        self._broken: dict[int, list[tuple[int, Event]]] = {}
        """Of each node that is away: the downloads that this broke off."""
        self._own = np.zeros(0 if self.fabric is None else len(self.fabric.underlay.capacity))
        """What the peers were last said to put on each link."""
        self._read_s, self._read_bytes = 0.0, np.zeros((2, hosts))
        self._running = False
        self._ahead_s = 0.0
        """The exchange has been advanced to here."""
        self._origins = Meter(site.clock, "origins' uplinks", "images", spec.origins * spec.origin_bytes_per_s)
        self.meters = [self._origins, *([self._store.meter] if self._store else [])]

    def fetch(self, node: Node, layer: Layer, size_bytes: float) -> Process:
        if not size_bytes:
            return
        if self._store is not None:
            cached = self._cached.get(layer.digest)
            if cached is None:
                cached = self._cached[layer.digest] = self._store.work(layer.size_bytes)
            yield cached
        swarm = self._swarms.get(layer.digest)
        if swarm is None:
            swarm = self._swarms[layer.digest] = self._new_swarm(layer)
        done = Event(self.clock)
        if node.index in self._broken:
            self._broken[node.index].append((swarm, done))
        else:
            self._join(node.index, swarm, done)
        yield done
        self.sent_bytes += size_bytes

    def _join(self, node: int, swarm: int, done: Event) -> None:
        """The node begins to download a blob; `done` fires when it has it."""
        member = self.exchange.join(swarm, node, max(self.clock.now, self._ahead_s))
        self._waiting[member] = done
        self._members.setdefault(node, {})[swarm] = member
        if not self._running:
            self._running = True
            self.clock.start(self._run())

    def node_lost(self, node: int) -> None:
        broken = self._broken.setdefault(node, [])
        for swarm, member in self._members.pop(node, {}).items():
            self.exchange.leave(member)
            if (done := self._waiting.pop(member, None)) is not None:
                broken.append((swarm, done))

    def node_back(self, node: int) -> None:
        """What it had of a blob it fetches anew; whole blobs it serves no more."""
        for swarm, done in self._broken.pop(node, []):
            self._join(node, swarm, done)

    def _new_swarm(self, layer: Layer) -> int:
        """A blob's origins and its tracker are those that its digest hashes to."""
        spec, place = self._peers, zlib.crc32(layer.digest.encode())
        origins = [self._nodes + (place + copy) % spec.origins for copy in range(min(spec.copies, spec.origins))]
        return self.exchange.add_swarm(layer.size_bytes, origins, place % spec.trackers)

    def _run(self) -> Process:
        """Process: while peers are under way."""
        clock, exchange = self.clock, self.exchange
        while exchange.active:
            self._share_interfaces()
            self._ahead_s = clock.now + SLICE_S
            before = exchange.from_origins_bytes
            for member, at_s in exchange.advance(self._ahead_s):
                clock.at(max(0.0, at_s - clock.now), partial(_end, self._waiting.pop(member)))
            sent = (exchange.from_origins_bytes - before) / SLICE_S
            self._origins.level(min(sent, self._origins.capacity), 0)
            yield clock.timeout(SLICE_S)
        self._origins.level(0, 0)
        self._running = False

    def _share_interfaces(self) -> None:
        """Peers have what flows and other steady loads leave of each host's interface and of its rack's uplinks."""
        if self.fabric is None:
            return
        underlay = self.fabric.underlay
        capacity, load = self.fabric.link_loads()
        free = np.maximum(capacity + self._own - load, LEAST_SHARE * underlay.capacity)
        hosts = np.arange(len(self._nic))
        out, into = free[2 * hosts], free[2 * hosts + 1]
        if underlay.spec.topology != "flat":
            rack = hosts // underlay.spec.rack_nodes
            trunks = free[2 * underlay.hosts :][: 2 * underlay.racks * underlay.spec.spines]
            trunks = trunks.reshape(underlay.racks, underlay.spec.spines, 2).sum(axis=1)
            busy = np.maximum(1, np.bincount(rack, self.exchange.under_way() > 0, underlay.racks))
            each = trunks / (busy * np.maximum(self._leaving(underlay), 1e-9))[:, None]
            out, into = np.minimum(out, each[rack, 0]), np.minimum(into, each[rack, 1])
        self.exchange.set_rates(np.minimum(self._egress, out), np.minimum(self._ingress, into), self._nic)

    def _leaving(self, underlay: Underlay) -> np.ndarray:
        """Share of what the hosts of each rack send that leaves it: peers are taken to be anywhere. float64 a rack."""
        inside = np.bincount(np.arange(len(self._nic)) // underlay.spec.rack_nodes, minlength=underlay.racks)
        return 1 - (inside - 1) / max(1, len(self._nic) - 1)

    def link_load(self) -> np.ndarray:
        load = super().link_load()
        now_s, sent = self.clock.now, self.exchange.host_bytes
        since_s = max(now_s - self._read_s, SLICE_S)
        out, into = (sent - self._read_bytes) / since_s
        self._read_s, self._read_bytes = now_s, sent
        assert self.fabric is not None
        underlay = self.fabric.underlay
        hosts = np.arange(len(self._nic))
        load[2 * hosts], load[2 * hosts + 1] = out, into
        if underlay.spec.topology != "flat":
            rack, leaving = hosts // underlay.spec.rack_nodes, self._leaving(underlay)
            spines = underlay.spec.spines
            for way, rate in enumerate((out, into)):
                trunks = np.bincount(rack, rate, underlay.racks) * leaving / spines
                first = 2 * underlay.hosts + way
                load[first : first + 2 * underlay.racks * spines : 2] = np.repeat(trunks, spines)
        self._own = load
        return load


def _end(done: Event, _: Alarm) -> None:
    fire(done)
