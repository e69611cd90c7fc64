"""Watches: a stored change reaches everyone who watches its resource, in the order of storing.

    hub.watch("pods", "kube-scheduler", {"created": scheduler.on_created, "bound": scheduler.on_bound})
    hub.publish("pods", "created", pod)      # the moment the change is stored

Every API server has a cache a resource (`watch_cache`), and every client watches at one of them. A client whose watch has
ended, because its server died or because it was too slow, misses what is stored until it is back (`reflector`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from sim.apiserver.encoding import Encoding
from sim.apiserver.watch_cache import Handler, MemberWatch, Watch, WatchCache
from sim.engine.clock import Clock
from sim.engine.cores import Cores
from sim.engine.meter import Meter

if TYPE_CHECKING:
    from simpy.events import Event

    from sim.apiserver.client import Client
    from sim.apiserver.population import Population
    from sim.apiserver.spec import ApiServerSpec
    from sim.apiserver.storage import Storage

__all__ = ["Handler", "Watch", "WatchHub"]


class Topic:
    """One resource: its caches, one a server, and the watches that are open nowhere."""

    __slots__ = ("away", "caches", "live", "stored")

    def __init__(self, caches: list[WatchCache]) -> None:
        self.caches = caches
        self.live = list(caches)
        """Those whose servers run."""
        self.away: list[Watch | Population] = []
        self.stored = 0
        """Changes since the start."""


class WatchHub:
    """Brings changes from those who store to those who watch.

    servers: the cores of each API server.
    on_end: called with a watch that has ended; it is to see that the client comes back.
    """

    def __init__(self, clock: Clock, spec: ApiServerSpec, storage: Storage, servers: Sequence[Cores]) -> None:
        self._clock = clock
        self._spec = spec
        self._storage = storage
        self._servers = servers
        self._network_s = 0.0
        self._topics: dict[str, Topic] = {}
        names = ["watch fan-out", *(f"watch fan-out {number}" for number in range(2, len(servers) + 1))]
        self.meters = [Meter(clock, name, "apiserver", 1) for name in names]
        self.on_end: Callable[[Watch], None] = self._back_at_once
        self.server_of: Callable[[Watch], int] = lambda watch: 0
        """The number of the server that a watch's client is connected to, or can be; -1 when none runs."""
        self.dropped = 0
        """Watches that the servers ended because their clients were too slow."""

    @property
    def events(self) -> float:
        """Events sent to watchers so far."""
        return sum((cache.events for topic in self._topics.values() for cache in topic.caches), 0.0)

    @property
    def sent_bytes(self) -> float:
        """Bytes of these events."""
        return sum((cache.sent_bytes for topic in self._topics.values() for cache in topic.caches), 0.0)

    def sent(self) -> list[tuple[str, tuple[str, ...], int]]:
        """Of each resource: its name, who watches it, events sent to them so far."""
        return [
            (
                resource,
                tuple(watch.watcher for cache in topic.caches for watch in cache.watches),
                round(sum(cache.events for cache in topic.caches)),
            )
            for resource, topic in self._topics.items()
        ]

    def watchers_of_all(self, resource: str, server: int) -> int:
        """How many watch all objects of a resource at one server, those aside who see only some kinds of changes."""
        topic = self._topics.get(resource)
        if topic is None:
            return 0
        return round(sum(watch.count for watch in topic.caches[server].watches if not watch.selective))

    def set_network(self, one_way_s: float) -> None:
        """What an event's way over the underlay takes from now on, beyond the server's own latency."""
        self._network_s = one_way_s
        for topic in self._topics.values():
            for cache in topic.caches:
                cache.latency_s = self._spec.watch_latency_s + one_way_s

    def watch(
        self,
        resource: str,
        watcher: str,
        on: Mapping[str, Handler | None],
        *,
        selective: bool = False,
        client: Client | None = None,
        encoding: Encoding = "protobuf",
        count: int = 1,
        read_s: float = 0.0,
    ) -> Watch:
        """Open a watch; from now on `on[kind](row)` runs whenever a change of that kind has reached `watcher`.

        selective: only kinds in `on` are sent, as to a kubelet, which hears of its own pods alone. client: sends the requests
        with which it comes back when the watch has ended. count: so many alike watchers. read_s: what a client takes for an
        event; slow ones are dropped.
        """
        watch = Watch(resource, watcher, on, selective, client, encoding, count, read_s)
        self.open(watch, max(0, self.server_of(watch)))
        return watch

    def publish(self, resource: str, kind: str, row: int) -> None:
        """A change of `resource` was stored: tell all who watch it. kind: `created`, `bound`, `deleting`, ..."""
        topic = self._topics.get(resource)
        if topic is None:
            return
        topic.stored += 1
        for cache in topic.live:
            cache.stored(kind, row)
        if topic.away:
            for watch in topic.away:
                watch.miss(kind, row)

    # --- watches that end and come back

    def open(self, watch: Watch, server: int) -> None:
        """The client watches at this server from now on; what it missed is sent first."""
        topic = self.topic(watch.resource)
        if watch in topic.away:
            topic.away.remove(watch)
        topic.caches[server].add(watch)

    def end(self, watch: Watch) -> None:
        """The watch is closed; the client misses what comes until it is opened again."""
        topic = self.topic(watch.resource)
        for cache in topic.caches:
            if watch in cache.watches:
                cache.remove(watch)
        if watch not in topic.away:
            topic.away.append(watch)
            watch.seen, watch.revision = topic.stored, topic.caches[0].etcd.database.revision

    def drop(self, watch: Watch) -> None:
        """The server ends the watch of a client that is too slow."""
        self.dropped += 1
        self.end(watch)
        self.on_end(watch)

    def server_died(self, server: int) -> list[Watch]:
        """All its watches end; returns them."""
        ended: list[Watch] = []
        for topic in self._topics.values():
            cache = topic.caches[server]
            populations = [watch.population for watch in cache.watches if isinstance(watch, MemberWatch)]
            for population in populations:
                population.lose(server)
            watches = [watch for watch in cache.watches if not isinstance(watch, MemberWatch)]
            unsent = cache.die()
            for population in populations:
                population.died()
            topic.live.remove(cache)
            for watch in watches:
                self.end(watch)
                watch.seen, watch.revision = topic.stored - unsent, cache.revision
            ended += watches
        return ended

    def server_started(self, server: int) -> dict[str, Event]:
        """Its caches take in changes again; returns what says, for each resource, when its cache has been filled."""
        ready = {}
        for resource, topic in self._topics.items():
            cache = topic.caches[server]
            ready[resource] = cache.start(topic.stored)
            topic.live = [cache for cache in topic.caches if cache.live]
        return ready

    def topic(self, resource: str) -> Topic:
        """The resource's caches, made when they are first asked for."""
        topic = self._topics.get(resource)
        if topic is None:
            topic = self._topics[resource] = Topic(
                [
                    WatchCache(self._clock, resource, self._spec, self._storage, cores, meter, number, self.drop)
                    for number, (cores, meter) in enumerate(zip(self._servers, self.meters, strict=True))
                ]
            )
            self.set_network(self._network_s)
        return topic

    @property
    def resources(self) -> list[str]:
        """Resources that have caches."""
        return list(self._topics)

    def _back_at_once(self, watch: Watch) -> None:
        self.open(watch, 0)
