"""Turnstiles: locks whose holding time is known on entry, so that waiting for one needs no event of its own."""

from __future__ import annotations

from sim.engine.clock import Clock
from sim.engine.meter import Meter


class _TurnstileMeter(Meter):
    """A meter whose integrals the turnstile works out when asked: what is past of holding and of waiting."""

    __slots__ = ("_turnstile",)

    def __init__(self, clock: Clock, name: str, room: str, turnstile: Turnstile) -> None:
        super().__init__(clock, name, room, 1)
        self._turnstile = turnstile

    def read(self) -> tuple[float, float]:
        return self._turnstile.held_s(), self._turnstile.waited_s()


class Turnstile:
    """A lock taken first come, first served by callers who say on entry how long they will hold it.

    The answer is how long it takes until it is their turn, so a caller waits once, for that and for whatever else it waits for.
    It equals a `Semaphore` of capacity 1 that is taken, held and given back.
    """

    __slots__ = ("_clock", "_free_at_s", "_queued_s", "_total_s", "meter")

    def __init__(self, clock: Clock, name: str, room: str) -> None:
        self._clock = clock
        self._free_at_s = 0.0
        self._total_s = 0.0
        self._queued_s = 0.0
        self.meter: Meter = _TurnstileMeter(clock, name, room, self)

    def enter(self, hold_s: float) -> float:
        """Seconds until those who came before are through; then this caller holds the lock for `hold_s`."""
        now = self._clock._now
        begins_s = self._free_at_s if self._free_at_s > now else now
        self._free_at_s = begins_s + hold_s
        self._total_s += hold_s
        self._queued_s += begins_s - now
        self.meter.served += 1
        return begins_s - now

    def held_s(self) -> float:
        """Seconds that the lock has been held until now."""
        return self._total_s - max(0.0, self._free_at_s - self._clock._now)

    def waited_s(self) -> float:
        """Seconds that callers wait all together, those still ahead included."""
        return self._queued_s
