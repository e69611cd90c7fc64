"""Calico with BGP: every pod is a /32 route on its host, every host a router, and Felix's rules guard each pod."""

from __future__ import annotations

from typing import ClassVar

from sim.base.spec import param
from sim.network.cni.catalog import CNI, Addressing, Features, RoutedCni, Shape, Spread, TableSizes

ALONE = "every pod is alone on its link: the host answers ARP for everybody (proxy ARP)"


class Calico(RoutedCni):
    """What all of Calico's data paths share."""

    block_prefix: int = param(
        26, "length of a block of addresses that a node claims", source="Calico, libcalico-go ippool: /26", ge=20, le=32
    )
    max_blocks_per_host: int = param(20, "blocks a node may claim", source="Calico, libcalico-go ipam", ge=1, le=4096)
    strict_affinity: bool = param(
        False, "never borrow an address from another node's block", source="Calico, IPAMConfig"
    )
    aggregate_blocks: bool = param(
        True,
        "announce a node's block once, not a /32 for each of its pods",
        source="Calico, BGPConfiguration: blocks are aggregated",
    )

    datastore_requests: bool = param(
        True,
        "blocks, affinities and handles are objects of the API: each address costs two writes, each block three more",
        source="Calico, libcalico-go ipam with the Kubernetes datastore",
    )

    def tables(self, shape: Shape) -> TableSizes:
        """Blocks of all nodes (or /32s), the node's own pods, and Felix's chains; sets hold what policies select."""
        block = 1 << (32 - self.block_prefix)
        per_node = -(-shape.pods_per_node // block) if self.aggregate_blocks else shape.pods_per_node
        remote = (shape.nodes - 1) * per_node
        return TableSizes(
            routes=1 + remote + shape.pods_per_node,
            neighbours=shape.pods_per_node + (shape.nodes - 1 if self.features.header_bytes == 0 else 1),
            forwarding=shape.nodes - 1 if "vxlan" in self.features.hops else 0,
            rules=40 + self.rules_per_pod * shape.pods_per_node + 6 * shape.policies,
            sets=shape.policies * shape.pods,
        )


@CNI.register("calico-bgp")
class CalicoBgp(Calico):
    """Routed without a header: the underlay must carry packets between nodes as they are."""

    features: ClassVar[Features] = Features(
        hops=("stack", "veth_route", "conntrack"),
        local_hops=("stack", "local", "conntrack"),
        header_bytes=0,
        addressing=Addressing.BLOCKS,
        spread=Spread.BGP,
        broadcast="none",
        multicast="none",
        same_segment=True,
    )
