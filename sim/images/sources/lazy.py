"""Lazy loading: containers start once what they read first is there, and the rest follows or is read on demand."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from sim.base.spec import param
from sim.images.layers import Layer
from sim.images.sources.catalog import IMAGE_SOURCES, ImageSource, Process, Site, SourceSpec

if TYPE_CHECKING:
    from sim.kubelet.node import Node

SLACKER = "Slacker (FAST'16): 57 images read 6.4 % of their data at their start"


class LazyRegistry(SourceSpec):
    """A registry with images that can be read piece by piece. Only what is read is decompressed."""

    bandwidth_bytes_per_s: float = param(1.25e9, "what its interface sends, shared fairly by all pulls", gt=0, le=1e13)
    read_share: float = param(0.064, "of an image that its containers read at their start", source=SLACKER, gt=0, le=1)
    chunk_bytes: int = param(4 * 2**20, "of one request", ge=4096, le=2**40)
    chunk_request_s: float = param(0.002, "round trip of a request for one chunk", unverified=True, ge=0, le=10)
    chunks_at_once: int = param(
        1, "requests under way at a time: a program reads one file after the other", ge=1, le=1000
    )

    def servers(self, nodes: int) -> tuple[float, ...]:
        return (self.bandwidth_bytes_per_s,)

    @property
    def start_share(self) -> float:
        return self.read_share

    def connect(self, site: Site) -> ImageSource:
        return _Lazy(site, self)


@IMAGE_SOURCES.register("stargz")
class Stargz(LazyRegistry):
    """eStargz with the stargz snapshotter: archives with an index of their files; the rest is fetched in the background."""

    chunk_bytes: int = param(
        4 * 2**20, "of one request", source="stargz-snapshotter: 4 MiB chunks by default", ge=4096, le=2**40
    )
    background_after_s: float | None = param(
        5.0, "when the rest is fetched after a start; null: only on demand", unverified=True, ge=0, le=1e6
    )

    def rest_after_s(self) -> float | None:
        return self.background_after_s


@IMAGE_SOURCES.register("overlaybd")
class Overlaybd(LazyRegistry):
    """overlaybd (DADI): layers as block devices that are read on demand; the rest is fetched only where it is asked for."""

    chunk_bytes: int = param(
        256 * 2**10,
        "of one request",
        source="accelerated-container-image: on-demand reads, as remembered",
        unverified=True,
        ge=4096,
        le=2**40,
    )
    background_after_s: float | None = param(
        None, "when the rest is fetched after a start; null: only on demand", ge=0, le=1e6
    )

    def rest_after_s(self) -> float | None:
        return self.background_after_s


class _Lazy(ImageSource):
    def __init__(self, site: Site, spec: LazyRegistry) -> None:
        super().__init__(site, spec)
        self._lazy = spec
        self._link = site.link("registry uplink", spec.bandwidth_bytes_per_s)
        self.meters = [self._link.meter]

    def fetch(self, node: Node, layer: Layer, size_bytes: float) -> Process:
        yield self._link.transfer(size_bytes, node.index)
        self.sent_bytes += size_bytes

    def read(self, node: Node, layer: Layer, size_bytes: float) -> Process:
        spec = self._lazy
        rounds = ceil(ceil(size_bytes / spec.chunk_bytes) / spec.chunks_at_once)
        yield self.clock.timeout(rounds * spec.chunk_request_s)
        yield from self.fetch(node, layer, size_bytes)
