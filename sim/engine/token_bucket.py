"""Client-side rate limits as client-go has them."""

from __future__ import annotations

from math import floor

from sim.engine.clock import Clock
from sim.engine.meter import Meter


class _BucketMeter(Meter):
    """A meter whose integrals the bucket works out when asked: tokens made, and reservations that wait for theirs."""

    __slots__ = ("_bucket",)

    def __init__(self, clock: Clock, name: str, room: str, qps: float, bucket: TokenBucket) -> None:
        super().__init__(clock, name, room, qps)
        self._bucket = bucket

    def read(self) -> tuple[float, float]:
        return self._bucket.made(), self._bucket.waited_s()


class TokenBucket:
    """`qps` tokens a second, at most `burst` saved; starts full. Tokens are handed out in the order of asking.

    Like golang.org/x/time/rate, it may owe: a reservation takes its token at once and says how long to wait
    until that token exists. So it needs no queue of its own.

    A full bucket makes no tokens; so the share of `qps` in use is the share of time in which it was not full, which is
    what its clients use of their rate in the long run, and never more than 1.
    """

    __slots__ = ("_clock", "_qps", "_reserved_s", "_since", "_tokens", "burst", "meter")

    def __init__(self, clock: Clock, name: str, room: str, qps: float, burst: int) -> None:
        self._clock = clock
        self._qps = qps
        self.burst = burst
        self._tokens = float(burst)
        self._since = clock._now
        self._reserved_s = 0.0
        """Waiting that reservations were told of, also what lies ahead."""
        self.meter: Meter = _BucketMeter(clock, name, room, qps, self)

    def reserve(self) -> float:
        """Take a token; returns the seconds to wait before it may be used (0 when one was saved)."""
        now = self._clock._now
        tokens = self._tokens + (now - self._since) * self._qps
        if tokens > self.burst:
            tokens = self.burst
        tokens -= 1
        self._tokens = tokens
        self._since = now
        self.meter.served += 1
        if tokens >= 0:
            return 0.0
        owed = -tokens
        self._reserved_s += owed / self._qps
        if owed > self.meter.max_queue:
            self.meter.max_queue = owed
        return owed / self._qps

    def try_reserve(self) -> bool:
        """Take a token if one is saved."""
        if self._level() < 1:
            return False
        self.reserve()
        return True

    def made(self) -> float:
        """Tokens made so far: those taken, less what has gone from the full bucket it began with."""
        return self.meter.served - (self.burst - self._level())

    def waited_s(self) -> float:
        """Seconds that reservations have waited until now, all together."""
        owed = -self._level()
        if owed <= 0:
            return self._reserved_s
        waiting = floor(owed) + 1  # the last waits for `owed` tokens more, the one before it for one less, and so on
        return self._reserved_s - (waiting * owed - waiting * (waiting - 1) / 2) / self._qps

    def _level(self) -> float:
        return min(self.burst, self._tokens + (self._clock._now - self._since) * self._qps)
