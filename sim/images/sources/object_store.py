"""A cluster of registries that keep their blobs in an object store; the stores differ in their parameters only."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from sim.base.rand import Dist, Lognormal, Sampler
from sim.base.spec import param
from sim.images.layers import Layer
from sim.images.sources.catalog import IMAGE_SOURCES, ImageSource, Process, Site, SourceSpec

if TYPE_CHECKING:
    from sim.kubelet.node import Node


class RegistryCluster(SourceSpec):
    """Front ends that share the requests, and back ends that hold the blobs.

    With `redirect` a front end answers with an address of the store, and the bytes come straight from there; else they
    pass through the front end, whose interface then carries them too.
    """

    front_ends: int = param(3, "registries that answer", ge=1, le=1000)
    front_end_bytes_per_s: float = param(1.25e9, "interface of each", gt=0, le=1e13)
    redirect: bool = param(
        True, "send clients to the store", source="Docker Distribution: redirect is on unless disabled"
    )
    back_ends: int = param(4, "servers of the store that clients read from", ge=1, le=10_000)
    back_end_bytes_per_s: float = param(
        1.25e9, "what each sends: the less of its interface and its disks", gt=0, le=1e13
    )
    first_byte_s: Dist = param(
        Lognormal(median=0.03, sigma=0.6, maximum=5.0),
        "from a request to the first byte out of the store",
        unverified=True,
    )

    def servers(self, nodes: int) -> tuple[float, ...]:
        back = (self.back_end_bytes_per_s,) * self.back_ends
        return back if self.redirect else (*back, *(self.front_end_bytes_per_s,) * self.front_ends)

    def connect(self, site: Site) -> ImageSource:
        return _Cluster(site, self)


class _Cluster(ImageSource):
    def __init__(self, site: Site, spec: RegistryCluster) -> None:
        super().__init__(site, spec)
        self._cluster = spec
        self._back = [site.link(f"object store {i}", spec.back_end_bytes_per_s, i) for i in range(spec.back_ends)]
        self._front = []
        if not spec.redirect:
            self._front = [
                site.link(f"registry uplink {i}", spec.front_end_bytes_per_s, spec.back_ends + i)
                for i in range(spec.front_ends)
            ]
        self._first_byte_s = Sampler(spec.first_byte_s, site.streams("images.first_byte"))
        self._asked = 0
        self._first_front = site.first_host + spec.back_ends
        self.meters = [link.meter for link in (*self._back, *self._front)]

    def fetch(self, node: Node, layer: Layer, size_bytes: float) -> Process:
        self._asked += 1
        yield self.clock.timeout(self._first_byte_s())
        back = self._back[zlib.crc32(layer.digest.encode()) % len(self._back)]  # a blob lies where its name hashes to
        if not self._front:
            yield back.transfer(size_bytes, node.index)
        else:
            number = self._asked % len(self._front)
            sent = self._front[number].transfer(size_bytes, node.index)
            read = back.transfer(size_bytes, self._first_front + number)
            yield sent  # it sends while it reads: the slower of the two ends the download
            yield read
        self.sent_bytes += size_bytes


@IMAGE_SOURCES.register("registry-on-swift")
class RegistryOnSwift(RegistryCluster):
    """Docker Distribution on OpenStack Swift: an object is read whole from one of the proxies in front of its disks."""


@IMAGE_SOURCES.register("registry-on-ceph")
class RegistryOnCeph(RegistryCluster):
    """Docker Distribution on a Ceph object gateway, whose objects are striped over the disks of all servers."""

    back_ends: int = param(8, "servers of the store that clients read from", ge=1, le=10_000)
    stripe_bytes: int = param(
        4 * 2**20, "stripes of an object lie on servers in turn", source="Ceph: 4 MiB objects", ge=1, le=2**40
    )

    def connect(self, site: Site) -> ImageSource:
        return _Striped(site, self)


class _Striped(_Cluster):
    def __init__(self, site: Site, spec: RegistryOnCeph) -> None:
        super().__init__(site, spec)
        self._stripe_bytes = spec.stripe_bytes

    def fetch(self, node: Node, layer: Layer, size_bytes: float) -> Process:
        """The gateway reads stripes from as many servers as there are stripes, at most all."""
        self._asked += 1
        yield self.clock.timeout(self._first_byte_s())
        ways = max(1, min(len(self._back), -(-int(size_bytes) // self._stripe_bytes)))
        first = zlib.crc32(layer.digest.encode())
        receiver = node.index
        pending = []
        if self._front:
            number = self._asked % len(self._front)
            pending.append(self._front[number].transfer(size_bytes, node.index))
            receiver = self._first_front + number
        pending += [
            self._back[(first + way) % len(self._back)].transfer(size_bytes / ways, receiver) for way in range(ways)
        ]
        yield from pending
        self.sent_bytes += size_bytes
