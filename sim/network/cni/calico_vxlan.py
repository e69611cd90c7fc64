"""Calico VXLAN: no BGP; Felix programs routes, ARP and FDB entries from what Typha sends."""

from __future__ import annotations

from typing import ClassVar

from sim.network.cni.calico_bgp import Calico
from sim.network.cni.catalog import CNI, Addressing, Features, Spread


@CNI.register("calico-vxlan")
class CalicoVxlan(Calico):
    """50 bytes of header, routes through the datastore."""

    features: ClassVar[Features] = Features(
        hops=("stack", "veth_route", "conntrack", "vxlan"),
        local_hops=("stack", "local", "conntrack"),
        header_bytes=50,
        addressing=Addressing.BLOCKS,
        spread=Spread.POLICY_AGENT,
        broadcast="none",
        multicast="none",
    )
