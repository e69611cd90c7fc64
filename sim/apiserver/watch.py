"""Watches: a stored change reaches everyone who watches its resource, in the order of storing.

Every API server keeps a cache a resource. Its single writer takes what etcd's watch brought since its last turn, decodes
it once, encodes it for every open watch and hands it over; so a burst is delivered in few, larger turns.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from functools import partial

from simpy.events import Event

from sim.engine.clock import Alarm, Clock
from sim.engine.machine import Machine
from sim.engine.meter import Meter

Handler = Callable[[int], None]
"""Called with the row of what changed (a pod's, an application's, ...) when the event reaches the watcher."""


class Watch:
    """One client's open watch of one resource.

    on: what it does about each kind of change; None: it is told and does nothing. selective: a field selector makes the
    server tell it only of the kinds in `on`, as a kubelet hears of its own pods alone; else it is told of all.
    """

    __slots__ = ("on", "resource", "selective", "watcher")

    def __init__(self, resource: str, watcher: str, on: Mapping[str, Handler | None], selective: bool) -> None:
        self.resource = resource
        self.watcher = watcher
        self.on = dict(on)
        self.selective = selective


class WatchHub:
    """Brings changes from those who store to those who watch.

    hub.watch("pods", "kube-scheduler", {"created": scheduler.on_created, "bound": scheduler.on_bound})
    hub.publish("pods", "created", pod)      # the moment the change is stored
    """

    def __init__(self, clock: Clock, machine: Machine, event_cpu_s: float, latency_s: float) -> None:
        self._clock = clock
        self._machine = machine
        self._event_cpu_s = event_cpu_s
        self._latency_s = latency_s
        self._caches: dict[str, _WatchCache] = {}
        self.meter = Meter(clock, "watch fan-out", "apiserver", 1)

    @property
    def events(self) -> int:
        """Events sent to watchers so far."""
        return sum(cache.events for cache in self._caches.values())

    def watch(self, resource: str, watcher: str, on: Mapping[str, Handler | None], selective: bool = False) -> Watch:
        """Open a watch; from now on `on[kind](row)` runs whenever a change of that kind has reached `watcher`."""
        watch = Watch(resource, watcher, on, selective)
        self._cache(resource).add(watch)
        return watch

    def publish(self, resource: str, kind: str, row: int) -> None:
        """A change of `resource` was stored: tell all who watch it. kind: `created`, `bound`, `deleting`, ..."""
        cache = self._caches.get(resource)
        if cache is not None:
            cache.stored(kind, row)

    def _cache(self, resource: str) -> _WatchCache:
        cache = self._caches.get(resource)
        if cache is None:
            cache = self._caches[resource] = _WatchCache(
                self._clock, self._machine, self._event_cpu_s, self._latency_s, self.meter
            )
        return cache


Told = tuple[tuple[Handler, ...], int]
"""Who acts on a change of one kind, and how many watchers it is encoded for."""


class _WatchCache:
    """One resource's changes in one API server: its writer, and those who watch."""

    __slots__ = (
        "_busy",
        "_changes",
        "_clock",
        "_encodings",
        "_event_cpu_s",
        "_latency_s",
        "_machine",
        "_meter",
        "_told",
        "_waiting",
        "_watches",
        "events",
    )

    def __init__(self, clock: Clock, machine: Machine, event_cpu_s: float, latency_s: float, meter: Meter) -> None:
        self._clock = clock
        self._machine = machine
        self._event_cpu_s = event_cpu_s
        self._latency_s = latency_s
        self._meter = meter
        self._watches: list[Watch] = []
        self._told: dict[str, Told] = {}
        self._waiting: list[tuple[tuple[Handler, ...], int]] = []
        """Changes that someone acts on; the others are only encoded."""
        self._changes = 0
        self._encodings = 0
        self._busy = False
        self.events = 0

    def add(self, watch: Watch) -> None:
        self._watches.append(watch)
        self._told.clear()

    def stored(self, kind: str, row: int) -> None:
        told = self._told.get(kind)
        if told is None:
            told = self._told[kind] = self._tell(kind)
        handlers, encodings = told
        if handlers:
            self._waiting.append((handlers, row))
        self._changes += 1
        self._encodings += encodings
        self._meter.level(self._busy, self._changes)
        if not self._busy:
            self._busy = True
            self._clock.start(self._serve())

    def _tell(self, kind: str) -> Told:
        hear = [watch for watch in self._watches if not watch.selective or kind in watch.on]
        handlers = [handler for watch in hear if (handler := watch.on.get(kind)) is not None]
        return tuple(handlers), len(hear)

    def _serve(self) -> Generator[Event, object, None]:
        while self._changes:
            turn, self._waiting = self._waiting, []
            changes, self._changes = self._changes, 0
            encodings, self._encodings = self._encodings, 0
            self._meter.level(1, 0)
            yield self._machine.work(encodings * self._event_cpu_s, threads=max(1, min(encodings, len(self._watches))))
            self.events += encodings
            self._meter.served += changes
            if turn:
                self._clock.at(self._latency_s, partial(_deliver, turn))
        self._busy = False
        self._meter.level(0, 0)


def _deliver(turn: list[tuple[tuple[Handler, ...], int]], _: Alarm) -> None:
    for handlers, row in turn:
        for handler in handlers:
            handler(row)
