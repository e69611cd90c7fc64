"""What controllers write that nobody waits for: statuses of their objects, and events.

Both take tokens of the controller's own rate limit, so they compete with its creations and deletions.
"""

from __future__ import annotations

from sim.apiserver.aggregate import Aggregate
from sim.apiserver.request import CREATE_EVENT, Operation
from sim.engine.clock import Alarm, Clock
from sim.engine.token_bucket import TokenBucket

SPAM_BURST = 25
"""Events about one object before the recorder holds them back (Kubernetes 1.20 source, client-go tools/record)."""
SPAM_REFILL_S = 300.0
"""One event more about an object a time of this length (the same source)."""


class Written:
    """An object whose status a controller writes."""

    __slots__ = ("events", "events_since_s", "next_until_s", "written_until_s")

    def __init__(self) -> None:
        self.written_until_s = 0.0
        """Until when the last write of its status is under way."""
        self.next_until_s = 0.0
        """Until when the write after that is, if something has changed meanwhile."""
        self.events = 0.0
        """Events about it that its budget has paid for."""
        self.events_since_s = 0.0


class StatusWrites:
    """Status writes without a process each: one is under way at a time an object, and what changes meanwhile goes with the next.

    They count as served together in ticks (see `Aggregate`). Only for a controller that has a free worker and a token saved:
    otherwise changes must queue as they really do. takes_s: how long one sync with its write takes, on a quiet server.
    each: requests that one write takes.
    """

    def __init__(
        self,
        clock: Clock,
        operation: Operation,
        limit: TokenBucket | None,
        requests: Aggregate,
        takes_s: float,
        each: int = 1,
        aggregated: bool = True,
    ) -> None:
        self._aggregated = aggregated
        self._each = each
        self._clock = clock
        self._operation = operation
        self._limit = limit
        self._requests = requests
        self.takes_s = takes_s

    def write(self, thing: Written) -> bool:
        """`thing` has changed. False: no token is saved, write it the long way."""
        if not self._aggregated:
            return False
        now = self._clock._now
        begun = thing.written_until_s
        if now >= begun:
            following = thing.next_until_s
            if now < following:  # the second write is under way now
                begin_s, thing.written_until_s, joins = following, following, False
            else:
                begin_s, joins = now, False
        else:
            begin_s, joins = begun, thing.next_until_s > begun
        if joins:
            return True
        if self._limit is not None and not self._limit.try_reserve():
            return False
        if begin_s > now:
            thing.next_until_s = begin_s + self.takes_s
        else:
            thing.written_until_s = now + self.takes_s
        if self._limit is not None:
            for _ in range(self._each - 1):
                self._limit.reserve()
        self._requests.add(self._operation, self._each)
        return True


class LooseRequests:
    """Alike requests that nobody waits for, each of which takes a token."""

    def __init__(self, operation: Operation, limit: TokenBucket | None, requests: Aggregate) -> None:
        self._operation = operation
        self._limit = limit
        self._requests = requests

    def send(self) -> None:
        """One request more."""
        if self._limit is not None:
            self._limit.reserve()
        self._requests.add(self._operation)


class EventRecorder:
    """client-go's event recorder: one event after the other, under the controller's rate limit, and few about one object."""

    def __init__(self, clock: Clock, limit: TokenBucket | None, requests: Aggregate) -> None:
        self._clock = clock
        self._limit = limit
        self._requests = requests
        self._waiting = 0
        self._paced = False
        self.dropped = 0
        """Events held back because there were too many about one object."""

    def record(self, about: Written, count: int = 1) -> None:
        """`count` events about an object happened."""
        now = self._clock._now
        regained = (now - about.events_since_s) / SPAM_REFILL_S
        about.events_since_s = now
        about.events = max(0.0, about.events - regained)
        allowed = min(count, int(SPAM_BURST - about.events))
        about.events += allowed
        self.dropped += count - allowed
        if allowed:
            self._waiting += allowed
            if not self._paced:
                self._post()

    def lose(self) -> None:
        """The process dies with the events that it has not sent."""
        self._waiting = 0

    def _post(self, _: Alarm | None = None) -> None:
        self._paced = False
        while self._waiting:
            wait_s = self._limit.reserve() if self._limit is not None else 0.0
            self._waiting -= 1
            if wait_s > 0:
                self._paced = True
                self._clock.at(wait_s, self._posted_late)
                return
            self._requests.add(CREATE_EVENT)

    def _posted_late(self, _: Alarm) -> None:
        self._requests.add(CREATE_EVENT)
        self._post()
