"""A member's disk, as its write-ahead log sees it."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from sim.engine.clock import Clock


class Disk:
    """How long an fsync of the log takes. Faults make it slow (`factor`) or stop it for a while (`stall`)."""

    __slots__ = ("_byte_s", "_clock", "_draw", "_stalled_until_s", "begun_s", "busy_s", "factor", "fsyncs", "lasted_s")

    def __init__(self, clock: Clock, draw: Callable[[], float], byte_s: float) -> None:
        self._clock = clock
        self._draw = draw
        self._byte_s = byte_s
        self.factor = 1.0
        self._stalled_until_s = 0.0
        self.fsyncs = 0
        self.begun_s = array("d")
        """When each fsync began, …"""
        self.lasted_s = array("f")
        """… and how long it took."""
        self.busy_s = 0.0
        """Time spent in log writes, their system calls included."""

    def fsync_s(self, size_bytes: float, at_s: float) -> float:
        """Duration of an fsync of `size_bytes` that begins at `at_s`."""
        self.fsyncs += 1
        lasts_s = (self._draw() + size_bytes * self._byte_s) * self.factor
        if at_s < self._stalled_until_s:
            lasts_s += self._stalled_until_s - at_s
        self.begun_s.append(at_s)
        self.lasted_s.append(lasts_s)
        return lasts_s

    def stall(self, for_s: float) -> None:
        """An fsync that begins from now on waits until `for_s` from now."""
        self._stalled_until_s = max(self._stalled_until_s, self._clock._now + for_s)

    @property
    def healthy(self) -> bool:
        """Neither slow nor stalled."""
        return self.factor == 1.0 and self._stalled_until_s <= self._clock._now
