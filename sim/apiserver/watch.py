"""Watch fan-out: a stored change is encoded once a watcher and delivered in the order of storing."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial

from simpy.events import Event

from sim.engine.clock import Alarm, Clock
from sim.engine.machine import Machine
from sim.engine.meter import Meter

Handler = Callable[[int], None]
"""Called with the pod's row when its event reaches the watcher."""


def _deliver(turn: list[tuple[Handler, int]], _: Alarm) -> None:
    for handler, pod in turn:
        handler(pod)


class WatchHub:
    """Delivers pod events to those who watch them.

    A single writer per server takes what has been stored since its last turn, encodes it for every watcher
    on the server's cores and hands it over; so a burst is delivered in few, larger turns, and in order.
    """

    def __init__(self, clock: Clock, machine: Machine, event_cpu_s: float, latency_s: float, watchers: int) -> None:
        self._clock = clock
        self._machine = machine
        self._event_cpu_s = event_cpu_s
        self._latency_s = latency_s
        self._watchers = watchers
        self._waiting: list[tuple[Handler, int]] = []
        """Changes that someone acts on; the others are only encoded."""
        self._changes = 0
        self._encodings = 0
        self._busy = False
        self.meter = Meter(clock, "watch fan-out", "apiserver", 1)
        self.events = 0

    def publish(self, pod: int, handler: Handler | None, also: int = 0) -> None:
        """A pod's change was stored: tell all watchers. `handler(pod)` runs when it has reached them; None: no one acts on it.

        also: watchers with a field selector that this event concerns too (the kubelet of its node).
        """
        if handler is not None:
            self._waiting.append((handler, pod))
        self._changes += 1
        self._encodings += self._watchers + also
        self.meter.level(self._busy, self._changes)
        if not self._busy:
            self._busy = True
            self._clock.start(self._serve())

    def _serve(self) -> Generator[Event, object, None]:
        while self._changes:
            turn, self._waiting = self._waiting, []
            changes, self._changes = self._changes, 0
            encodings, self._encodings = self._encodings, 0
            self.meter.level(1, 0)
            yield self._machine.work(encodings * self._event_cpu_s, threads=min(encodings, self._watchers + 1))
            self.events += encodings
            self.meter.served += changes
            if turn:
                self._clock.at(self._latency_s, partial(_deliver, turn))
        self._busy = False
        self.meter.level(0, 0)
