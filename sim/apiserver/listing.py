"""LISTs: from the watch cache or from etcd, in pages or at once; each object read, converted and written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from sim.apiserver.encoding import LISTS
from sim.base.spec import Spec, param

if TYPE_CHECKING:
    from simpy.events import Event

    from sim.apiserver.identity import Identity
    from sim.apiserver.request import ListOperation
    from sim.apiserver.storage import Storage
    from sim.apiserver.watch import WatchHub
    from sim.engine.cores import Cores

GATEWAY_TIMEOUT = 504


class ListSpec(Spec):
    """How LISTs are answered."""

    consistent_from_cache: bool = param(
        False,
        "a LIST that asks for the newest state is answered by the cache, once that is known to be as new as etcd",
        source="Kubernetes 1.31 to 1.34 source: on since 1.31",
    )
    indexed: bool = param(
        False,
        "the cache finds a namespace's objects by an index; else it looks at all objects of the resource",
        source="Kubernetes 1.34 source: B-tree watch cache",
    )
    scan_cpu_s: float = param(
        6.0e-7,
        "the cache looks at one object",
        source=LISTS + ": from the cache more than from etcd, over some 6,300 pods",
        ge=0,
        le=1e-3,
    )
    collector_share: float = param(
        0.2,
        "of a LIST's CPU time, garbage collection that runs beside it",
        source=LISTS + ": CPU time over latency",
        ge=0,
        lt=1,
    )
    memory_ratio: float = param(
        5.0,
        "memory that a LIST takes while it is served, over its objects' size as stored",
        unverified=True,
        source="our estimate: decoded objects and the answer's buffers",
        ge=0,
        le=100,
    )


class Lists:
    """The LISTs of one API server."""

    def __init__(self, spec: ListSpec, cores: Cores, storage: Storage, hub: WatchHub, server: int) -> None:
        self._spec = spec
        self._cores = cores
        self._storage = storage
        self._hub = hub
        self._server = server
        self._held_bytes = 0.0
        self.peak_bytes = 0.0
        """Most memory that LISTs under way took together."""
        self.sent_bytes = 0.0
        """Answers, as they went over the network."""
        self.objects = 0
        """Objects in them."""
        self.transfer: Callable[[Identity, float], Event | None] = lambda user, size_bytes: None
        """Sends an answer over the underlay; fires with the last byte. None: it is too small to be a flow, or goes nowhere."""
        self.small_bytes: defaultdict[str, float] = defaultdict(float)
        """By user: answers that were no flow; whoever spreads them over links takes them away."""

    def read(
        self, operation: ListOperation, user: Identity, namespace: str, own_cpu_s: float
    ) -> Generator[Event, Any, int]:
        """One page, or all; ends with the HTTP status. own_cpu_s: what the request costs besides its objects."""
        storage, encoding, cores = self._storage, self._storage.encoding, self._cores
        found = storage.listed(operation, namespace)
        stored = found * storage.object_bytes(operation.resource)
        held = stored * self._spec.memory_ratio
        self._held_bytes += held
        self.peak_bytes = max(self.peak_bytes, self._held_bytes)
        try:
            if self.from_cache(operation):
                cache = self._hub.topic(operation.resource).caches[self._server]
                if cache.ready.callbacks is not None:
                    yield cache.ready
                if operation.version == "newest":
                    error = yield cache.etcd.range()
                    if error:
                        return 500
                    if (yield cache.fresh(cache.etcd.database.revision)) is False:
                        return GATEWAY_TIMEOUT
            else:
                yield cores.work(own_cpu_s)
                error = yield storage.of(operation.resource).range(size_bytes=stored)
                if error:
                    return 500
                own_cpu_s = 0.0
            cpu_s = own_cpu_s + self.objects_cpu_s(operation, user, namespace)
            collected_s = cpu_s * self._spec.collector_share
            cores.load(collected_s)
            yield cores.work(cpu_s - collected_s)
        finally:
            self._held_bytes -= held
        size_bytes = encoding.answer(encoding.of(user), stored).wire_bytes
        self.objects += found
        self.sent_bytes += size_bytes
        sending = self.transfer(user, size_bytes)
        if sending is None:
            self.small_bytes[user.name] += size_bytes
        else:
            yield sending
        return 200

    def answered(self, operation: ListOperation, user: Identity, count: int) -> None:
        """`count` alike LISTs of components were answered together."""
        found = self._storage.listed(operation, "")
        stored, encoding = found * self._storage.object_bytes(operation.resource), self._storage.encoding
        size_bytes = count * encoding.answer(encoding.of(user), stored).wire_bytes
        self.objects += count * found
        self.sent_bytes += size_bytes
        self.small_bytes[user.name] += size_bytes

    def from_cache(self, operation: ListOperation) -> bool:
        """Whether the watch cache answers it."""
        return operation.version != "newest" or self._spec.consistent_from_cache

    def objects_cpu_s(self, operation: ListOperation, user: Identity, namespace: str) -> float:
        """What a LIST's objects cost the API server."""
        storage, encoding = self._storage, self._storage.encoding
        found = storage.listed(operation, namespace)
        stored = found * storage.object_bytes(operation.resource)
        cpu_s = encoding.answer(encoding.of(user), stored).cpu_s
        if not self.from_cache(operation):
            return cpu_s + encoding.decode_cpu_s("protobuf", stored)
        scanned = found if self._spec.indexed else storage.objects(operation.resource)
        return cpu_s + scanned * self._spec.scan_cpu_s
