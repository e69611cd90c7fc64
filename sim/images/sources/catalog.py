"""What every source of images answers: a manifest, then layers, byte by byte over the network."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from simpy.events import Event

from sim.base.errors import Problems
from sim.base.plugin import Catalog
from sim.base.rand import Streams
from sim.base.spec import Spec, param
from sim.engine.clock import Clock
from sim.engine.meter import Meter
from sim.images.layers import Image, Layer

if TYPE_CHECKING:
    from sim.kubelet.node import Node
    from sim.network.fabric import Fabric, ServerLink

Process = Generator[Event, Any, None]
Answer = Generator[Event, Any, str]
"""A process that ends with "" or with why it failed."""


@dataclass(frozen=True)
class Site:
    """What a source finds around it.

    first_host: the fabric's host that is the source's first server; the others follow. zones: one a node.
    """

    clock: Clock
    images: Mapping[str, Image]
    nic_bytes_per_s: float
    nodes: int
    fabric: Fabric | None = None
    first_host: int = -1
    zones: tuple[str, ...] = ()
    streams: Streams = field(default_factory=lambda: Streams(0))

    def link(self, name: str, bandwidth_bytes_per_s: float, number: int = 0) -> ServerLink:
        """The interface of the source's server `number`."""
        from sim.network.fabric import ServerLink  # its tables are compiled: not for those who only read a scenario

        host = self.first_host + number
        return ServerLink(self.clock, name, bandwidth_bytes_per_s, self.nic_bytes_per_s, self.fabric, host)


class ImageSource:
    """A source during a run. `sent_bytes` counts bytes once they have arrived, whoever sent them."""

    def __init__(self, site: Site, spec: SourceSpec) -> None:
        self.clock = site.clock
        self.spec = spec
        self.images = site.images
        self.fabric = site.fabric
        self.sent_bytes = 0.0
        self.meters: list[Meter] = []
        """Interfaces, disks and cores that a result should show."""

    def resolve(self, node: Node, name: str, namespace: str) -> Answer:
        """Ask for a manifest on behalf of a pod in `namespace`."""
        yield self.clock.timeout(self.spec.request_s)
        return self.fault(name)

    def fault(self, name: str, lag_s: float = 0.0) -> str:
        """Why there is no such image now; "" if there is. lag_s: how much later than its push it can be had."""
        image = self.images.get(name)
        if image is None:
            return "not found"
        there_s = (
            image.pushed_at_s + lag_s if image.pushed_at_s else 0.0
        )  # what existed before the run has been copied long ago
        return "" if there_s <= self.clock.now else "not found"

    def fetch(self, node: Node, layer: Layer, size_bytes: float) -> Process:
        """Bring `size_bytes` of a layer to the node; ends with their last byte."""
        raise NotImplementedError

    def link_load(self) -> np.ndarray:
        """Bytes/s on each link of the underlay since the last call, of what it sends that is no flow of the fabric. Only where
        there is a fabric."""
        assert self.fabric is not None
        return np.zeros(len(self.fabric.underlay.capacity))

    def node_lost(self, node: int) -> None:
        """The node's machine or its network is gone: it serves nobody any more."""

    def node_back(self, node: int) -> None:
        """It is back, and goes on with its downloads."""

    def read(self, node: Node, layer: Layer, size_bytes: float) -> Process:
        """Bring what a start reads of a layer, piece by piece as it is asked for. Only for sources with a `start_share`."""
        raise NotImplementedError


class SourceSpec(Spec):
    """Base of every source: what a pull costs beside the bytes, and the format that images have there."""

    request_s: float = param(0.05, "manifest and token round trips before the first byte", unverified=True, ge=0, le=60)
    unpack_bytes_per_s: float = param(
        1.0e8, "decompression and unpacking on one core of the node, compressed bytes", unverified=True, gt=0, le=1e12
    )

    def servers(self, nodes: int) -> tuple[float, ...]:
        """Interfaces of the hosts that it adds to the network, bytes/s."""
        return ()

    def connect(self, site: Site) -> ImageSource:
        """The source of one run."""
        raise NotImplementedError

    @property
    def on_every_node(self) -> bool:
        """Whether every node holds every image from its beginning on."""
        return False

    @property
    def start_share(self) -> float:
        """Share of an image that must be there before its containers can start."""
        return 1.0

    def rest_after_s(self) -> float | None:
        """When, after a container could start, the rest is fetched; None: never by itself."""
        return None

    def check(self, path: str, images: Mapping[str, Image], problems: Problems) -> None:
        """Report what does not go together."""


IMAGE_SOURCES: Catalog[type[SourceSpec]] = Catalog("image sources", package="sim.images.sources")
"""Every source a scenario may name."""
