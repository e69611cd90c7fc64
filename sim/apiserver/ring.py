"""The watch cache's ring: how many of the last events one API server can still give to who comes back."""

from __future__ import annotations

from bisect import bisect_left

FRESH_S = 75.0
"""Events younger than this are kept if the largest size allows (Kubernetes 1.20 to 1.34 source, watch cache)."""
SMALLEST = 100
LARGEST = 102_400
"""Bounds of the ring's size (same source)."""


class Ring:
    """The last events of one resource, by their number and time only.

    Full and with an oldest event that is still fresh, it doubles; full, with even its youngest quarter no longer fresh, it
    halves. Events that came in one instant are kept as one entry; `add` costs about the same however many there are.
    """

    __slots__ = ("_first", "_last_of", "_times_s", "capacity", "lost", "total")

    def __init__(self) -> None:
        self.capacity = SMALLEST
        self.total = 0
        """Events that came since the start: the number of the newest."""
        self.lost = 0
        """Number of the newest event that is gone."""
        self._times_s: list[float] = []
        self._last_of: list[int] = []
        """Number of the newest event of each instant of `_times_s`."""
        self._first = 0
        """Where in these the oldest event that is held is."""

    @property
    def size(self) -> int:
        """Events held."""
        return self.total - self.lost

    def add(self, time_s: float, count: int = 1) -> None:
        """`count` events came at `time_s`."""
        while count:
            shrunk = self.size == self.capacity and self._resize(time_s)
            room = self.capacity - self.size
            taken = min(count, room or (1 if shrunk else self._before_change()))
            self.total += taken
            count -= taken
            if self._times_s and self._times_s[-1] == time_s:
                self._last_of[-1] = self.total
            else:
                self._times_s.append(time_s)
                self._last_of.append(self.total)
            if self.size > self.capacity:
                self._lose(self.total - self.capacity)

    def covers(self, number: int) -> bool:
        """Whether all events after the one of this number are still held; if not, a watch from there is too old."""
        return number >= self.lost

    def clear(self) -> None:
        """The server has started anew: it knows nothing of what came before."""
        self.capacity = SMALLEST
        self._lose(self.total)

    def _lose(self, number: int) -> None:
        """Events up to this one are gone."""
        self.lost = number
        last_of, first = self._last_of, self._first
        while first < len(last_of) and last_of[first] <= number:
            first += 1
        if first > 1000 and 2 * first > len(last_of):
            del last_of[:first], self._times_s[:first]
            first = 0
        self._first = first

    def _young_quarter(self) -> int:
        """Where the youngest quarter's oldest event is."""
        return bisect_left(self._last_of, self.total - self.capacity // 4 + 1, self._first)

    def _resize(self, now_s: float) -> bool:
        """What a full ring does before one more event; whether it has become smaller."""
        if self.capacity < LARGEST and now_s - self._times_s[self._first] < FRESH_S:
            self.capacity = min(2 * self.capacity, LARGEST)
            return False
        if self.capacity > SMALLEST and now_s - self._times_s[self._young_quarter()] > FRESH_S:
            self.capacity = max(self.capacity // 2, SMALLEST)
            self._lose(self.total - self.capacity)
            return True
        return False

    def _before_change(self) -> int:
        """How many events of one instant may replace the oldest before the rule can decide otherwise: until the oldest
        instant has gone, or the young quarter begins with another.
        """
        mark = self.total - self.capacity // 4 + 1
        quarter = self._last_of[self._young_quarter()] - mark + 1
        return max(1, min(self._last_of[self._first] - self.lost, quarter))
