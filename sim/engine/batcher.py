"""Group commit: what arrives while one batch is under way goes into the next."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from simpy.events import Event

from sim.engine.clock import Clock, fire
from sim.engine.meter import Meter

T = TypeVar("T")


class Batcher(Generic[T]):
    """Serves items in batches, one batch at a time.

    commit: a process that serves a list of items and returns one answer an item; each submitter gets its own.
    max_batch: most items in one batch.
    """

    __slots__ = ("_busy", "_clock", "_commit", "_max_batch", "_waiting", "batches", "meter")

    def __init__(
        self,
        clock: Clock,
        name: str,
        room: str,
        commit: Callable[[list[T]], Generator[Event, Any, list[Any]]],
        max_batch: int,
    ) -> None:
        self._clock = clock
        self._commit = commit
        self._max_batch = max_batch
        self._waiting: list[tuple[T, Event]] = []
        self._busy = False
        self.batches = 0
        self.meter = Meter(clock, name, room, 1)

    def submit(self, item: T) -> Event:
        """Fires with the item's answer when its batch is served."""
        event = Event(self._clock)
        self._waiting.append((item, event))
        if self._busy:
            self.meter.level(1, len(self._waiting))
        else:
            self._clock.start(self._serve())
        return event

    def _serve(self) -> Generator[Event, Any, None]:
        self._busy = True
        while self._waiting:
            batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
            self.meter.level(1, len(self._waiting))
            answers = yield from self._commit([item for item, _ in batch])
            self.batches += 1
            self.meter.served += len(batch)
            for (_, event), answer in zip(batch, answers, strict=True):
                fire(event, answer)
        self._busy = False
        self.meter.level(0, 0)
