"""The image service of all nodes: the kubelet's decision to pull, the runtime's pull, and garbage collection."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from sim.base.rand import Streams
from sim.engine.clock import Clock, fire
from sim.engine.semaphore import Semaphore
from sim.images.back_off import BackOff
from sim.images.layers import Image, Layer
from sim.images.node_store import NodeStore
from sim.images.sources.catalog import ImageSource
from sim.images.spec import NodeImagesSpec

if TYPE_CHECKING:
    from sim.kubelet.node import Node

Answer = Generator[Event, Any, str]
Use = Callable[[int], tuple[set[str], dict[str, float]]]

ERR_IMAGE_PULL = "ErrImagePull"
IMAGE_PULL_BACK_OFF = "ImagePullBackOff"
ERR_IMAGE_NEVER_PULL = "ErrImageNeverPull"


class ImageService:
    """Brings images onto nodes.

    serial: one pull at a time a node. use: a node's index -> images of the pods that are there, and when each other image
    was last used by one; asked only when a node's disk is nearly full.
    """

    def __init__(
        self,
        clock: Clock,
        spec: NodeImagesSpec,
        serial: bool,
        images: Mapping[str, Image],
        source: ImageSource,
        streams: Streams,
        nodes: int,
        use: Use,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._serial = serial
        self.images = images
        self.source = source
        self._use = use
        self._back_off = BackOff(spec.back_off_s, spec.back_off_max_s)
        self._gc_phase_s = streams("images.gc_phases").random(nodes) * spec.gc_period_s
        self.stores: dict[int, NodeStore] = {}
        self.reasons: dict[int, str] = {}
        """Pods that wait for an image that could not be had, and the kubelet's reason."""
        self.pulls = 0
        """Pulls that had to fetch something and have brought their image."""
        self.failures = 0
        """Pulls that failed."""
        self.removed = 0
        """Images that garbage collection removed."""
        self.stuck_disks = 0
        """Garbage collections that could not free enough."""
        self.received_bytes = 0.0
        """Compressed bytes that have arrived on nodes."""
        self.stored_bytes = 0
        """Compressed bytes of the layers that pulls have unpacked on nodes."""

    def broken_laws(self) -> list[str]:
        """What is not conserved: bytes arrive because they were sent, layers lie where pulls put them, images are whole."""
        broken = []
        sent, received, stored = self.source.sent_bytes, self.received_bytes, self.stored_bytes
        if not stored <= received or abs(sent - received) > 1e-9 * sent:
            broken.append(f"images: {stored} bytes stored by pulls, {received} received, {sent} sent")
        added = sum(store.added_bytes for store in self.stores.values())
        if added != stored:
            broken.append(f"images: {stored} bytes stored by pulls, {added} on nodes")
        for index, store in self.stores.items():
            lacking = [name for name in store.present if store.missing(self.images[name])]
            if lacking or store.held_bytes != store.began_bytes + store.added_bytes - store.removed_bytes:
                broken.append(
                    f"images: node {index} holds {store.held_bytes} bytes of layers; it began with {store.began_bytes}, pulls "
                    f"added {store.added_bytes}, {store.removed_bytes} were removed; not whole: {lacking}"
                )
        return broken

    # --- the kubelet's side

    def ensure(self, node: Node, pod: int, image: str, policy: str = "", namespace: str = "") -> Answer:
        """One look of the kubelet at a container's image (EnsureImageExists): pull it if need be.

        policy: the container's imagePullPolicy; "": the default. Ends with "" when the image is on the node, else with the
        reason that the pod's status shows; the kubelet then tries again with its next sync of the pod.
        """
        policy = policy or self._spec.pull_policy
        here = image in node.images or image in self.store(node).startable
        if here and policy != "Always":
            return ""
        if policy == "Never":
            return self._say(pod, ERR_IMAGE_NEVER_PULL)
        key = (pod, image)
        if self._back_off.waits(key, self._clock._now):
            return self._say(pod, IMAGE_PULL_BACK_OFF)
        boots = node.boots
        yield from self._slot(node)
        fault = "pull QPS exceeded"
        if self.store(node).accepts_pull(self._clock._now):
            fault = yield from self._pull(node, image, namespace)
        self._free_slot(node)
        if fault:
            self.failures += 1
            if node.boots == boots:  # a kubelet that begins anew knows of no back-off
                self._back_off.failed(key, self._clock._now)
            return self._say(pod, ERR_IMAGE_PULL)
        self._back_off.forget(key)
        self.reasons.pop(pod, None)
        return ""

    def forget(self, pod: int) -> None:
        """The pod waits no more: it was deleted."""
        self.reasons.pop(pod, None)

    def _say(self, pod: int, reason: str) -> str:
        self.reasons[pod] = reason
        return reason

    def _slot(self, node: Node) -> Generator[Event, Any, None]:
        """Wait for the kubelet to take up another pull."""
        if self._serial:
            if not node.pull_lock.try_acquire():
                yield node.pull_lock.acquire()
        elif self._spec.max_parallel is not None:
            store = self.store(node)
            if store.slots is None:
                store.slots = Semaphore(self._clock, node.name, "images", self._spec.max_parallel)
            if not store.slots.try_acquire():
                yield store.slots.acquire()

    def _free_slot(self, node: Node) -> None:
        if self._serial:
            node.pull_lock.release()
        elif (slots := self.store(node).slots) is not None:
            slots.release()

    def store(self, node: Node) -> NodeStore:
        """What the node holds; made when it is first asked for."""
        store = self.stores.get(node.index)
        if store is None:
            store = self.stores[node.index] = NodeStore(self._spec, self.images, node.images)
        return store

    # --- the runtime's side

    def _pull(self, node: Node, name: str, namespace: str) -> Answer:
        """Manifest, then the missing layers: some downloaded at a time, unpacked one after the other from the lowest up."""
        source = self.source
        fault = yield from source.resolve(node, name, namespace)
        if fault:
            return fault
        image = self.images[name]
        share = source.spec.start_share
        if share < 1:
            yield from self._start_early(node, image, share)
            return ""
        fetched = yield from self._bring(node, image)
        if self.store(node).missing(image):
            return "the node's machine stopped"
        self.pulls += fetched
        self._complete(node, image)
        return ""

    def _bring(self, node: Node, image: Image) -> Generator[Event, Any, bool]:
        """Download and unpack every layer that is neither here nor on its way, and wait for those that are.

        Ends with whether there was any to fetch.
        """
        store, boots = self.store(node), node.boots
        missing = store.missing(image)
        ours = [layer for layer in missing if layer.digest not in store.arriving]
        if len(ours) == len(missing) == 1:
            store.arriving[ours[0].digest] = Event(self._clock)
            yield from self._download(node, ours[0], ours[0].size_bytes)
            yield from self._unpack(node, ours[0], boots)
            return True
        slots = Semaphore(self._clock, node.name, "images", self._spec.layers_at_once)
        downloads = {}
        for layer in ours:
            store.arriving[layer.digest] = Event(self._clock)
            downloads[layer.digest] = self._clock.start(self._download(node, layer, layer.size_bytes, slots))
        for layer in image.layers:
            if layer.digest in downloads:
                if (download := downloads[layer.digest]).callbacks is not None:
                    yield download
                yield from self._unpack(node, layer, boots)
            elif (arriving := store.arriving.get(layer.digest)) is not None:  # another pull brings it
                yield arriving
        return bool(ours)

    def _download(
        self, node: Node, layer: Layer, size_bytes: float, slots: Semaphore | None = None
    ) -> Generator[Event, Any, None]:
        if slots is not None and not slots.try_acquire():
            yield slots.acquire()
        yield from self.source.fetch(node, layer, size_bytes)
        self.received_bytes += size_bytes
        if slots is not None:
            slots.release()

    def _unpack(self, node: Node, layer: Layer, boots: int) -> Generator[Event, Any, None]:
        """Decompress on the node's cores and write; then the layer is there.

        boots: of the machine that its download began on; if that has stopped since, what came is lost."""
        store = self.store(node)
        if node.boots == boots:
            yield node.machine.work(layer.size_bytes / self.source.spec.unpack_bytes_per_s)
            if wait_s := store.write(layer.size_bytes * self._spec.unpacked_ratio, self._clock._now):
                yield self._clock.timeout(wait_s)
        if node.boots == boots:
            self._store_layer(node, layer)
        else:
            fire(store.arriving.pop(layer.digest))

    def _store_layer(self, node: Node, layer: Layer) -> None:
        store = self.store(node)
        store.add_layer(layer)
        self.stored_bytes += layer.size_bytes
        fire(store.arriving.pop(layer.digest))

    def _complete(self, node: Node, image: Image) -> None:
        """The last byte is unpacked: the image is present."""
        store = self.store(node)
        store.add_image(image, self._clock._now)
        if not store.gc_armed and store.disk_share() * 100 >= self._spec.gc_high_percent:
            self._arm_gc(node)

    def _start_early(self, node: Node, image: Image, share: float) -> Generator[Event, Any, None]:
        """Lazy loading: what a start reads comes first, nothing is unpacked; the rest comes later, or never by itself."""
        store = self.store(node)
        for layer in store.missing(image):
            yield from self.source.read(node, layer, layer.size_bytes * share)
            self.received_bytes += layer.size_bytes * share
            yield node.machine.work(layer.size_bytes * share / self.source.spec.unpack_bytes_per_s)
        store.startable.add(image.name)
        self.pulls += 1
        if (after_s := self.source.spec.rest_after_s()) is not None:
            self._clock.start(self._fetch_rest(node, image, share, after_s))

    def _fetch_rest(self, node: Node, image: Image, share: float, after_s: float) -> Generator[Event, Any, None]:
        store = self.store(node)
        yield self._clock.timeout(after_s)
        for layer in store.missing(image):
            if layer.digest in store.layers:
                continue
            if (arriving := store.arriving.get(layer.digest)) is not None:
                yield arriving
                continue
            store.arriving[layer.digest] = Event(self._clock)
            yield from self._download(node, layer, layer.size_bytes * (1 - share))
            self._store_layer(node, layer)
        self._complete(node, image)

    # --- garbage collection

    def _arm_gc(self, node: Node) -> None:
        """Look at the disk at the kubelet's next tick; while there is room nobody looks."""
        store, period_s, now = self.store(node), self._spec.gc_period_s, self._clock._now
        phase_s = float(self._gc_phase_s[node.index % len(self._gc_phase_s)])
        tick_s = phase_s + ceil((now - phase_s) / period_s) * period_s
        store.gc_armed = True
        self._clock.at(max(0.0, tick_s - now), lambda _: self.collect_garbage(node))

    def collect_garbage(self, node: Node) -> None:
        """The kubelet's image garbage collection, which eviction under disk pressure runs too."""
        store, now = self.store(node), self._clock._now
        store.gc_armed = False
        in_use, last_used_s = self._use(node.index)
        removed, short_bytes = store.collect(now, in_use, last_used_s)
        self.removed += len(removed)
        if short_bytes > 0:
            self.stuck_disks += 1
            self._arm_gc(node)
