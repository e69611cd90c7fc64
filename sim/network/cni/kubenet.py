"""`kubenet`: the kubelet's own bridge plug-in of old, with routes from the cloud's controller."""

from __future__ import annotations

from typing import ClassVar

from sim.network.cni.catalog import CNI, Addressing, BridgeCni, Features, Shape, Spread, TableSizes


@CNI.register("kubenet")
class Kubenet(BridgeCni):
    """A bridge `cbr0`, host-local addresses from the node's podCIDR, one cloud route a node; hair-pin mode."""

    programs: ClassVar[int] = 2
    rules_per_pod: ClassVar[int] = 1
    features: ClassVar[Features] = Features(
        hops=("stack", "veth_route", "bridge"),
        local_hops=("stack", "local"),
        header_bytes=0,
        addressing=Addressing.NODE_SUBNET,
        spread=Spread.CLOUD,
    )

    def tables(self, shape: Shape) -> TableSizes:
        return TableSizes(
            routes=2,
            neighbours=shape.pods_per_node,
            forwarding=shape.pods_per_node,
            rules=self.rules_per_pod * shape.pods_per_node if self.rules.backend != "none" else 0,
        )
