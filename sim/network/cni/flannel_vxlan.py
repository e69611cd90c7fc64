"""flannel `vxlan`: the kernel puts frames into UDP packets; flanneld fills routes, ARP and FDB entries for every node."""

from __future__ import annotations

from typing import ClassVar

from sim.base.spec import param
from sim.network.cni.catalog import CNI, Addressing, BridgeCni, Features, Shape, Spread, TableSizes
from sim.network.costs import PathCosts
from sim.network.data_path import DataPath


@CNI.register("flannel-vxlan")
class FlannelVxlan(BridgeCni):
    """50 bytes of header and one more pass of the kernel a packet; with direct routing only between segments."""

    features: ClassVar[Features] = Features(
        hops=("stack", "veth_route", "bridge", "vxlan"),
        local_hops=("stack", "local"),
        header_bytes=50,
        addressing=Addressing.NODE_SUBNET,
        spread=Spread.LEASE,
    )

    direct_routing: bool = param(
        False, "route without a header between nodes of one layer-2 segment", source="flannel, backend DirectRouting"
    )

    def path(
        self, costs: PathCosts, underlay_mtu_bytes: int, same_node: bool = False, same_segment: bool = True
    ) -> DataPath:
        if self.direct_routing and same_segment and not same_node:
            return DataPath(("stack", "veth_route", "bridge"), 0, self.mtu(underlay_mtu_bytes), costs)
        return super().path(costs, underlay_mtu_bytes, same_node, same_segment)

    def tables(self, shape: Shape) -> TableSizes:
        peers = shape.nodes - 1
        return TableSizes(
            routes=2 + peers, neighbours=shape.pods_per_node + peers, forwarding=shape.pods_per_node + peers, rules=0
        )
