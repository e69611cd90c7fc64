"""The clock: SimPy's environment with a tighter loop, counted events, and processes that start and end at once."""

from __future__ import annotations

from collections.abc import Callable, Generator
from heapq import heappop, heappush
from math import inf
from typing import Any

import simpy
from simpy.events import NORMAL, PENDING, Event, Process

PROGRESS_EVERY = 20_000
"""Events between two looks at the progress callback."""


class Task(Process):
    """A SimPy process that runs to its first wait when it is made, and ends without an event of its own.

    A plain `simpy.Process` costs two events more; with a million short processes that is most of the run.
    A process that raises fails its event through the queue, as SimPy's do: who waits for it may catch the error,
    otherwise the run ends with it. Never does it pass through the process that happened to wake this one.
    """

    def __init__(self, env: Clock, generator: Generator[Event, Any, Any]) -> None:
        self.env = env
        self.callbacks = []
        self._value = PENDING
        self._ok = True
        self._generator = generator
        self._resume(env.happened)

    def _resume(self, event: Event) -> None:
        generator = self._generator
        while True:
            try:
                if event._ok:
                    target = generator.send(event._value)
                else:
                    event._defused = True
                    target = generator.throw(event._value)
            except StopIteration as stop:
                self._target = None  # type: ignore[assignment]
                fire(self, stop.value)
                return
            except Exception as error:
                self._target = None  # type: ignore[assignment]
                self._ok = False
                self._value = error
                self.env.schedule(self)
                return
            if target.callbacks is not None:
                target.callbacks.append(self._resume)
                self._target = target
                return
            event = target


    def abandon(self) -> None:
        """It is never resumed; what it waits for goes on without it, and nobody hears of its end. Its `finally` clauses run."""
        if self.callbacks is None:
            return
        waited_for = self._target
        if waited_for is not None and waited_for.callbacks is not None and self._resume in waited_for.callbacks:
            waited_for.callbacks.remove(self._resume)
        self._generator.close()


def fire(event: Event, value: Any = None) -> None:
    """Trigger and process `event` in this instant, without a turn through the event queue."""
    event._ok = True
    event._value = value
    callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
    for callback in callbacks:
        callback(event)


class Alarm:
    """What only calls back: all that the loop needs of an event, at a fraction of its cost. Nobody waits for it."""

    __slots__ = ("action",)
    _ok = True  # for SimPy's own loop
    _value = None

    def __init__(self, action: Callable[[Alarm], None]) -> None:
        self.action = action

    @property
    def callbacks(self) -> list[Callable[[Alarm], None]]:
        """As SimPy's own loop asks for them."""
        return [self.action]

    @callbacks.setter
    def callbacks(self, value: None) -> None:
        """SimPy's own loop takes the callbacks of what has happened away."""


def when(event: Event, action: Callable[[Event], None]) -> None:
    """Call `action(event)` when the event happens; at once if it already has."""
    if event.callbacks is None:
        action(event)
    else:
        event.callbacks.append(action)


class Clock(simpy.Environment):
    """Simulated time in seconds from 0. `events` counts every event processed: an exact measure of work."""

    def __init__(self) -> None:
        super().__init__()
        self.events = 0
        self.happened = Event(self)
        """An event that has already happened: waiting for it costs nothing."""
        self.happened._ok = True
        self.happened._value = None
        self.happened.callbacks = None  # type: ignore[assignment]

    def start(self, generator: Generator[Event, Any, Any]) -> Task:
        """Run a process from this instant on."""
        return Task(self, generator)

    def at(self, delay_s: float, action: Callable[[Alarm], None]) -> Alarm:
        """Call `action(alarm)` after `delay_s`; returns the alarm, by which the caller may know it again."""
        alarm = Alarm(action)
        heappush(self._queue, (self._now + delay_s, NORMAL, next(self._eid), alarm))  # type: ignore[misc]
        return alarm

    def run_until(self, end_s: float, progress: Callable[[], None] | None = None) -> bool:
        """Process all events up to and including `end_s`; False when none is left after it.

        progress: called about every `PROGRESS_EVERY` events. An exception raised by it or by a process ends
        the loop; the clock stays where it was, and what has been recorded stays readable. After one raised by
        `progress` the run may be taken up again. With `end_s` = inf the clock ends at the last event.
        """
        queue = self._queue
        count = 0
        try:
            while queue and queue[0][0] <= end_s:
                self._now, _, _, event = heappop(queue)
                count += 1
                if event.__class__ is Alarm:
                    event.action(event)
                else:
                    callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
                    for callback in callbacks:
                        callback(event)
                    if not event._ok and not hasattr(event, "_defused"):
                        raise event._value
                if count == PROGRESS_EVERY:
                    self.events += count
                    count = 0
                    if progress is not None:
                        progress()
        finally:
            self.events += count
        if end_s != inf:
            self._now = max(self._now, end_s)
        return bool(queue)
