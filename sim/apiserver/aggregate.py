"""Steady background load, aggregated: alike requests that nobody waits for are served a tick at a time.

100,000 nodes that renew their leases are not 100,000 processes but one, which every tick puts the exact
number of requests due on the same seats, cores and log, as many abreast as it takes to keep up. What this changes: the
requests of one tick meet in etcd's log at its end instead of spread over it, and share their fsync. On a machine that is
70 % busy, mostly with renewals, the waits of others come out about 15 % too low for it (p95: 20 %); less where they are few.
"""

from __future__ import annotations

from collections.abc import Generator
from math import inf
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from sim.apiserver.identity import Identity, as_identity
from sim.apiserver.pipeline import ApiServer
from sim.apiserver.request import RENEW_LEASE, Operation
from sim.engine.clock import Alarm, Clock

if TYPE_CHECKING:
    from sim.apiserver.replicas import Link, NodeLinks

SHORTEST_TICK_S = 0.01
"""About the time of a few writes, so that others hardly notice that a tick's requests come together."""
LONGEST_TICK_S = 0.1
REQUESTS_PER_TICK = 5
"""Where requests are rare a tick is as long as it takes for this many to fall due, within the bounds above."""


class Aggregate:
    """Requests counted up by `add` and sent together a tick later; what is refused goes again after Retry-After.

    at_once: so many of one kind may be unanswered; those that fall due beyond are not sent. One each of so many clients.
    """

    def __init__(
        self,
        clock: Clock,
        server: ApiServer | Link | NodeLinks,
        user: Identity | str,
        tick_s: float = LONGEST_TICK_S,
        at_once: float = inf,
    ) -> None:
        self._clock = clock
        self._server = server
        self._user = as_identity(user)
        self._tick_s = tick_s
        self._due: dict[Operation, int] = {}
        self._armed = False
        self._at_once = at_once
        self._open: dict[Operation, int] = {}
        """Requests that were sent and not answered well yet, and those that wait to be sent again."""

    def add(self, operation: Operation, count: int = 1) -> None:
        """`count` more requests are due."""
        if count:
            self._due[operation] = self._due.get(operation, 0) + count
            if not self._armed:
                self._armed = True
                self._clock.at(self._tick_s, self._tick)

    def send(self, operation: Operation, count: int) -> None:
        """Send `count` requests now."""
        if count:
            under_way = self._open.get(operation, 0)
            if under_way + count > self._at_once:
                count = max(0, int(self._at_once) - under_way)
                if not count:
                    return
            self._open[operation] = under_way + count
            self._clock.start(self._serve(operation, count))

    def _tick(self, _: Alarm) -> None:
        self._armed = False
        due, self._due = self._due, {}
        for operation, count in due.items():
            self.send(operation, count)

    def _serve(self, operation: Operation, count: int) -> Generator[Event, Any, None]:
        served = yield from self._server.serve_many(operation, self._user, count, self._tick_s)
        self._open[operation] -= served
        if served < count:
            again_s = self._server.flow_control.retry_after_s(operation, self._user, "")

            def again(_: Alarm) -> None:
                self._clock.start(self._serve(operation, count - served))

            self._clock.at(again_s, again)


def renew_leases(
    clock: Clock, server: ApiServer | NodeLinks, nodes: int, period_s: float
) -> Generator[Event, Any, None]:
    """Process: every node renews its lease once a period, evenly spread over it."""
    rate_per_s = nodes / period_s
    tick_s = min(max(SHORTEST_TICK_S, REQUESTS_PER_TICK / rate_per_s), LONGEST_TICK_S)
    leases = Aggregate(clock, server, "system:node", tick_s, nodes)
    sent = 0
    while True:
        yield clock.timeout(tick_s)
        due = round(clock._now * rate_per_s)
        leases.send(RENEW_LEASE, due - sent)
        sent = due
