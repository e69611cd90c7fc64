"""Open vSwitch with VXLAN and a central controller: tenants' virtual networks, as a VPC has them."""

from __future__ import annotations

from typing import ClassVar

from sim.base.spec import param
from sim.network.cni.catalog import CNI, Addressing, BridgeCni, Features, Shape, Spread, TableSizes


@CNI.register("ovs-vxlan")
class OvsVxlan(BridgeCni):
    """Each tenant has its own layer-2 segment across nodes; the controller writes flows to the nodes that hold it."""

    features: ClassVar[Features] = Features(
        hops=("stack", "veth_route", "ovs"),
        local_hops=("stack", "local"),
        header_bytes=50,
        addressing=Addressing.NODE_SUBNET,
        spread=Spread.POLICY_AGENT,
        broadcast="cluster",
        multicast="cluster",
    )

    tenants: int = param(
        1,
        "virtual networks that share the cluster; a node holds the flows of those that have pods on it",
        ge=1,
        le=1_000_000,
    )

    def tables(self, shape: Shape) -> TableSizes:
        """A flow for each pod of each virtual network that is present on the node."""
        present = min(self.tenants, max(1.0, shape.pods_per_node))
        return TableSizes(routes=2, neighbours=0, forwarding=shape.pods * present / self.tenants, rules=0)
