"""flannel `wireguard`: packets are encrypted by the kernel's worker threads on every core."""

from __future__ import annotations

from typing import ClassVar

from sim.network.cni.catalog import CNI, Addressing, BridgeCni, Features, Shape, Spread, TableSizes


@CNI.register("wireguard")
class WireGuard(BridgeCni):
    """80 bytes of header (flannel's allowance); each byte is encrypted and decrypted."""

    features: ClassVar[Features] = Features(
        hops=("stack", "veth_route", "bridge", "wireguard"),
        local_hops=("stack", "local"),
        header_bytes=80,
        addressing=Addressing.NODE_SUBNET,
        spread=Spread.LEASE,
    )

    def tables(self, shape: Shape) -> TableSizes:
        """A peer a node, with its subnet as allowed addresses."""
        return TableSizes(
            routes=3, neighbours=shape.pods_per_node, forwarding=shape.pods_per_node + shape.nodes - 1, rules=0
        )
