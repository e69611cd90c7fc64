"""Meters: how much of a contended thing is in use and how much waits, weighted by time."""

from __future__ import annotations

from sim.engine.clock import Clock


class Meter:
    """Time integrals of use and queue of one resource. `name`, `room` and `capacity` as in `ResourceStat`."""

    __slots__ = (
        "_clock",
        "capacity",
        "in_use",
        "in_use_s",
        "max_queue",
        "name",
        "queue",
        "queue_s",
        "room",
        "served",
        "since_s",
    )

    def __init__(self, clock: Clock, name: str, room: str, capacity: float) -> None:
        self._clock = clock
        self.name = name
        self.room = room
        self.capacity = capacity
        self.in_use = 0.0
        self.queue = 0.0
        self.in_use_s = 0.0
        """Integral of `in_use`, up to the last change."""
        self.queue_s = 0.0
        self.served = 0
        self.max_queue = 0.0
        self.since_s = clock._now
        """When the integrals were last brought up to date."""

    def level(self, in_use: float, queue: float) -> None:
        """From now on `in_use` units are taken and `queue` wait."""
        now = self._clock._now
        held = now - self.since_s
        if held:
            self.in_use_s += held * self.in_use
            self.queue_s += held * self.queue
            self.since_s = now
        self.in_use = in_use
        self.queue = queue
        if queue > self.max_queue:
            self.max_queue = queue

    def read(self) -> tuple[float, float]:
        """Integrals of use and queue up to now."""
        self.level(self.in_use, self.queue)
        return self.in_use_s, self.queue_s
