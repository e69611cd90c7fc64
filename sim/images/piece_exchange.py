"""Peer-to-peer distribution, piece by piece: who is connected to whom, who asks whom for which piece, and when it is there.

The rules are Kraken's agents' (uber/kraken source: scheduler, dispatch, connection state, bandwidth limiter): a tracker hands out
peers, an agent keeps a limited number of connections a blob, asks over each for some pieces at a time, the rarest first, and
tells its neighbours of each piece it gets; egress and ingress of a host pass a token bucket and its interface, in the order
of asking. All hosts and blobs advance together in one compiled loop over an event heap; `PlainExchange` is its slow twin.

A blob is cut into equal pieces, at most `MOST_PIECES`: in a larger one each stands for several. Pieces of twice the size make a
download about a tenth longer (tested on 20 hosts), so beyond 4 GiB, at Kraken's piece size, times come out too long by that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.kernels import compiled, rule, warmer

MOST_PIECES = 1024
REMEMBERED = 32
"""Refusals that a member remembers."""
ANNOUNCE, ANSWER, ARRIVE, DONE = 0, 1, 2, 3
"""Kinds of event: a member asks its tracker; is answered; a piece reaches its interface; has passed its limits."""

# Columns of `members` (int32): what a member is, and how it stands.
HOST, SWARM, LEFT, COUNT, ORIGIN, GONE, FIRST, REFUSALS = range(8)
# Columns of `hosts` (float64): token buckets in virtual time, interfaces, their rates; blobs that the host downloads now; when its
# announcer ticks; bytes that it has sent and received.
(
    EGRESS_S,
    INGRESS_S,
    SENT_UNTIL_S,
    RECEIVED_UNTIL_S,
    EGRESS_RATE,
    INGRESS_RATE,
    NIC_RATE,
    UNDER_WAY,
    PHASE_S,
    SENT,
    RECEIVED,
) = range(11)
# Columns of `swarms` (float64).
PIECES, PIECE_BYTES, TRACKER, MEMBERS = 0, 1, 2, 3
# Entries of `totals` (float64).
SENT_BYTES, FROM_ORIGINS_BYTES, WASTED_BYTES, NEWEST = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Rules:
    """How peers behave. open_connections: up to so many a blob a member opens itself; most_connections: it accepts."""

    piece_bytes: float
    open_connections: int
    most_connections: int
    pipeline: int
    endgame: int
    handout: int
    announce_every_s: float
    announce_s: float
    """Time of one announcement on its tracker."""
    latency_s: float
    burst_s: float
    """Of its own rate that a host's token bucket saves."""
    trackers: int
    informed: bool = False
    """The tracker hands out only peers that still accept connections (Dragonfly's scheduler); else a peer may refuse."""
    refused_for_s: float = 30.0
    """So long a peer that refused is not asked again."""

    def numbers(self) -> np.ndarray:
        """float64, as the loop reads them."""
        return np.array(
            [
                self.open_connections,
                self.most_connections,
                self.pipeline,
                self.endgame,
                self.handout,
                self.announce_every_s,
                self.announce_s,
                self.latency_s,
                self.burst_s,
                self.informed,
                self.refused_for_s,
            ]
        )


def phases(seed: int, hosts: int) -> np.ndarray:
    """Shares of a period by which the hosts' announcers are out of step, float64 in [0, 1)."""
    return np.random.default_rng(seed).random(hosts)


@rule
def draw(random, below):
    """A whole number in [0, below): xorshift on the given state."""
    x = random[0]
    x ^= (x << np.uint64(13)) & np.uint64(0xFFFFFFFFFFFFFFFF)
    x ^= x >> np.uint64(7)
    x ^= (x << np.uint64(17)) & np.uint64(0xFFFFFFFFFFFFFFFF)
    random[0] = x
    return np.int64((x >> np.uint64(11)) % np.uint64(below))


@rule
def push(heap, what, size, totals, time_s, kind, member, slot, sender, piece):
    """Add an event; events of one instant keep their order. Rows of `heap`: time, number; of `what`: the event."""
    at = size[0]
    size[0] += 1
    number = totals[NEWEST]
    totals[NEWEST] += 1
    while at > 0:
        above = (at - 1) >> 1
        if heap[above, 0] < time_s or (heap[above, 0] == time_s and heap[above, 1] < number):
            break
        heap[at, 0], heap[at, 1] = heap[above, 0], heap[above, 1]
        for column in range(5):
            what[at, column] = what[above, column]
        at = above
    heap[at, 0], heap[at, 1] = time_s, number
    what[at, 0], what[at, 1], what[at, 2], what[at, 3], what[at, 4] = kind, member, slot, sender, piece


@rule
def drop_first(heap, what, size):
    """Take the first event off the heap."""
    size[0] -= 1
    last = size[0]
    time_s, number = heap[last, 0], heap[last, 1]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= last:
            break
        right = below + 1
        if right < last and (
            heap[right, 0] < heap[below, 0] or (heap[right, 0] == heap[below, 0] and heap[right, 1] < heap[below, 1])
        ):
            below = right
        if heap[below, 0] > time_s or (heap[below, 0] == time_s and heap[below, 1] > number):
            break
        heap[at, 0], heap[at, 1] = heap[below, 0], heap[below, 1]
        for column in range(5):
            what[at, column] = what[below, column]
        at = below
    heap[at, 0], heap[at, 1] = time_s, number
    for column in range(5):
        what[at, column] = what[last, column]


@rule
def ask(heap, what, size, totals, numbers, hosts, swarms, members, peer, pending, wanted, asked, now_s, m, k, piece):
    """Member m asks over its connection k for a piece; the sender's limits decide when it arrives."""
    s = peer[m, k]
    swarm = members[m, SWARM]
    bytes_ = swarms[swarm, PIECE_BYTES]
    slot = 0
    while wanted[m, k, slot] >= 0:
        slot += 1
    wanted[m, k, slot] = piece
    pending[m, k] += 1
    asked[members[m, FIRST] + piece] += 1
    host = members[s, HOST]
    at_s = now_s + numbers[7]
    hosts[host, EGRESS_S] = max(hosts[host, EGRESS_S], at_s - numbers[8]) + bytes_ / hosts[host, EGRESS_RATE]
    hosts[host, SENT_UNTIL_S] = max(hosts[host, SENT_UNTIL_S], at_s) + bytes_ / hosts[host, NIC_RATE]
    sent_s = max(at_s, hosts[host, EGRESS_S], hosts[host, SENT_UNTIL_S])
    push(heap, what, size, totals, sent_s + numbers[7], ARRIVE, m, k, s, piece)


@rule
def may_ask(numbers, members, have, wanted, asked, m, k, piece):
    """Whether m lacks a piece and may ask for it over k: nobody else was asked, or it is among the last few."""
    at = members[m, FIRST] + piece
    if have[at]:
        return False
    if asked[at] == 0:
        return True
    if members[m, LEFT] > numbers[3]:
        return False
    found = False
    for slot in range(wanted.shape[2]):
        found = found or wanted[m, k, slot] == piece
    return not found


@rule
def refill(
    heap,
    what,
    size,
    totals,
    numbers,
    hosts,
    swarms,
    members,
    peer,
    pending,
    wanted,
    have,
    asked,
    known,
    random,
    now_s,
    m,
    k,
):
    """Ask over k for the rarest pieces that its peer has, as many as may be under way."""
    s = peer[m, k]
    count = np.int64(swarms[members[m, SWARM], PIECES])
    theirs, ours = members[s, FIRST], members[m, FIRST]
    while pending[m, k] < numbers[2] and members[m, LEFT] > 0:
        best, rarest = -1, 1 << 30
        start = draw(random, count)
        for step in range(count):
            piece = start + step
            if piece >= count:
                piece -= count
            fits = have[theirs + piece] and not have[ours + piece] and known[ours + piece] < rarest
            if fits and may_ask(numbers, members, have, wanted, asked, m, k, piece):
                best, rarest = piece, known[ours + piece]
        if best < 0:
            return
        ask(heap, what, size, totals, numbers, hosts, swarms, members, peer, pending, wanted, asked, now_s, m, k, best)


@rule
def connect(members, swarms, peer, back, pending, wanted, have, known, m, n):
    """Connect two members; returns their slots."""
    k = 0
    while peer[m, k] >= 0:
        k += 1
    j = 0
    while peer[n, j] >= 0:
        j += 1
    peer[m, k], peer[n, j], back[m, k], back[n, j] = n, m, j, k
    pending[m, k] = pending[n, j] = 0
    for slot in range(wanted.shape[2]):
        wanted[m, k, slot] = wanted[n, j, slot] = -1
    members[m, COUNT] += 1
    members[n, COUNT] += 1
    ours, theirs = members[m, FIRST], members[n, FIRST]
    for piece in range(np.int64(swarms[members[m, SWARM], PIECES])):
        known[ours + piece] += have[theirs + piece]
        known[theirs + piece] += have[ours + piece]
    return k, j


@compiled
def advance(
    until_s,
    heap,
    what,
    size,
    totals,
    numbers,
    hosts,
    swarms,
    trackers_s,
    members,
    roster,
    peer,
    back,
    pending,
    wanted,
    have,
    asked,
    known,
    refused,
    refused_s,
    random,
    ended,
    ended_s,
):
    """Handle all events up to `until_s`; returns how many members became complete (`ended`, `ended_s`)."""
    found = 0
    most = peer.shape[1]
    while size[0] and heap[0, 0] <= until_s:
        now_s = heap[0, 0]
        kind, m, k, s, piece = what[0, 0], what[0, 1], what[0, 2], what[0, 3], what[0, 4]
        drop_first(heap, what, size)
        if members[m, GONE] or (kind >= ARRIVE and members[s, GONE]):
            continue
        swarm = members[m, SWARM]
        if kind == ANNOUNCE:
            if members[m, LEFT] == 0:
                continue
            tracker = np.int64(swarms[swarm, TRACKER])
            trackers_s[tracker] = max(trackers_s[tracker], now_s + numbers[7]) + numbers[6]
            push(heap, what, size, totals, trackers_s[tracker] + numbers[7], ANSWER, m, 0, 0, piece)
            phase_s, every_s = hosts[members[m, HOST], PHASE_S], numbers[5]
            next_s = phase_s + (np.floor((now_s - phase_s) / every_s + 1e-9) + 1) * every_s
            # each tick of the host's announcer is one blob's: who joins waits for those before it, then they take turns
            before = k if piece == 0 else max(0.0, hosts[members[m, HOST], UNDER_WAY] - 1)
            push(heap, what, size, totals, next_s + before * every_s, ANNOUNCE, m, 0, 0, piece + 1)
        elif kind == ANSWER:
            if members[m, LEFT] == 0:
                continue
            if not piece:  # its first announcement makes it known to others
                roster[swarm, np.int64(swarms[swarm, MEMBERS])] = m
                swarms[swarm, MEMBERS] += 1
            count = np.int64(swarms[swarm, MEMBERS])
            sample = np.empty(np.int64(numbers[4]), np.int64)
            for place in range(len(sample)):
                sample[place] = roster[swarm, draw(random, count)]
            attempts = numbers[0] - members[m, COUNT]  # it dials as many at once as it has room for
            for turn in range(3):  # whole copies first, then origins, then those under way
                places = count if turn == 1 else len(sample)
                for place in range(places):
                    if attempts <= 0:
                        break
                    if turn == 1:
                        n = roster[swarm, place]
                        if not members[n, ORIGIN]:
                            break  # origins stand first
                    else:
                        n = sample[place]
                        if members[n, ORIGIN] or (members[n, LEFT] == 0) != (turn == 0):
                            continue
                    if n == m or members[n, GONE]:
                        continue
                    skip = False
                    for slot in range(most):
                        skip = skip or peer[m, slot] == n
                    for slot in range(REMEMBERED):
                        skip = skip or (refused[m, slot] == n and refused_s[m, slot] > now_s - numbers[10])
                    full = members[n, COUNT] >= numbers[1]
                    if skip or (full and numbers[9] > 0):
                        continue
                    attempts -= 1
                    if full:
                        slot = members[m, REFUSALS] % REMEMBERED
                        refused[m, slot], refused_s[m, slot] = n, now_s
                        members[m, REFUSALS] += 1
                        continue
                    mine, theirs = connect(members, swarms, peer, back, pending, wanted, have, known, m, n)
                    refill(heap, what, size, totals, numbers, hosts, swarms, members, peer, pending, wanted, have, asked,
                           known, random, now_s, m, mine)  # fmt: skip
                    refill(heap, what, size, totals, numbers, hosts, swarms, members, peer, pending, wanted, have, asked,
                           known, random, now_s, n, theirs)  # fmt: skip
        elif kind == ARRIVE:
            host = members[m, HOST]
            bytes_ = swarms[swarm, PIECE_BYTES]
            hosts[host, INGRESS_S] = (
                max(hosts[host, INGRESS_S], now_s - numbers[8]) + bytes_ / hosts[host, INGRESS_RATE]
            )
            on_wire_s = bytes_ / hosts[host, NIC_RATE]
            hosts[host, RECEIVED_UNTIL_S] = max(hosts[host, RECEIVED_UNTIL_S], now_s - on_wire_s) + on_wire_s
            in_s = max(now_s, hosts[host, INGRESS_S], hosts[host, RECEIVED_UNTIL_S])
            push(heap, what, size, totals, in_s, DONE, m, k, s, piece)
        else:
            at = members[m, FIRST] + piece
            bytes_ = swarms[swarm, PIECE_BYTES]
            totals[SENT_BYTES] += bytes_
            hosts[members[s, HOST], SENT] += bytes_
            hosts[members[m, HOST], RECEIVED] += bytes_
            if members[s, ORIGIN]:
                totals[FROM_ORIGINS_BYTES] += bytes_
            asked[at] -= 1
            connected = peer[m, k] == s
            if connected:
                pending[m, k] -= 1
                for slot in range(wanted.shape[2]):
                    if wanted[m, k, slot] == piece:
                        wanted[m, k, slot] = -1
                        break
            if have[at]:
                totals[WASTED_BYTES] += bytes_
                continue
            have[at] = 1
            members[m, LEFT] -= 1
            if members[m, LEFT] == 0:
                hosts[members[m, HOST], UNDER_WAY] -= 1
                ended[found], ended_s[found] = m, now_s
                found += 1
                for slot in range(most):
                    n = peer[m, slot]
                    if n >= 0 and members[n, LEFT] == 0:  # two whole copies have nothing to tell each other
                        peer[n, back[m, slot]] = -1
                        peer[m, slot] = -1
                        members[m, COUNT] -= 1
                        members[n, COUNT] -= 1
            for slot in range(most):
                n = peer[m, slot]
                if n < 0:
                    continue
                known[members[n, FIRST] + piece] += 1
                if n == s:
                    continue
                j = back[m, slot]
                if pending[n, j] < numbers[2] and may_ask(numbers, members, have, wanted, asked, n, j, piece):
                    ask(heap, what, size, totals, numbers, hosts, swarms, members, peer, pending, wanted, asked, now_s, n,
                        j, piece)  # fmt: skip
            if connected and members[m, LEFT] > 0 and peer[m, k] == s:
                refill(heap, what, size, totals, numbers, hosts, swarms, members, peer, pending, wanted, have, asked, known,
                       random, now_s, m, k)  # fmt: skip
    return found


class PieceExchange:
    """All blobs and hosts of one peer-to-peer network.

    egress, ingress, nic: bytes/s a host (float64). seed: of the peers' own choices. Time only goes forward, by `advance`.
    """

    def __init__(self, rules: Rules, egress: np.ndarray, ingress: np.ndarray, nic: np.ndarray, seed: int) -> None:
        self.rules = rules
        self._numbers = rules.numbers()
        self._hosts = np.zeros((len(nic), 11))
        self._hosts[:, :4] = -rules.burst_s
        self.set_rates(egress, ingress, nic)
        self._random = np.array([seed | 1], np.uint64)
        self._hosts[:, PHASE_S] = phases(seed, len(nic)) * rules.announce_every_s
        self._swarms = np.zeros((0, 4))
        self._trackers_s = np.zeros(rules.trackers)
        self._roster = np.zeros((0, 16), np.int32)
        self._members = np.zeros((0, 8), np.int32)
        self._heap, self._what = np.zeros((1024, 2)), np.zeros((1024, 5), np.int32)
        self._size = np.zeros(1, np.int64)
        self._totals = np.zeros(4)
        self._peer = np.full((0, rules.most_connections), -1, np.int32)
        self._back = np.full((0, rules.most_connections), -1, np.int32)
        self._pending = np.zeros((0, rules.most_connections), np.int32)
        self._refused = np.full((0, REMEMBERED), -1, np.int32)
        self._refused_s = np.zeros((0, REMEMBERED))
        self._wanted = np.full((0, rules.most_connections, rules.pipeline), -1, np.int32)
        self._have, self._asked, self._known = np.zeros(0, np.uint8), np.zeros(0, np.int16), np.zeros(0, np.int16)
        self._joined: list[int] = []
        """Members of each swarm, also those that have not announced themselves."""
        self._count = 0
        self._used = 0
        self.active = 0
        """Members under way."""

    def set_rates(self, egress: np.ndarray, ingress: np.ndarray, nic: np.ndarray) -> None:
        """What hosts may send and receive from now on."""
        self._hosts[:, EGRESS_RATE], self._hosts[:, INGRESS_RATE], self._hosts[:, NIC_RATE] = egress, ingress, nic

    @property
    def sent_bytes(self) -> float:
        """Bytes that have arrived."""
        return float(self._totals[SENT_BYTES])

    def under_way(self) -> np.ndarray:
        """Blobs that each host downloads now, float64 a host."""
        return self._hosts[:, UNDER_WAY]

    @property
    def host_bytes(self) -> np.ndarray:
        """Bytes that each host has sent and received, float64[2, hosts], a copy."""
        return self._hosts[:, [SENT, RECEIVED]].T.copy()

    @property
    def from_origins_bytes(self) -> float:
        """Of those, bytes that origins have sent."""
        return float(self._totals[FROM_ORIGINS_BYTES])

    @property
    def wasted_bytes(self) -> float:
        """Of those, pieces that came twice."""
        return float(self._totals[WASTED_BYTES])

    def add_swarm(self, size_bytes: float, origins: Sequence[int], tracker: int) -> int:
        """A blob that the hosts `origins` hold; returns its number."""
        pieces = min(MOST_PIECES, max(1, -(-int(size_bytes) // int(self.rules.piece_bytes))))
        swarm = len(self._swarms)
        self._swarms = np.vstack([self._swarms, [[pieces, size_bytes / pieces, tracker, 0]]])
        self._roster = np.vstack([self._roster, np.zeros((1, self._roster.shape[1]), np.int32)])
        self._joined.append(0)
        for host in origins:
            self._add(swarm, host, origin=True)
        return swarm

    def join(self, swarm: int, host: int, at_s: float) -> int:
        """A host begins to download a blob: it announces itself to the tracker at `at_s`. Returns the member's number."""
        member = self._add(swarm, host, origin=False)
        self.active += 1
        before = int(self._hosts[host, UNDER_WAY])
        self._hosts[host, UNDER_WAY] += 1
        self._reserve_heap()
        push(self._heap, self._what, self._size, self._totals, float(at_s), ANNOUNCE, member, before, 0, 0)
        return member

    def leave(self, member: int) -> None:
        """The member's host is gone: its connections end, and what was asked of it is asked of others."""
        members = self._members
        if members[member, GONE]:
            return
        members[member, GONE] = 1
        under_way = int(members[member, LEFT] > 0)
        self.active -= under_way
        self._hosts[members[member, HOST], UNDER_WAY] -= under_way
        pieces = int(self._swarms[members[member, SWARM], PIECES])
        ours = slice(members[member, FIRST], members[member, FIRST] + pieces)
        for slot in np.flatnonzero(self._peer[member] >= 0).tolist():
            other, back = int(self._peer[member, slot]), int(self._back[member, slot])
            first = int(members[other, FIRST])
            self._known[first : first + pieces] -= self._have[ours]
            for piece in self._wanted[other, back].tolist():
                if piece >= 0:
                    self._asked[first + piece] -= 1
            self._peer[other, back] = -1
            members[other, COUNT] -= 1
        self._peer[member] = -1

    def advance(self, until_s: float) -> list[tuple[int, float]]:
        """Go on to `until_s`; returns members that became complete, and when."""
        self._reserve_heap()
        ended, ended_s = np.zeros(max(1, self.active), np.int64), np.zeros(max(1, self.active))
        found = advance(
            until_s, self._heap, self._what, self._size, self._totals, self._numbers, self._hosts, self._swarms,
            self._trackers_s, self._members, self._roster, self._peer, self._back, self._pending, self._wanted, self._have,
            self._asked, self._known, self._refused, self._refused_s, self._random, ended, ended_s,
        )  # fmt: skip
        self.active -= found
        return list(zip(ended[:found].tolist(), ended_s[:found].tolist(), strict=True))

    def _add(self, swarm: int, host: int, origin: bool) -> int:
        pieces = int(self._swarms[swarm, PIECES])
        if self._count == len(self._members):
            more = max(64, self._count)
            self._members = np.concatenate([self._members, np.zeros((more, 8), np.int32)])
            self._peer, self._back, self._wanted, self._refused = (
                np.concatenate([old, np.full((more, *old.shape[1:]), -1, np.int32)])
                for old in (self._peer, self._back, self._wanted, self._refused)
            )
            self._refused_s = np.concatenate([self._refused_s, np.zeros((more, REMEMBERED))])
            self._pending = np.concatenate([self._pending, np.zeros((more, self._pending.shape[1]), np.int32)])
        if self._used + pieces > len(self._have):
            extra = max(pieces, len(self._have), 4096)
            self._have = np.concatenate([self._have, np.zeros(extra, np.uint8)])
            self._asked, self._known = (
                np.concatenate([old, np.zeros(extra, np.int16)]) for old in (self._asked, self._known)
            )
        member = self._count
        self._members[member] = (host, swarm, 0 if origin else pieces, 0, origin, 0, self._used, 0)
        if origin:
            self._have[self._used : self._used + pieces] = 1
        self._used += pieces
        self._count += 1
        self._joined[swarm] += 1
        if self._joined[swarm] == self._roster.shape[1]:
            self._roster = np.concatenate([self._roster, np.zeros_like(self._roster)], axis=1)
        if origin:
            self._roster[swarm, int(self._swarms[swarm, MEMBERS])] = member
            self._swarms[swarm, MEMBERS] += 1
        return member

    def _reserve_heap(self) -> None:
        """Room for all that may be under way: each connection's pieces, and announcements with their answers."""
        rules = self.rules
        most = int(self._size[0]) + self._count * (rules.most_connections * rules.pipeline + 4) + 8
        if most > len(self._heap):
            extra = 2 * most - len(self._heap)
            self._heap = np.concatenate([self._heap, np.zeros((extra, 2))])
            self._what = np.concatenate([self._what, np.zeros((extra, 5), np.int32)])


@warmer
def _warm() -> None:
    rules = Rules(1.0, 2, 2, 1, 1, 2, 1.0, 0.0, 0.0, 0.0, 1)
    exchange = PieceExchange(rules, np.ones(2), np.ones(2), np.ones(2), 1)
    exchange.join(exchange.add_swarm(1.0, [0], 0), 1, 0.0)
    exchange.advance(10.0)
