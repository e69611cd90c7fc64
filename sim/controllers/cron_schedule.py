"""Times of a cron schedule: five fields, as cron and Kubernetes read them.

Simulated time 0 is 2024-01-01 00:00 UTC, a Monday.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

EPOCH = datetime(2024, 1, 1)
FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 6))
NAMES = {
    "month": dict(
        zip(
            ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
            range(1, 13),
            strict=True,
        )
    ),
    "day of week": dict(zip(["sun", "mon", "tue", "wed", "thu", "fri", "sat"], range(7), strict=True)),
}
SHORTHANDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FARTHEST_DAYS = 366 * 5


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a CronJob starts."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0: Sunday."""
    either_day: bool
    """Both days are restricted: one of them is enough."""

    def next_after(self, time_s: float) -> float | None:
        """The first time (seconds, whole minutes) after `time_s`; None: not within five years."""
        at = EPOCH + timedelta(minutes=int(time_s // 60) + 1)
        for _ in range(FARTHEST_DAYS):
            if at.month in self.months and self._on(at):
                for hour in sorted(hour for hour in self.hours if hour >= at.hour):
                    least = at.minute if hour == at.hour else 0
                    minute = min((minute for minute in self.minutes if minute >= least), default=None)
                    if minute is not None:
                        return (at.replace(hour=hour, minute=minute) - EPOCH).total_seconds()
            at = (at + timedelta(days=1)).replace(hour=0, minute=0)
        return None

    def due(self, after_s: float, until_s: float) -> list[float]:
        """All times after `after_s` up to and including `until_s`."""
        found = []
        at_s = self.next_after(after_s)
        while at_s is not None and at_s <= until_s:
            found.append(at_s)
            at_s = self.next_after(at_s)
        return found

    def _on(self, at: datetime) -> bool:
        day, weekday = at.day in self.days, at.isoweekday() % 7 in self.weekdays
        return (day or weekday) if self.either_day else (day and weekday)


def parse_schedule(text: str) -> Schedule:
    """Read `minute hour day month weekday` (or @hourly …). ValueError says what is wrong."""
    parts = SHORTHANDS.get(text.strip(), text).split()
    if len(parts) != len(FIELDS):
        raise ValueError(f"needs five fields (minute hour day month weekday), has {len(parts)}")
    sets = [_field(part, *about) for part, about in zip(parts, FIELDS, strict=True)]
    both = not parts[2].startswith(("*", "?")) and not parts[4].startswith(("*", "?"))
    return Schedule(sets[0], sets[1], sets[2], sets[3], sets[4], both)


def _field(text: str, name: str, least: int, most: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, name, 1, 10_000) if slash else 1
        if span in ("*", "?"):
            first, last = least, most
        else:
            low, dash, high = span.partition("-")
            first = _number(low, name, least, most + (name == "day of week"))
            last = _number(high, name, least, most + (name == "day of week")) if dash else (most if slash else first)
        if last < first:
            raise ValueError(f"{name} '{part}' ends before it begins")
        found.update(value % 7 if name == "day of week" else value for value in range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, name: str, least: int, most: int) -> int:
    value = NAMES.get(name, {}).get(text.lower())
    if value is None:
        if not text.isdecimal():
            raise ValueError(f"{name} '{text}' is no number")
        value = int(text)
    if not least <= value <= most:
        raise ValueError(f"{name} {value} must be from {least} to {most}")
    return value
