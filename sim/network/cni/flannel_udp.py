"""flannel `udp`: a daemon on each node copies every packet between a TUN device and a UDP socket."""

from __future__ import annotations

from typing import ClassVar

from sim.network.cni.catalog import CNI, Addressing, BridgeCni, Features, Shape, Spread, TableSizes


@CNI.register("flannel-udp")
class FlannelUdp(BridgeCni):
    """The daemon is one thread and segments are never aggregated: it bounds the whole node, and drops when overloaded."""

    features: ClassVar[Features] = Features(
        hops=("stack", "veth_route", "bridge", "tun"),
        local_hops=("stack", "local"),
        header_bytes=28,
        addressing=Addressing.NODE_SUBNET,
        spread=Spread.LEASE,
        aggregates=False,
    )

    def tables(self, shape: Shape) -> TableSizes:
        """One route for the whole cluster; the daemon keeps the map of subnets."""
        return TableSizes(
            routes=3, neighbours=shape.pods_per_node, forwarding=shape.pods_per_node + shape.nodes - 1, rules=0
        )
