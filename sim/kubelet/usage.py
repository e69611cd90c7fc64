"""What a container uses over time: piecewise linear courses, and when they pass a limit."""

from __future__ import annotations

from math import inf

from sim.state.objects import Course


def amount_at(course: Course, age_s: float) -> float:
    """The amount of a course at an age; before its first point that point's, after its last one that one's. An empty course: 0."""
    before: tuple[float, float] | None = None
    for at_s, amount in course:
        if age_s <= at_s:
            if before is None or at_s == before[0]:
                return amount
            return before[1] + (amount - before[1]) * (age_s - before[0]) / (at_s - before[0])
        before = (at_s, amount)
    return before[1] if before else 0.0


def first_above(course: Course, limit: float) -> float:
    """The age at which a course first exceeds `limit`; inf: never."""
    before: tuple[float, float] | None = None
    for at_s, amount in course:
        if amount > limit:
            if before is None or amount == before[1]:
                return at_s if before is not None else 0.0
            return before[0] + (at_s - before[0]) * (limit - before[1]) / (amount - before[1])
        before = (at_s, amount)
    return inf
