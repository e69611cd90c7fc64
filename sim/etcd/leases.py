"""etcd's leases: keys that live only as long as someone renews them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from heapq import heappop, heappush
from math import ceil
from typing import Any

from simpy.events import AnyOf, Event

from sim.engine.clock import Clock, fire
from sim.etcd.errors import NO_LEASE, OK
from sim.etcd.store import Etcd

EXPIRY_PERIOD_S = 0.5
"""The leader looks for expired leases this often (etcd 3.4 to 3.6 source, lessor)."""
REVOKES_PER_PERIOD = 500
"""And revokes at most this many each time: 1000 a second (same source)."""


class _Lease:
    __slots__ = ("expires_s", "keys", "ttl_s")

    def __init__(self, ttl_s: float, expires_s: float) -> None:
        self.ttl_s = ttl_s
        self.expires_s = expires_s
        self.keys = 0


class LeaseTable:
    """Leases of one group. The leader keeps their time in memory; granting and revoking are writes, renewing is not.

    A new leader gives every lease its whole time again, since it does not know when each was last renewed, so a lease may
    live longer than its TTL but never shorter.
    on_expired: called with (lease, keys) when a lease's keys have been deleted for it.
    """

    def __init__(self, clock: Clock, etcd: Etcd, on_expired: Callable[[int, int], None] = lambda lease, keys: None) -> None:
        self._clock = clock
        self._etcd = etcd
        self._on_expired = on_expired
        self._leases: dict[int, _Lease] = {}
        self._heap: list[tuple[float, int]] = []
        self._next = 0
        self._watching = False
        self._earlier: Event | None = None
        """Fires when a lease has come that ends before all that are slept for."""
        spec = etcd.spec
        self.minimum_ttl_s = float(ceil(1.5 * spec.election_ticks * spec.heartbeat_s))
        """Shorter ones are made this long: one and a half elections, in whole seconds."""
        etcd.on_leader.append(self._promoted)

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, lease: int) -> bool:
        return lease in self._leases

    def grant(self, ttl_s: float) -> Generator[Event, Any, tuple[int, str]]:
        """Process: a new lease; ends with its number (0 when refused) and the answer."""
        answer = yield self._etcd.put()
        if answer:
            return 0, answer
        self._next += 1
        ttl_s = max(ttl_s, self.minimum_ttl_s)
        self._leases[self._next] = _Lease(ttl_s, self._clock._now + ttl_s)
        self._wait_for(self._next)
        return self._next, OK

    def attach(self, lease: int, keys: int) -> str:
        """`keys` keys, written already, go when the lease does."""
        if lease not in self._leases:
            return NO_LEASE
        self._leases[lease].keys += keys
        return OK

    def keep_alive(self, lease: int) -> str:
        """Renew: the lease's whole time begins again. Answered by the leader from memory."""
        found = self._leases.get(lease)
        if found is None or self._etcd.leader < 0:
            return NO_LEASE
        found.expires_s = self._clock._now + found.ttl_s
        return OK

    def revoke(self, lease: int) -> Generator[Event, Any, str]:
        """Process: end the lease and delete its keys."""
        found = self._leases.get(lease)
        if found is None:
            return NO_LEASE
        answer: str = yield self._etcd.put(count=max(1, found.keys), keys=-found.keys or -1)
        if answer == OK and self._leases.pop(lease, None) is not None:
            self._on_expired(lease, found.keys)
        return answer

    def _promoted(self) -> None:
        now = self._clock._now
        for lease in self._leases.values():
            lease.expires_s = now + lease.ttl_s

    def _wait_for(self, lease: int) -> None:
        heappush(self._heap, (self._leases[lease].expires_s, lease))
        if not self._watching:
            self._watching = True
            self._clock.start(self._expire())
        elif self._heap[0][1] == lease and self._earlier is not None:
            earlier, self._earlier = self._earlier, None
            fire(earlier)

    def _expire(self) -> Generator[Event, Any, None]:
        """Process: looks every `EXPIRY_PERIOD_S`, and sleeps until the first lease can be due."""
        while self._heap:
            periods = max(1, ceil((self._heap[0][0] - self._clock._now) / EXPIRY_PERIOD_S - 1e-9))
            self._earlier = Event(self._clock)
            yield AnyOf(self._clock, [self._earlier, self._clock.timeout(periods * EXPIRY_PERIOD_S)])
            if self._earlier is None:
                continue  # look again how long to sleep
            self._earlier = None
            due: list[int] = []
            if self._etcd.leader >= 0:
                while self._heap and self._heap[0][0] <= self._clock._now and len(due) < REVOKES_PER_PERIOD:
                    _, lease = heappop(self._heap)
                    found = self._leases.get(lease)
                    if found is None:
                        continue
                    if found.expires_s > self._clock._now:  # renewed meanwhile
                        heappush(self._heap, (found.expires_s, lease))
                    else:
                        due.append(lease)
            for lease in due:
                answer = yield from self.revoke(lease)
                if answer not in (OK, NO_LEASE):  # try again at the next look
                    heappush(self._heap, (self._clock._now, lease))
        self._watching = False
