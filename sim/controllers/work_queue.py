"""client-go's work queue: keys to be synced by a controller's workers, and when a failed one may come again.

A key is in the queue at most once, and with one worker at a time: what is added while it is being synced comes after.
Rules: Kubernetes 1.20 source, client-go util/workqueue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Hashable
from typing import Any, Generic, TypeVar

from simpy.events import Event

from sim.engine.clock import Clock
from sim.engine.meter import Meter
from sim.engine.token_bucket import TokenBucket

OVERALL_PER_S = 10.0
OVERALL_BURST = 100
"""All failed keys of one queue together (Kubernetes 1.20 source, client-go default_rate_limiters.go)."""

Key = TypeVar("Key", bound=Hashable)


class _Idle:
    """A worker's share of keys that a sync finds as they should be."""

    __slots__ = ("keys",)

    def __init__(self, keys: int) -> None:
        self.keys = keys


class WorkQueue(Generic[Key]):
    """`workers` syncs at a time, first come, first served.

    sync: a process that ends with whether it went well; if not, the key comes again after its back-off, `base_s`
    doubled with each failure in a row up to `most_s`, and not before the queue's overall limit on failed keys.
    limited_overall: false for controllers that give their queue the first limit alone. quick: what can be done about a key
    at once, without a worker's time; true when that was all.
    """

    def __init__(
        self,
        clock: Clock,
        name: str,
        workers: int,
        sync: Callable[[Key], Generator[Event, Any, bool]],
        base_s: float,
        most_s: float,
        limited_overall: bool = True,
        quick: Callable[[Key], bool] | None = None,
    ) -> None:
        self._quick = quick
        self._clock = clock
        self._workers = workers
        self._sync = sync
        self._base_s = base_s
        self._most_s = most_s
        self._overall = (
            TokenBucket(clock, name, "controllers", OVERALL_PER_S, OVERALL_BURST) if limited_overall else None
        )
        self._ready: deque[Any] = deque()
        self._idle_left = 0
        self._look: Callable[[int], Event]
        self._dirty: set[Key] = set()
        """Keys that wait for a sync, in `_ready` or until the one under way is over."""
        self._processing: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._busy = 0
        self.life = 0
        """Grows when the process that holds the queue dies: a sync that began before must do nothing more."""
        self.open = True
        """While no replica leads, nothing is queued."""
        self.meter = Meter(clock, f"{name} workers", "controllers", workers)

    def has_time_for(self, key: Key) -> bool:
        """Whether `key`, added now, would be synced at once."""
        return self._busy < self._workers and key not in self._processing and self.open

    def add(self, key: Key) -> None:
        """Sync `key` as soon as a worker is free."""
        if key in self._dirty or not self.open:
            return
        if key in self._processing:
            self._dirty.add(key)
        elif self._busy < self._workers:
            self._busy += 1
            self._processing.add(key)
            self.meter.level(self._busy, len(self._ready))
            self._clock.start(self._work(key))
        else:
            self._dirty.add(key)
            self._ready.append(key)
            self.meter.level(self._busy, len(self._ready))

    def add_idle(self, keys: int, look: Callable[[int], Event]) -> None:
        """Add `keys` keys that a sync finds as they should be, all together: each worker has its share of them to do in one
        piece, and whatever is added later comes after. look: the work of so many such syncs. Those that still wait are not
        added again."""
        if self._idle_left or not self.open:
            return
        self._look = look
        workers = min(self._workers, keys)
        for worker in range(workers):
            self._idle_left += 1
            self._add_idle(_Idle(keys // workers + (worker < keys % workers)))

    def _add_idle(self, share: Any) -> None:
        if self._busy < self._workers:
            self._busy += 1
            self.meter.level(self._busy, len(self._ready))
            self._clock.start(self._work(share))
        else:
            self._ready.append(share)
            self.meter.level(self._busy, len(self._ready))

    def add_after(self, key: Key, delay_s: float) -> None:
        """Add `key` after a time."""
        if delay_s <= 0:
            self.add(key)
            return
        life = self.life
        self._clock.at(delay_s, lambda _: self.add(key) if life == self.life else None)

    def add_rate_limited(self, key: Key) -> None:
        """Add `key` after its back-off."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay_s = min(self._base_s * 2.0 ** min(failures, 60), self._most_s)
        if self._overall is not None:
            delay_s = max(delay_s, self._overall.reserve())
        self.add_after(key, delay_s)

    def forget(self, key: Key) -> None:
        """Its next back-off is the first again."""
        self._failures.pop(key, None)

    def failures(self, key: Key) -> int:
        """Failed syncs in a row."""
        return self._failures.get(key, 0)

    def lose(self) -> None:
        """The process that holds the queue dies: nothing that waits in it, and no sync under way, is heard of again."""
        self.life += 1
        self._ready.clear()
        self._dirty.clear()
        self._processing.clear()
        self._failures.clear()
        self._busy = self._idle_left = 0
        self.open = False
        self.meter.level(0, 0)

    def _work(self, key: Any) -> Generator[Event, Any, None]:
        """Process: one worker, until it finds the queue empty."""
        life = self.life
        while True:
            if key.__class__ is _Idle:
                yield self._look(key.keys)
                done = True
            else:
                done = yield from self._sync(key)
            if life != self.life:
                return
            if key.__class__ is _Idle:
                self.meter.served += key.keys - 1
                self._idle_left -= 1
            self.meter.served += 1
            self._processing.discard(key)
            if done:
                self._failures.pop(key, None)
            else:
                self.add_rate_limited(key)
            if key in self._dirty:
                if done and self._quick is not None and self._quick(key):
                    self._dirty.discard(key)
                else:
                    self._ready.append(key)
            if not self._ready:
                break
            key = self._ready.popleft()
            self._dirty.discard(key)
            self._processing.add(key)
            self.meter.level(self._busy, len(self._ready))
        self._busy -= 1
        self.meter.level(self._busy, 0)
