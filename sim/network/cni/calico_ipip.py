"""Calico IPIP: as Calico with BGP, with an IP header around the packet, always or only between segments."""

from __future__ import annotations

from typing import ClassVar, Literal

from sim.base.spec import param
from sim.network.cni.calico_bgp import Calico
from sim.network.cni.catalog import CNI, Addressing, Features, Spread
from sim.network.costs import PathCosts
from sim.network.data_path import DataPath


@CNI.register("calico-ipip")
class CalicoIpip(Calico):
    """20 bytes of header; BGP still spreads the routes."""

    features: ClassVar[Features] = Features(
        hops=("stack", "veth_route", "conntrack", "ipip"),
        local_hops=("stack", "local", "conntrack"),
        header_bytes=20,
        addressing=Addressing.BLOCKS,
        spread=Spread.BGP,
        broadcast="none",
        multicast="none",
    )

    mode: Literal["always", "cross-subnet"] = param(
        "always", "encapsulate always, or only where nodes are in different subnets", source="Calico, IPPool ipipMode"
    )

    def path(
        self, costs: PathCosts, underlay_mtu_bytes: int, same_node: bool = False, same_segment: bool = True
    ) -> DataPath:
        if self.mode == "cross-subnet" and same_segment and not same_node:
            return DataPath(("stack", "veth_route", "conntrack"), 0, self.mtu(underlay_mtu_bytes), costs)
        return super().path(costs, underlay_mtu_bytes, same_node, same_segment)
