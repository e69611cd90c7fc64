"""The host's own network: a pod without a network of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sim.network.cni.catalog import CNI, Addressing, CniSpec, Features, Shape, Spread, TableSizes
from sim.network.setup import Process

if TYPE_CHECKING:
    from sim.kubelet.node import Node


@CNI.register("host")
class Host(CniSpec):
    """Pods share the node's interfaces, address and ports; nothing is set up and nothing is taken down."""

    features: ClassVar[Features] = Features(
        hops=("stack",),
        local_hops=("stack",),
        header_bytes=0,
        addressing=Addressing.HOST,
        spread=Spread.NONE,
        broadcast="cluster",
        multicast="cluster",
    )

    def add(self, node: Node) -> Process:
        yield node.clock.happened

    def delete(self, node: Node) -> Process:
        yield node.clock.happened

    def tables(self, shape: Shape) -> TableSizes:
        return TableSizes(routes=1, neighbours=1, forwarding=0, rules=0)
