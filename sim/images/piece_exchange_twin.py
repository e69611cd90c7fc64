"""The slow twin of `piece_exchange`: the same rules with objects, sets and a heap, for small networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import floor

import numpy as np

from sim.images.piece_exchange import MOST_PIECES, REMEMBERED, Rules, phases


@dataclass
class _Host:
    egress: float
    ingress: float
    nic: float
    egress_s: float
    ingress_s: float
    sent_until_s: float
    received_until_s: float
    phase_s: float
    under_way: int = 0


@dataclass
class _Swarm:
    pieces: int
    piece_bytes: float
    tracker: int
    announced: list[_Member] = field(default_factory=list)


@dataclass
class _Link:
    """One end of a connection."""

    peer: _Member
    back: _Link | None = None
    wanted: list[int] = field(default_factory=list)


@dataclass(eq=False)
class _Member:
    number: int
    host: int
    swarm: _Swarm
    origin: bool
    have: set[int]
    gone: bool = False
    links: list[_Link | None] = field(default_factory=list)
    asked: dict[int, int] = field(default_factory=dict)
    refusals: list[tuple[_Member, float]] = field(default_factory=list)

    @property
    def left(self) -> int:
        return self.swarm.pieces - len(self.have)

    def open_links(self) -> list[_Link]:
        return [link for link in self.links if link is not None]

    def spread(self, piece: int) -> int:
        """How many of its neighbours have a piece."""
        return sum(piece in link.peer.have for link in self.open_links())


class PlainExchange:
    """As `PieceExchange`: same arguments, same answers."""

    def __init__(self, rules: Rules, egress: np.ndarray, ingress: np.ndarray, nic: np.ndarray, seed: int) -> None:
        self.rules = rules
        begin_s = -rules.burst_s
        self._hosts = [
            _Host(
                float(e), float(i), float(n), begin_s, begin_s, begin_s, begin_s, float(phase) * rules.announce_every_s
            )
            for e, i, n, phase in zip(egress, ingress, nic, phases(seed, len(nic)), strict=True)
        ]
        self._random = seed | 1
        self._swarms: list[_Swarm] = []
        self._members: list[_Member] = []
        self._trackers_s = [0.0] * rules.trackers
        self._events: list[tuple[float, int, str, tuple]] = []
        self._numbers = count()
        self.active = 0
        self.sent_bytes = 0.0

    def add_swarm(self, size_bytes: float, origins: Sequence[int], tracker: int) -> int:
        pieces = min(MOST_PIECES, max(1, -(-int(size_bytes) // int(self.rules.piece_bytes))))
        swarm = _Swarm(pieces, size_bytes / pieces, tracker)
        self._swarms.append(swarm)
        for host in origins:
            swarm.announced.append(self._add(swarm, host, True))
        return len(self._swarms) - 1

    def join(self, swarm: int, host: int, at_s: float) -> int:
        member = self._add(self._swarms[swarm], host, False)
        self.active += 1
        before = self._hosts[host].under_way
        self._hosts[host].under_way += 1
        self._push(at_s, "announce", member, 0, before)
        return member.number

    def leave(self, number: int) -> None:
        member = self._members[number]
        if member.gone:
            return
        member.gone = True
        if member.left:
            self.active -= 1
            self._hosts[member.host].under_way -= 1
        for link in member.open_links():
            assert link.back is not None
            for piece in link.back.wanted:
                link.peer.asked[piece] -= 1
            link.peer.links[link.peer.links.index(link.back)] = None
        member.links = [None] * len(member.links)

    def advance(self, until_s: float) -> list[tuple[int, float]]:
        ended: list[tuple[int, float]] = []
        while self._events and self._events[0][0] <= until_s:
            now_s, _, kind, what = heappop(self._events)
            if not any(isinstance(each, _Member) and each.gone for each in what):
                getattr(self, f"_{kind}")(now_s, ended, *what)
        return ended

    def _add(self, swarm: _Swarm, host: int, origin: bool) -> _Member:
        have = set(range(swarm.pieces)) if origin else set()
        member = _Member(len(self._members), host, swarm, origin, have, links=[None] * self.rules.most_connections)
        self._members.append(member)
        return member

    def _push(self, time_s: float, kind: str, *what: object) -> None:
        heappush(self._events, (time_s, next(self._numbers), kind, what))

    def _draw(self, below: int) -> int:
        x, mask = self._random, 0xFFFFFFFFFFFFFFFF
        x ^= (x << 13) & mask
        x ^= x >> 7
        x ^= (x << 17) & mask
        self._random = x
        return (x >> 11) % below

    # --- events

    def _announce(self, now_s: float, ended: list, member: _Member, turn: int, before: int) -> None:
        if not member.left:
            return
        rules, tracker = self.rules, member.swarm.tracker
        self._trackers_s[tracker] = max(self._trackers_s[tracker], now_s + rules.latency_s) + rules.announce_s
        self._push(self._trackers_s[tracker] + rules.latency_s, "answer", member, turn)
        host, every_s = self._hosts[member.host], rules.announce_every_s
        next_s = host.phase_s + (floor((now_s - host.phase_s) / every_s + 1e-9) + 1) * every_s
        others = before if turn == 0 else max(0, host.under_way - 1)
        self._push(next_s + others * every_s, "announce", member, turn + 1, 0)

    def _answer(self, now_s: float, ended: list, member: _Member, turn: int) -> None:
        if not member.left:
            return
        rules, known = self.rules, member.swarm.announced
        if turn == 0:
            known.append(member)
        sample = [known[self._draw(len(known))] for _ in range(rules.handout)]
        whole = [other for other in sample if not other.origin and not other.left]
        under_way = [other for other in sample if not other.origin and other.left]
        attempts = rules.open_connections - len(member.open_links())
        for other in (*whole, *(other for other in known if other.origin), *under_way):
            if attempts <= 0:
                break
            if other is member or other.gone or any(link.peer is other for link in member.open_links()):
                continue
            if any(who is other and since > now_s - rules.refused_for_s for who, since in member.refusals):
                continue
            full = len(other.open_links()) >= rules.most_connections
            if full and rules.informed:
                continue
            attempts -= 1
            if full:
                member.refusals = [*member.refusals, (other, now_s)][-REMEMBERED:]
                continue
            mine, theirs = _Link(other), _Link(member)
            mine.back, theirs.back = theirs, mine
            member.links[member.links.index(None)] = mine
            other.links[other.links.index(None)] = theirs
            self._refill(now_s, member, mine)
            self._refill(now_s, other, theirs)

    def _arrive(self, now_s: float, ended: list, member: _Member, link: _Link, sender: _Member, piece: int) -> None:
        host, size = self._hosts[member.host], member.swarm.piece_bytes
        host.ingress_s = max(host.ingress_s, now_s - self.rules.burst_s) + size / host.ingress
        wire_s = size / host.nic
        host.received_until_s = max(host.received_until_s, now_s - wire_s) + wire_s
        self._push(max(now_s, host.ingress_s, host.received_until_s), "done", member, link, sender, piece)

    def _done(self, now_s: float, ended: list, member: _Member, link: _Link, sender: _Member, piece: int) -> None:
        self.sent_bytes += member.swarm.piece_bytes
        member.asked[piece] -= 1
        connected = any(each is link for each in member.links)
        if connected and piece in link.wanted:
            link.wanted.remove(piece)
        if piece in member.have:
            return
        member.have.add(piece)
        if not member.left:
            ended.append((member.number, now_s))
            self.active -= 1
            self._hosts[member.host].under_way -= 1
            for each in member.open_links():
                if not each.peer.left:
                    each.peer.links = [None if other is each.back else other for other in each.peer.links]
                    member.links = [None if other is each else other for other in member.links]
        for each in member.open_links():
            back = each.back
            assert back is not None
            if each.peer is sender or len(back.wanted) >= self.rules.pipeline:
                continue
            if self._may_ask(each.peer, back, piece):
                self._ask(now_s, each.peer, back, piece)
        if connected and member.left and any(each is link for each in member.links):
            self._refill(now_s, member, link)

    # --- what members do

    def _may_ask(self, member: _Member, link: _Link, piece: int) -> bool:
        if piece in member.have:
            return False
        if not member.asked.get(piece):
            return True
        return member.left <= self.rules.endgame and piece not in link.wanted

    def _refill(self, now_s: float, member: _Member, link: _Link) -> None:
        pieces = member.swarm.pieces
        while len(link.wanted) < self.rules.pipeline and member.left:
            start = self._draw(pieces)
            order = [(start + step) % pieces for step in range(pieces)]
            may = [piece for piece in order if piece in link.peer.have and self._may_ask(member, link, piece)]
            if not may:
                return
            self._ask(now_s, member, link, min(may, key=member.spread))

    def _ask(self, now_s: float, member: _Member, link: _Link, piece: int) -> None:
        rules, host, size = self.rules, self._hosts[link.peer.host], member.swarm.piece_bytes
        link.wanted.append(piece)
        member.asked[piece] = member.asked.get(piece, 0) + 1
        at_s = now_s + rules.latency_s
        host.egress_s = max(host.egress_s, at_s - rules.burst_s) + size / host.egress
        host.sent_until_s = max(host.sent_until_s, at_s) + size / host.nic
        sent_s = max(at_s, host.egress_s, host.sent_until_s)
        self._push(sent_s + rules.latency_s, "arrive", member, link, link.peer, piece)
