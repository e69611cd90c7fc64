"""A single registry: one machine with one interface and one disk. For tests; practice replicates it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from simpy.events import Event

from sim.base.spec import param
from sim.engine.machine import Machine
from sim.images.layers import Layer
from sim.images.sources.catalog import IMAGE_SOURCES, ImageSource, Process, Site, SourceSpec

if TYPE_CHECKING:
    from sim.kubelet.node import Node


@IMAGE_SOURCES.register("single")
class SingleRegistry(SourceSpec):
    """One Docker Registry: one network interface, shared fairly by all pulls, and one disk behind the page cache."""

    bandwidth_bytes_per_s: float = param(
        1.25e9, "what its interface sends, shared fairly by all pulls (10 Gbit/s)", gt=0, le=1e13
    )
    disk_bytes_per_s: float | None = param(
        None, "what its disk reads; null: everything is in memory from the beginning", gt=0, le=1e13
    )
    memory_bytes: int = param(
        16 * 2**30, "layers that its page cache holds, least recently read ones go", gt=0, le=2**50
    )

    def servers(self, nodes: int) -> tuple[float, ...]:
        return (self.bandwidth_bytes_per_s,)

    def connect(self, site: Site) -> ImageSource:
        return _Registry(site, self)


class _Registry(ImageSource):
    def __init__(self, site: Site, spec: SingleRegistry) -> None:
        super().__init__(site, spec)
        self._link = site.link("registry uplink", spec.bandwidth_bytes_per_s)
        self._disk = (
            Disk(site, "registry disk", spec.disk_bytes_per_s, spec.memory_bytes) if spec.disk_bytes_per_s else None
        )
        self.meters = [self._link.meter, *([self._disk.meter] if self._disk else [])]

    def fetch(self, node: Node, layer: Layer, size_bytes: float) -> Process:
        read = self._disk.read(layer) if self._disk is not None else self.clock.happened
        yield self._link.transfer(size_bytes, node.index)
        yield read  # it sends while it reads, so the slower of the two ends the download
        self.sent_bytes += size_bytes


class Disk:
    """A disk behind a page cache: a layer is read once, then again only when it has been dropped."""

    def __init__(self, site: Site, name: str, bytes_per_s: float, memory_bytes: int) -> None:
        self._clock = site.clock
        self._disk = Machine(site.clock, name, "images", 1, bytes_per_s)
        self._memory_bytes = memory_bytes
        self._held_bytes = 0
        self._reads: OrderedDict[str, tuple[Event, int]] = OrderedDict()
        self.meter = self._disk.meter

    def read(self, layer: Layer) -> Event:
        """Fires when the layer has been read into memory."""
        found = self._reads.get(layer.digest)
        if found is not None:
            self._reads.move_to_end(layer.digest)
            return found[0]
        event = self._disk.work(layer.size_bytes)
        self._reads[layer.digest] = (event, layer.size_bytes)
        self._held_bytes += layer.size_bytes
        while self._held_bytes > self._memory_bytes and len(self._reads) > 1:
            _, (_, dropped) = self._reads.popitem(last=False)
            self._held_bytes -= dropped
        return event
