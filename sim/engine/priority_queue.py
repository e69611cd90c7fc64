"""A waiting line ordered by priority, then by arrival."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Generic, TypeVar

from simpy.events import Event

from sim.engine.clock import Clock, fire
from sim.engine.meter import Meter

T = TypeVar("T")


class PriorityQueue(Generic[T]):
    """A heap: O(log n) to put and to get, however many wait (SimPy's own sorts a list on every request)."""

    __slots__ = ("_clock", "_getters", "_handing", "_heap", "_order", "_taken", "meter")

    def __init__(self, clock: Clock, name: str, room: str) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, T]] = []
        self._getters: deque[Event] = deque()
        self._order = 0
        self._taken: deque[tuple[Event, T]] = deque()
        self._handing = False
        self.meter = Meter(clock, name, room, 1)

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, item: T, priority: float = 0.0) -> None:
        """Add an item; a lower `priority` comes first, equal ones in order of arrival."""
        self.meter.served += 1
        if self._getters:
            self._taken.append((self._getters.popleft(), item))
            self._hand_over()
            return
        self._order += 1
        heappush(self._heap, (priority, self._order, item))
        self.meter.level(0, len(self._heap))

    def get(self) -> Event:
        """Fires with the first item as soon as there is one; getters are served in order."""
        event = Event(self._clock)
        if self._heap:
            item = heappop(self._heap)[2]
            self.meter.level(0, len(self._heap))
            fire(event, item)
        else:
            self._getters.append(event)
        return event

    def _hand_over(self) -> None:
        if self._handing:  # a getter just served puts another item: the loop below goes on, the stack stays flat
            return
        self._handing = True
        try:
            while self._taken:
                fire(*self._taken.popleft())
        finally:
            self._handing = False
