"""Borrowing between priority levels: now and then each level's limit follows what the levels have wanted lately.

Source: Kubernetes enhancement 1040; Kubernetes 1.34 source, apiserver flowcontrol (apf_controller, conc_alloc,
fairqueuing integrator).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt

SMALLEST_TARGET = 0.001
"""Targets below count as this, so that none is divided by 0."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a level has by its configuration, in seats."""

    nominal: int
    least: int
    """Nominal less what it lends."""
    most: int
    """Nominal and what it may borrow."""


def bounds(
    shares: int, all_shares: int, server_seats: int, lendable_percent: int, borrowing_percent: int | None
) -> Bounds:
    """A level's bounds. borrowing_percent: None where it may borrow without limit."""
    nominal = ceil(server_seats * shares / all_shares) if all_shares else 0
    borrowing = server_seats if borrowing_percent is None else rounded(nominal * borrowing_percent / 100)
    return Bounds(nominal, nominal - rounded(nominal * lendable_percent / 100), nominal + borrowing)


def rounded(value: float) -> int:
    """To the nearest whole number, halves away from zero, for values that are not negative."""
    return floor(value + 0.5)


class Demand:
    """Seats wanted over time: those held and those waited for. `smoothed` falls slowly and rises at once."""

    __slots__ = ("_integral", "_now_s", "_since_s", "_square", "_value", "high", "smoothed")

    def __init__(self) -> None:
        self._value = 0
        self._now_s = self._since_s = 0.0
        self._integral = self._square = 0.0
        self.high = 0
        """The most within the last period that `close` ended."""
        self.smoothed = 0.0

    def note(self, value: int, now_s: float) -> None:
        """From now on `value` seats are wanted."""
        held_s = now_s - self._now_s
        if held_s:
            self._integral += held_s * self._value
            self._square += held_s * self._value * self._value
            self._now_s = now_s
        self._value = value
        if value > self.high:
            self.high = value

    def close(self, now_s: float, coefficient: float) -> int:
        """End the period: returns the most that was wanted in it, and brings `smoothed` up to date."""
        self.note(self._value, now_s)
        lasted_s = now_s - self._since_s
        high = self.high
        if lasted_s > 0:
            mean = self._integral / lasted_s
            envelope = mean + sqrt(max(0.0, self._square / lasted_s - mean * mean))
            self.smoothed = max(envelope, coefficient * self.smoothed + (1 - coefficient) * envelope)
        self._integral = self._square = 0.0
        self._since_s = now_s
        self.high = self._value
        return high


def new_limits(
    levels: Sequence[Bounds], highs: Sequence[int], smoothed: Sequence[float], exempt_high: int
) -> list[int]:
    """The limits of the levels that are not exempt, for the next period.

    highs: the most seats wanted in the last period. exempt_high: the same of the exempt level, which takes what it wants.
    """
    total = sum(level.nominal for level in levels)
    left = total - exempt_high
    wanted = [max(level.least, min(level.nominal, high)) for level, high in zip(levels, highs, strict=True)]
    least = sum(level.least for level in levels)
    if left <= least:
        return [level.least for level in levels]
    if left <= sum(wanted):
        share = (left - least) / (sum(wanted) - least)
        return [level.least + rounded((one - level.least) * share) for level, one in zip(levels, wanted, strict=True)]
    targets = [max(float(one), smooth) for one, smooth in zip(wanted, smoothed, strict=True)]
    allotted = allot(total, targets, [float(one) for one in wanted], [float(level.most) for level in levels])
    return [rounded(seats) for seats in allotted]


def allot(total: float, targets: Sequence[float], lower: Sequence[float], upper: Sequence[float]) -> list[float]:
    """Seats in proportion to the targets, each within its bounds, together `total`.

    One factor fits all: seats = target * factor, kept within the bounds. Their sum rises with the factor, piece by piece
    linear between the points where one of them leaves a bound.
    """
    targets = [max(target, SMALLEST_TARGET) for target in targets]
    if total <= sum(lower):
        return list(lower)
    if total >= sum(upper):
        return list(upper)

    def at(factor: float) -> list[float]:
        return [min(max(target * factor, low), high) for target, low, high in zip(targets, lower, upper, strict=True)]

    turns = sorted({bound / target for bounds in (lower, upper) for bound, target in zip(bounds, targets, strict=True)})
    below, above = turns[0], turns[-1]
    for turn in turns:
        if sum(at(turn)) <= total:
            below = turn
        else:
            above = turn
            break
    low, high = sum(at(below)), sum(at(above))
    factor = below if high == low else below + (total - low) * (above - below) / (high - low)
    return at(factor)
