"""Events do not stay: each is attached to a lease of etcd and goes with it.

The API server grants one lease for all events of a minute, or for a thousand of them, so an event lives from its TTL to a
minute longer. Source: Kubernetes 1.20 source, etcd3 lease manager.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.storage import Storage
from sim.engine.clock import Clock
from sim.etcd.leases import LeaseTable

EVENTS = "events"
REUSE_S = 60.0
MOST_EVENTS = 1000


class EventLeases:
    """Leases for the events of one cluster. ttl_s: how long an event is kept."""

    def __init__(self, clock: Clock, storage: Storage, ttl_s: float) -> None:
        self._clock = clock
        self._storage = storage
        self._ttl_s = ttl_s
        self.leases = LeaseTable(clock, storage.of(EVENTS), self._expired)
        self._lease = 0
        self._until_s = -1.0
        self._attached = 0
        self._waiting = 0
        """Events stored while their lease is being granted."""
        storage.on_added[EVENTS] = self.stored

    def stored(self, count: int) -> None:
        """`count` more events are stored; negative: they have gone."""
        if count < 0:
            return
        if self._waiting:
            self._waiting += count
        elif self._clock._now > self._until_s or self._attached >= MOST_EVENTS:
            self._waiting = count
            self._clock.start(self._grant())
        else:
            self._attach(count)

    def _attach(self, count: int) -> None:
        self._attached += count
        self.leases.attach(self._lease, count)

    def _grant(self) -> Generator[Event, Any, None]:
        lease = 0
        while not lease:
            lease, error = yield from self.leases.grant(self._ttl_s + REUSE_S)
            if error:
                yield self._clock.timeout(1.0)
        self._lease, self._attached = lease, 0
        self._until_s = self._clock._now + REUSE_S
        waiting, self._waiting = self._waiting, 0
        self._attach(waiting)

    def _expired(self, _: int, keys: int) -> None:
        self._storage.add(EVENTS, "", -keys)
