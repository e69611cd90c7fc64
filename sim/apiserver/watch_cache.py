"""One resource's cache in one API server: a single writer feeds it from etcd's watch and hands each change to all who watch."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

from simpy.events import Event

from sim.apiserver.ring import Ring
from sim.base.spec import Spec, param
from sim.engine.clock import Alarm, Clock, fire, when
from sim.engine.cores import Cores
from sim.engine.meter import Meter

if TYPE_CHECKING:
    from sim.apiserver.client import Client
    from sim.apiserver.encoding import Encoding
    from sim.apiserver.population import Population
    from sim.apiserver.spec import ApiServerSpec
    from sim.apiserver.storage import Storage

Handler = Callable[[int], None]
"""Called with the row of what changed (a pod's, an application's, ...) when the event reaches the watcher."""

INDEXED = frozenset({"pods", "nodes", "secrets", "configmaps"})
"""Resources with an index of who watches what; others' watchers have the long channel (Kubernetes 1.20 source, cacher)."""

K20 = "Kubernetes 1.20 source, cacher"


class WatchClientsSpec(Spec):
    """Clients beside the components that watch a resource: operators, dashboards, service meshes."""

    resource: str = param("pods", "what they watch, all of it", min_length=1)
    count: int = param(1, "how many alike", ge=1, le=1_000_000)
    encoding: Literal["json", "protobuf"] = param("json", "what they ask for")
    read_s: float = param(
        0.0, "time that each takes for an event; who is too slow is dropped, and comes back", ge=0, le=60
    )


class WatchSpec(Spec):
    """Watch caches and their watchers."""

    clients: tuple[WatchClientsSpec, ...] = param((), "clients that watch beside the components")

    channel: int = param(10, "events that wait for one watcher", source=K20, ge=1, le=1_000_000)
    indexed_channel: int = param(
        1000,
        "the same for resources with an index of who watches what: pods, nodes, secrets, configmaps",
        source=K20,
        ge=1,
        le=1_000_000,
    )
    slow_budget_s: float = param(
        0.1,
        "patience of a cache with full channels, before it drops their watches",
        source="Kubernetes 1.20 source, time budget",
        gt=0,
        le=60,
    )
    slow_budget_per_s: float = param(
        0.05, "how fast that patience comes back", source="Kubernetes 1.20 source, time budget", ge=0, le=1
    )
    progress_period_s: float = param(
        0.1,
        "how often etcd is asked for its progress while a reader waits for the newest state",
        source="Kubernetes 1.31 to 1.34 source, cacher",
        gt=0,
        le=60,
    )
    freshness_wait_s: float = param(
        3.0,
        "longest wait of a reader for a cache as new as etcd; then it is answered 504",
        source="Kubernetes 1.34 source, watch cache",
        gt=0,
        le=60,
    )
    bookmark_period_s: float = param(
        60.0, "every watcher is told the newest version this often", source=K20, gt=0, le=3600
    )
    timeout_least_s: float = param(
        300.0,
        "shortest time that a client keeps a watch open; the longest is twice as long",
        source="Kubernetes 1.20 source, reflector",
        gt=0,
        le=86_400,
    )
    retry_s: float = param(
        1.0,
        "a client whose watch cannot be opened tries again after this",
        source="Kubernetes 1.20 source, reflector",
        gt=0,
        le=60,
    )
    retry_max_s: float = param(
        1.0,
        "each time twice as long, up to this",
        source="Kubernetes 1.20 source, reflector: no increase",
        gt=0,
        le=3600,
    )
    retry_jitter: float = param(
        0.0, "and up to this share longer, at random", source="Kubernetes 1.20 source, reflector: none", ge=0, le=10
    )
    relist_s: float = param(
        0.8,
        "a client waits this long, and up to twice as long, before it lists after its version was too old",
        source="Kubernetes 1.20 source, reflector",
        gt=0,
        le=60,
    )
    page: int = param(10_000, "objects in a page when a starting cache lists etcd", source=K20, ge=1, le=10**7)


class Watch:
    """One client's watch of one resource, or that of `count` alike ones; `WatchHub.watch` says what the fields mean."""

    __slots__ = (
        "_lag",
        "_lag_s",
        "client",
        "count",
        "encoding",
        "missed",
        "on",
        "read_s",
        "resource",
        "revision",
        "seen",
        "selective",
        "watcher",
    )

    def __init__(
        self,
        resource: str,
        watcher: str,
        on: Mapping[str, Handler | None],
        selective: bool = False,
        client: Client | None = None,
        encoding: Encoding = "protobuf",
        count: float = 1,
        read_s: float = 0.0,
    ) -> None:
        self.resource = resource
        self.watcher = watcher
        self.on = dict(on)
        self.selective = selective
        self.client = client
        self.encoding = encoding
        self.count = count
        self.read_s = read_s
        self.missed: list[tuple[Handler, int]] = []
        """What it would have acted on while it was not open."""
        self.seen = 0
        """Changes stored before the first that it missed."""
        self.revision = 0
        """etcd's, up to which it was told of all changes."""
        self._lag = 0.0
        self._lag_s = 0.0

    def hears(self, kind: str) -> bool:
        """Whether changes of this kind are sent to it."""
        return not self.selective or kind in self.on

    def miss(self, kind: str, row: int) -> None:
        """A change was stored while it was not open."""
        handler = self.on.get(kind)
        if handler is not None:
            self.missed.append((handler, row))

    def catch_up(self) -> None:
        """What it missed has reached it: act on it, in the order of storing."""
        missed, self.missed = self.missed, []
        for handler, row in missed:
            handler(row)

    def unread(self, now_s: float, events: int) -> float:
        """`events` more were sent to it now: how many its client has not read."""
        if now_s > self._lag_s:
            self._lag = max(0.0, self._lag - (now_s - self._lag_s) / self.read_s)
            self._lag_s = now_s
        self._lag += events
        return self._lag

    def read_all(self) -> None:
        """Its connection is new: nothing is on the way."""
        self._lag = 0.0


class MemberWatch(Watch):
    """The members of a population that watch at one server."""

    __slots__ = ("population",)

    def __init__(
        self, resource: str, watcher: str, on: Mapping[str, Handler | None], selective: bool, population: Population
    ) -> None:
        super().__init__(resource, watcher, on, selective, count=0)
        self.population = population

    def miss(self, kind: str, row: int) -> None:
        self.population.miss_now(kind, row)


class Told:
    """Who hears of changes of one kind here."""

    __slots__ = ("encodings", "handlers", "watches")

    def __init__(self, kind: str, watches: list[Watch]) -> None:
        self.watches = [watch for watch in watches if watch.hears(kind)]
        acting = [(handler, watch) for watch in self.watches if (handler := watch.on.get(kind)) is not None]
        self.handlers = tuple(handler for handler, _ in acting)
        self.encodings = sum(watch.count for watch in self.watches)


Turn = list[tuple[Told, str, int]]


def _deliver(turn: Turn, _: Alarm) -> None:
    for told, _kind, row in turn:
        for handler in told.handlers:
            handler(row)


class WatchCache:
    """Its writer takes what etcd's watch has brought since its last turn, decodes it once, has it encoded once an encoding and
    sent to every open watch, each on a thread of its own; so a burst is delivered in few, larger turns.

    A watcher that does not read fast enough fills its channel, for which the writer waits: at most as long as its budget
    lasts, then the watch is dropped. on_slow: called with it.
    """

    def __init__(
        self,
        clock: Clock,
        resource: str,
        spec: ApiServerSpec,
        storage: Storage,
        cores: Cores,
        meter: Meter,
        server: int,
        on_slow: Callable[[Watch], None],
    ) -> None:
        self._clock = clock
        self._cores = cores
        self._meter = meter
        self._spec = spec.watch
        self._encoding = storage.encoding
        self._object_bytes = storage.object_bytes(resource)
        self.etcd = storage.of(resource)
        self._event_cpu_s = spec.watch_event_cpu_s
        self.latency_s = spec.watch_latency_s
        self._on_slow = on_slow
        self.resource = resource
        self.server = server
        self.watches: list[Watch] = []
        self.live = True
        self.ready = clock.happened
        """Has happened when the cache has been filled."""
        self.events = 0.0
        """Sent to watchers."""
        self.sent_bytes = 0.0
        self._told: dict[str, Told] = {}
        self._waiting: Turn = []
        """Changes that someone acts on; the others are only encoded."""
        self._under_way: Turn = []
        self._changes = 0
        self._changes_under_way = 0
        self._encodings = 0.0
        self._encodings_under_way = 0.0
        self._revision_under_way = 0
        self._began_s = 0.0
        self._step = clock.happened
        """What the writer waits for, while it is busy."""
        self._busy = False
        self._slow: list[Watch] = []
        self._readers: list[tuple[int, Event]] = []
        self._asked = False
        self._revision = 0
        """etcd's, up to which the cache knows all changes."""
        self._listed_revision = 0
        """At which its process began; 0: it has run since before the run began."""
        self._turn_s, self._turn_changes = array("d"), array("q")
        """Turns that the ring has not been told of: it is only asked when someone comes back."""
        self._ring = Ring()
        self._budget_s = self._spec.slow_budget_s
        self._budget_at_s = 0.0
        self._channel = self._spec.indexed_channel if resource in INDEXED else self._spec.channel
        self._learn_watches()

    # --- who watches

    def add(self, watch: Watch) -> None:
        """The watch is open here; what it missed has been sent."""
        watch.read_all()
        self.watches.append(watch)
        self._learn_watches()
        watch.catch_up()

    def remove(self, watch: Watch) -> None:
        """The watch is closed; what is being sent to it still arrives."""
        self.watches.remove(watch)
        self._learn_watches()

    def recount(self) -> None:
        """A watch's `count` has changed."""
        self._learn_watches()

    def _learn_watches(self) -> None:
        encoding, stored = self._encoding, self._object_bytes
        spoken = {watch.encoding for watch in self.watches}
        sizes = {name: encoding.size_bytes(name, stored) for name in spoken}
        self._told.clear()
        self._threads = max(1, len(self.watches))
        self._slow = [watch for watch in self.watches if watch.read_s > 0]
        self._change_cpu_s = encoding.decode_cpu_s("protobuf", stored) + sum(
            encoding.encode_cpu_s(name, size) for name, size in sizes.items()
        )
        self._event_bytes = sum(sizes[watch.encoding] * watch.count for watch in self.watches) / (
            sum(watch.count for watch in self.watches) or 1
        )

    # --- changes

    def stored(self, kind: str, row: int) -> None:
        """A change is in etcd."""
        told = self._told.get(kind)
        if told is None:
            told = self._told[kind] = Told(kind, self.watches)
        if told.handlers:
            self._waiting.append((told, kind, row))
        self._changes += 1
        self._encodings += told.encodings
        if self._busy:
            self._meter.level(1, self._changes)
        else:  # its turn begins at once
            self._meter.max_queue = max(1.0, self._meter.max_queue)
            self._busy = True
            self._take_turn()

    # The writer's loop, as callbacks: a process for each turn would cost more than the turn.

    def _take_turn(self) -> None:
        """The writer takes what has come, decodes it and has it encoded."""
        self._under_way, self._waiting = self._waiting, []
        changes = self._changes_under_way = self._changes
        self._changes = 0
        encodings = self._encodings_under_way = self._encodings
        self._encodings = 0.0
        self._revision_under_way = self.etcd.database.revision
        self._began_s = self._clock._now
        self._meter.level(1, 0)
        cpu_s = changes * self._change_cpu_s + encodings * self._event_cpu_s
        self._step = self._cores.work(cpu_s, min(self._threads, int(encodings) or 1))
        when(self._step, self._encoded)

    def _encoded(self, done: Event) -> None:
        changes = self._changes_under_way
        if self._slow or changes > self._channel:
            wait_s = self._wait_for_slow(changes, self._clock._now - self._began_s)
            if wait_s > 0:
                self._step = self._clock.timeout(wait_s)
                when(self._step, self._sent)
                return
        self._sent(done)

    def _sent(self, _: Event) -> None:
        """The turn's changes are on their way to all who watch; the next turn begins, if more have come."""
        now, encodings = self._clock._now, self._encodings_under_way
        turn, changes = self._under_way, self._changes_under_way
        self.events += encodings
        self.sent_bytes += encodings * self._event_bytes
        self._meter.served += changes
        self._turn_s.append(now)
        self._turn_changes.append(changes)
        self._revision = self._revision_under_way
        self._under_way, self._changes_under_way = [], 0
        if turn:
            self._clock.at(self.latency_s, partial(_deliver, turn))
        if self._readers:
            self._answer_readers()
        if self._changes:
            self._take_turn()
        else:
            self._busy = False
            self._meter.level(0, 0)

    def _wait_for_slow(self, changes: int, lasted_s: float) -> float:
        """How long the writer was held up by full channels; ends the watches for which its patience was not enough."""
        now, spec = self._clock._now, self._spec
        self._budget_s = min(spec.slow_budget_s, self._budget_s + (now - self._budget_at_s) * spec.slow_budget_per_s)
        self._budget_at_s = now
        held_up = {watch: (watch.unread(now, changes) - self._channel) * watch.read_s for watch in self._slow}
        if changes > self._channel and self._event_cpu_s > self._change_cpu_s:
            # the writer goes through changes faster than each watch's thread encodes them
            kept = changes * (1 - self._change_cpu_s / self._event_cpu_s) - self._channel
            for watch in self.watches:
                held_up[watch] = max(held_up.get(watch, 0.0), kept * lasted_s / changes)
        wanted_s = max(held_up.values(), default=0.0)
        if wanted_s <= 0:
            return 0.0
        waited_s = min(wanted_s, self._budget_s)
        for watch, needed_s in held_up.items():
            if needed_s > self._budget_s and not watch.selective:
                self._clock.at(0.0, partial(self._drop, watch))
        self._budget_s -= waited_s
        return waited_s

    def _drop(self, watch: Watch, _: Alarm) -> None:
        if watch in self.watches:
            self._on_slow(watch)

    # --- readers

    def covers(self, seen: int, revision: int) -> bool:
        """Whether a watch may go on after the `seen`-th change and from a revision of etcd, which its client has seen.

        A new process knows nothing from before its first LIST: it refuses what is older, even where nothing has changed.
        """
        if revision < self._listed_revision:
            return False
        ring = self._ring
        for time_s, changes in zip(self._turn_s, self._turn_changes, strict=True):
            ring.add(time_s, changes)
        del self._turn_s[:], self._turn_changes[:]
        return ring.covers(seen)

    def replay(self, changes: int) -> Event:
        """Send changes that one watcher missed; fires when they are encoded."""
        return self._cores.work(changes * self._event_cpu_s)

    @property
    def revision(self) -> int:
        """etcd's, up to which the cache knows all changes."""
        return self._revision

    def fresh(self, revision: int) -> Event:
        """Fires with true when the cache knows all changes up to a revision of etcd; with false after the longest wait.

        Where no change of this resource tells it, etcd does when the server asks for its progress, which it does once a
        period while a reader waits.
        """
        if self._revision >= revision:
            return self._clock.happened
        answer = Event(self._clock)
        self._readers.append((revision, answer))
        self._clock.at(self._spec.freshness_wait_s, lambda _: self._give_up(answer))
        if not self._asked:
            self._asked = True
            self._clock.at(self._spec.progress_period_s, self._progress)
        return answer

    def _progress(self, _: Alarm) -> None:
        self._asked = False
        if not self._busy:
            self._revision = self.etcd.database.revision
        self._answer_readers()
        if self._readers:
            self._asked = True
            self._clock.at(self._spec.progress_period_s, self._progress)

    def _answer_readers(self) -> None:
        waiting, self._readers = self._readers, []
        for revision, answer in waiting:
            if self._revision >= revision:
                fire(answer, True)
            else:
                self._readers.append((revision, answer))

    def _give_up(self, answer: Event) -> None:
        if answer.callbacks is not None:
            self._readers = [reader for reader in self._readers if reader[1] is not answer]
            fire(answer, False)

    # --- the server's death and its start

    def die(self) -> int:
        """The server is gone: what it had not sent, its watches miss. Returns how many changes that is."""
        unsent = self._changes + self._changes_under_way
        for go_on in (self._encoded, self._sent):
            if self._step.callbacks and go_on in self._step.callbacks:
                self._step.callbacks.remove(go_on)
        for told, kind, row in (*self._under_way, *self._waiting):
            for watch in told.watches:
                watch.miss(kind, row)
        self._under_way, self._waiting = [], []
        self._changes_under_way = 0
        self._changes, self._encodings = 0, 0.0
        self._busy, self._asked = False, False
        self._meter.level(0, 0)
        self._readers = []
        self.live = False
        return unsent

    def start(self, stored: int) -> Event:
        """A new process begins to fill it; returns the event that says when it is ready. stored: changes so far."""
        del self._turn_s[:], self._turn_changes[:]
        self._ring.total = stored
        self._ring.clear()
        self._revision = self._listed_revision = self.etcd.database.revision
        self.live = True
        self.ready = Event(self._clock)
        return self.ready
