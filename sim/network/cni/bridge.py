"""CNI `bridge` with host-local addresses: a veth pair on the node's bridge, and routes between the nodes' subnets."""

from __future__ import annotations

from typing import ClassVar

from sim.network.cni.catalog import CNI, Addressing, BridgeCni, Features, Shape, Spread, TableSizes


@CNI.register("bridge")
class Bridge(BridgeCni):
    """Each node has a subnet; somebody outside (the cloud, a script) routes the subnets to the nodes."""

    programs: ClassVar[int] = 6
    rules_per_pod: ClassVar[int] = 3
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
