"""Semaphores: seats, workers and locks, taken first come, first served."""

from __future__ import annotations

from collections import deque

from simpy.events import Event

from sim.engine.clock import Clock, fire
from sim.engine.meter import Meter


class Semaphore:
    """`capacity` units; who finds none free waits in order of arrival. Capacity 1 is a lock."""

    __slots__ = ("_clock", "_free", "_ready", "_waiting", "_waking", "meter")

    def __init__(self, clock: Clock, name: str, room: str, capacity: int) -> None:
        self._clock = clock
        self._free = capacity
        self._waiting: deque[Event] = deque()
        self._ready: deque[Event] = deque()
        self._waking = False
        self.meter = Meter(clock, name, room, capacity)

    def try_acquire(self) -> bool:
        """Take a unit if one is free."""
        if self._free == 0:
            return False
        self._free -= 1
        self.meter.level(self.meter.capacity - self._free, 0)  # while units are free nobody waits
        return True

    def acquire(self) -> Event:
        """Fires when a unit has been taken; already has when one is free."""
        if self.try_acquire():
            return self._clock.happened
        event = Event(self._clock)
        self._waiting.append(event)
        self._note()
        return event

    def try_acquire_up_to(self, count: int) -> int:
        """Take as many of `count` units as are free; returns how many."""
        taken = min(count, self._free)
        self._free -= taken
        self._note()
        return taken

    def release(self, count: int = 1) -> None:
        """Give units back; those who wait longest get them at once."""
        self.meter.served += count
        self._free += count
        if not self._waiting:
            self.meter.level(self.meter.capacity - self._free, 0)
            return
        while self._waiting and self._free:
            self._free -= 1
            self._ready.append(self._waiting.popleft())
        self._note()
        if self._waking:  # one who was just woken gives back at once: the loop below goes on, the stack does not grow
            return
        self._waking = True
        try:
            while self._ready:
                fire(self._ready.popleft())
        finally:
            self._waking = False

    def _note(self) -> None:
        self.meter.level(self.meter.capacity - self._free, len(self._waiting))
