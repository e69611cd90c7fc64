"""Client-side rate limits as client-go has them."""

from __future__ import annotations

from sim.engine.clock import Clock
from sim.engine.meter import Meter


class TokenBucket:
    """`qps` tokens a second, at most `burst` saved; starts full. Tokens are handed out in the order of asking.

    Like golang.org/x/time/rate, it may owe: a reservation takes its token at once and says how long to wait
    until that token exists. So it needs no queue of its own.
    """

    __slots__ = ("_clock", "_qps", "_since", "_tokens", "burst", "meter")

    def __init__(self, clock: Clock, name: str, room: str, qps: float, burst: int) -> None:
        self._clock = clock
        self._qps = qps
        self.burst = burst
        self._tokens = float(burst)
        self._since = clock._now
        self.meter = Meter(clock, name, room, qps)

    def reserve(self) -> float:
        """Take a token; returns the seconds to wait before it may be used (0 when one was saved)."""
        now = self._clock._now
        tokens = min(self.burst, self._tokens + (now - self._since) * self._qps) - 1
        self._tokens = tokens
        self._since = now
        self.meter.served += 1
        self.meter.in_use_s += 1.0  # one token of a second's `qps`: use over time is the share of the rate
        if tokens >= 0:
            return 0.0
        owed = -tokens
        self.meter.queue_s += owed / self._qps
        if owed > self.meter.max_queue:
            self.meter.max_queue = owed
        return owed / self._qps

    def waiting(self) -> float:
        """Reservations whose token does not exist yet."""
        return max(0.0, -(self._tokens + (self._clock._now - self._since) * self._qps))
