"""Retry-After: longer while a level refuses many requests, shorter again when it refuses few.

Source: Kubernetes 1.34 source, apiserver flowcontrol/dropped_requests_tracker.
"""

from __future__ import annotations

RAISE_FROM = 3
"""So many refusals a second of Retry-After double it."""


class RetryAfter:
    """What a level tells refused clients, in whole seconds from 1 to `longest_s`. Looked at anew with the first refusal of a
    second, over the seconds before: twice as long where at least `RAISE_FROM` a second were refused, but no sooner than one
    Retry-After since it was raised; one second less where fewer than one a second."""

    __slots__ = ("_counts", "_longest_s", "_raised_s", "_second", "seconds")

    def __init__(self, longest_s: int) -> None:
        self._longest_s = longest_s
        self._counts: dict[int, int] = {}
        """Refusals by second."""
        self._second = -1
        self._raised_s = -longest_s
        self.seconds = 1

    def note(self, now_s: float) -> None:
        """A request is refused now."""
        second = int(now_s)
        if second != self._second:
            self._second = second
            self._counts = {at: count for at, count in self._counts.items() if second - at <= self._longest_s}
            self._look(second)
        self._counts[second] = self._counts.get(second, 0) + 1

    def _look(self, second: int) -> None:
        lately = sum(self._counts.get(at, 0) for at in range(second - self.seconds, second))
        if second - self._raised_s >= self.seconds and lately >= RAISE_FROM * self.seconds:
            self.seconds = min(2 * self.seconds, self._longest_s)
            self._raised_s = second
        elif lately < self.seconds and self.seconds > 1:
            self.seconds -= 1
