"""A single image registry behind one network interface."""

from __future__ import annotations

from collections.abc import Generator

from simpy.events import Event

from sim.engine.clock import Clock
from sim.images.spec import RegistrySpec
from sim.kubelet.node import Node
from sim.network.fabric import Fabric, ServerLink


class Registry:
    """Serves pulls: round trips, then the image's bytes over the shared uplink, then unpacking on the node."""

    def __init__(
        self,
        clock: Clock,
        spec: RegistrySpec,
        size_bytes: dict[str, int],
        receiver_bytes_per_s: float,
        fabric: Fabric | None = None,
        host: int = -1,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._size_bytes = size_bytes
        self.uplink = ServerLink(
            clock, "registry uplink", spec.bandwidth_bytes_per_s, receiver_bytes_per_s, fabric, host
        )
        self.sent_bytes = 0
        self.stored_bytes = 0
        """Bytes of images that pulls have brought onto nodes whole."""
        self.pulls = 0

    def pull(self, node: Node, image: str) -> Generator[Event, object, None]:
        """Bring `image` onto the node; it is there only once its last byte is unpacked."""
        size = self._size_bytes[image]
        yield self._clock.timeout(self._spec.request_s)
        yield self.uplink.transfer(size, node.index)
        self.sent_bytes += size
        yield node.machine.work(size / self._spec.unpack_bytes_per_s)
        node.images.add(image)
        self.stored_bytes += size
        self.pulls += 1
