"""A watch that many alike clients have, such as all kubelets: each hears through the server that it is connected to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from sim.apiserver.watch import WatchHub
from sim.apiserver.watch_cache import Handler, MemberWatch


class Population:
    """One member a client; `member_of` says whose a row is, and only that member hears of it. Without it all hear of all.

    at: the server at which each member's watch is open; -1: at none, it misses what is stored.
    """

    def __init__(
        self,
        hub: WatchHub,
        resource: str,
        watcher: str,
        on: Mapping[str, Handler | None],
        at: np.ndarray,
        member_of: Callable[[int], int] | None = None,
    ) -> None:
        self.resource = resource
        self.at = at.copy()
        self._on = dict(on)
        self._member_of = member_of
        self._topic = hub.topic(resource)
        self._lost_now: set[int] = set()
        self._missed: dict[int, list[tuple[str, int]]] = {}
        self._watches = [
            MemberWatch(
                resource, watcher, {kind: self._guard(cache.server, kind) for kind in on}, member_of is not None, self
            )
            for cache in self._topic.caches
        ]
        self._count()
        for cache, watch in zip(self._topic.caches, self._watches, strict=True):
            cache.add(watch)

    @property
    def away(self) -> int:
        """Members whose watch is open nowhere."""
        return int((self.at < 0).sum())

    def lose(self, server: int) -> np.ndarray:
        """A server dies; returns the members whose watches that ends."""
        lost = np.flatnonzero(self.at == server)
        self.at[lost] = -1
        self._lost_now = set(lost.tolist())
        if self not in self._topic.away:
            self._topic.away.append(self)
        self._count()
        return lost

    def died(self) -> None:
        """What the dead server had not sent has been missed."""
        self._lost_now = set()

    def server_started(self, server: int) -> None:
        """The server has caches again."""
        cache = self._topic.caches[server]
        if self._watches[server] not in cache.watches:
            cache.add(self._watches[server])

    def back(self, members: np.ndarray, server: int) -> None:
        """These members watch at a server again; what they missed has reached them."""
        self.at[members] = server
        self._count()
        self._topic.caches[server].recount()
        if not self.away:
            self._topic.away.remove(self)
        for member in members.tolist():
            for kind, row in self._missed.pop(member, ()):
                handler = self._on[kind]
                if handler is not None:
                    handler(row)

    def miss(self, kind: str, row: int) -> None:
        """A change was stored: members that are away miss it."""
        if self._member_of is None or self._on.get(kind) is None:
            return
        member = self._member_of(row)
        if self.at[member] < 0:
            self._missed.setdefault(member, []).append((kind, row))

    def miss_now(self, kind: str, row: int) -> None:
        """A dying server had not sent this."""
        if self._member_of is not None and self._member_of(row) in self._lost_now:
            self.miss(kind, row)

    def _guard(self, server: int, kind: str) -> Handler | None:
        handler, member_of, at, cache = self._on[kind], self._member_of, self.at, self._topic.caches[server]
        if handler is None or member_of is None:
            return handler

        def hear(row: int) -> None:
            place = at[member_of(row)]
            if place == server:
                handler(row)
            elif place < 0 and not cache.live:  # its server died while this was on the way
                self.miss(kind, row)

        return hear

    def _count(self) -> None:
        """A member's event is encoded once: at each server, by its share of the members; where all hear of all, once for each."""
        counts = np.bincount(self.at[self.at >= 0], minlength=len(self._watches))
        whole = 1 if self._member_of is None else max(1, len(self.at))
        for watch, count in zip(self._watches, counts.tolist(), strict=True):
            watch.count = count / whole
