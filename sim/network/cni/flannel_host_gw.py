"""flannel `host-gw`: each node is the gateway of its subnet; no header, but one layer-2 segment."""

from __future__ import annotations

from typing import ClassVar

from sim.network.cni.catalog import CNI, Addressing, BridgeCni, Features, Shape, Spread, TableSizes


@CNI.register("flannel-host-gw")
class FlannelHostGw(BridgeCni):
    """A route to every node's subnet with that node as next hop."""

    features: ClassVar[Features] = Features(
        hops=("stack", "veth_route", "bridge"),
        local_hops=("stack", "local"),
        header_bytes=0,
        addressing=Addressing.NODE_SUBNET,
        spread=Spread.LEASE,
        same_segment=True,
    )

    def tables(self, shape: Shape) -> TableSizes:
        peers = shape.nodes - 1
        return TableSizes(
            routes=2 + peers, neighbours=shape.pods_per_node + peers, forwarding=shape.pods_per_node, rules=0
        )
