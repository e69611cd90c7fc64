"""What one node holds of images: layers, whole images, the disk that they lie on. No clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from sim.images.layers import Image, Layer
from sim.images.spec import NodeImagesSpec

if TYPE_CHECKING:
    from simpy.events import Event

    from sim.engine.semaphore import Semaphore


class NodeStore:
    """Images and layers of one node.

    present: names of images whose last byte is unpacked; shared with the kubelet's node. Images that the node began with
    are taken to have been there for ever.
    """

    __slots__ = (
        "_images",
        "_spec",
        "_tokens",
        "_tokens_s",
        "_written_bytes",
        "_written_s",
        "added_bytes",
        "arriving",
        "began_bytes",
        "gc_armed",
        "held_bytes",
        "layers",
        "present",
        "removed_bytes",
        "seen_s",
        "slots",
        "startable",
    )

    def __init__(self, spec: NodeImagesSpec, images: Mapping[str, Image], present: set[str]) -> None:
        self._spec = spec
        self._images = images
        self.present = present
        self.startable: set[str] = set()
        """Images that containers may start from while the rest of them is still on its way."""
        self.layers: dict[str, int] = {}
        """Digest -> how many present images use it; 0 for a layer whose image is not whole yet."""
        self.arriving: dict[str, Event] = {}
        """Layers on their way, by digest; fires when the layer is unpacked, or its download was given up."""
        self.seen_s: dict[str, float] = {}
        """When the kubelet first saw an image that was pulled."""
        self.held_bytes = 0
        """Compressed bytes of the layers that are here."""
        self.added_bytes = 0
        """Of the layers that pulls have put here."""
        self.removed_bytes = 0
        """Of the layers that were removed."""
        self.gc_armed = False
        self.slots: Semaphore | None = None
        """Pulls at a time, where they are limited but not serial."""
        self._tokens = float(spec.burst)
        self._tokens_s = 0.0
        self._written_bytes = 0.0
        self._written_s = 0.0
        for name in present:
            self._refer(images[name].layers)
        self.began_bytes = self.held_bytes

    def _refer(self, layers: Iterable[Layer]) -> None:
        for layer in layers:
            if layer.digest not in self.layers:
                self.held_bytes += layer.size_bytes
            self.layers[layer.digest] = self.layers.get(layer.digest, 0) + 1

    def accepts_pull(self, now_s: float) -> bool:
        """Whether the kubelet's limit on pulls lets one more begin; takes its token if so."""
        spec = self._spec
        tokens = min(spec.burst, self._tokens + (now_s - self._tokens_s) * spec.qps)
        accepted = tokens >= 1
        self._tokens, self._tokens_s = tokens - accepted, now_s
        return accepted

    def missing(self, image: Image) -> list[Layer]:
        """Layers of an image that are not unpacked here, in order."""
        return [layer for layer in image.layers if layer.digest not in self.layers]

    def write(self, unpacked_bytes: float, now_s: float) -> float:
        """Write to the disk; returns how long the writer waits for it: only for what memory cannot hold back."""
        spec = self._spec
        left = max(0.0, self._written_bytes - (now_s - self._written_s) * spec.disk_write_bytes_per_s)
        self._written_bytes, self._written_s = left + unpacked_bytes, now_s
        return max(0.0, self._written_bytes - spec.dirty_bytes) / spec.disk_write_bytes_per_s

    def add_layer(self, layer: Layer) -> None:
        """A layer is unpacked; its image is not whole yet."""
        if layer.digest not in self.layers:
            self.layers[layer.digest] = 0
            self.held_bytes += layer.size_bytes
            self.added_bytes += layer.size_bytes

    def add_image(self, image: Image, now_s: float) -> None:
        """All layers of an image are unpacked: it is present."""
        if image.name not in self.present:
            self._refer(image.layers)
            self.present.add(image.name)
            self.seen_s[image.name] = now_s
        self.startable.discard(image.name)

    def remove_image(self, name: str) -> float:
        """Remove an image and the layers that no other uses; returns the bytes that this frees on the disk."""
        self.present.discard(name)
        self.seen_s.pop(name, None)
        freed = 0
        for layer in self._images[name].layers:
            self.layers[layer.digest] -= 1
            if not self.layers[layer.digest]:
                del self.layers[layer.digest]
                freed += layer.size_bytes
        self.held_bytes -= freed
        self.removed_bytes += freed
        return freed * self._spec.unpacked_ratio

    @property
    def used_bytes(self) -> float:
        """Unpacked bytes of the layers."""
        return self.held_bytes * self._spec.unpacked_ratio

    def disk_share(self) -> float:
        """Share of the disk in use."""
        return (self.used_bytes + self._spec.other_disk_bytes) / self._spec.disk_bytes

    def collect(self, now_s: float, in_use: Iterable[str], last_used_s: Mapping[str, float]) -> tuple[list[str], float]:
        """The kubelet's image garbage collection: remove the images unused for longest until the disk is below the low mark.

        in_use: images of the pods that are here. last_used_s: when an image was last seen in use; absent: never.
        Returns the images removed and the bytes still to be freed (0 when the low mark was reached).
        """
        spec = self._spec
        if self.disk_share() * 100 < spec.gc_high_percent:
            return [], 0.0
        wanted = self.used_bytes + spec.other_disk_bytes - spec.disk_bytes * spec.gc_low_percent / 100
        kept = set(in_use)
        order = sorted(
            (last_used_s.get(name, 0.0), self.seen_s.get(name, 0.0), name) for name in self.present if name not in kept
        )
        removed = []
        for used_s, seen_s, name in order:
            if wanted <= 0:
                break
            if used_s >= now_s or now_s - seen_s < spec.gc_min_age_s:
                continue
            wanted -= self.remove_image(name)
            removed.append(name)
        return removed, max(0.0, wanted)
