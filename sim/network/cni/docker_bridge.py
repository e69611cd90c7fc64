"""Docker's default bridge: private addresses that each node has alike, hidden by iptables NAT, with port mapping."""

from __future__ import annotations

from typing import ClassVar

from sim.base.spec import param
from sim.network.cni.catalog import CNI, Addressing, BridgeCni, Features, Shape, Spread, TableSizes
from sim.network.setup import RuleSteps

HIDDEN = "every node gives out the same private range; other nodes have no route into it"


@CNI.register("docker-bridge")
class DockerBridge(BridgeCni):
    """`docker0`: MASQUERADE on the way out, DNAT for published ports on the way in."""

    programs: ClassVar[int] = 6
    rules_per_pod: ClassVar[int] = 3
    features: ClassVar[Features] = Features(
        hops=("stack", "veth_route", "bridge", "nat"),
        local_hops=("stack", "local"),
        header_bytes=0,
        addressing=Addressing.NODE_LOCAL,
        spread=Spread.NONE,
        pods_reach_pods=HIDDEN + "; a peer is reached under its node's address and a published port, through DNAT",
        nodes_reach_pods=HIDDEN,
        own_address="MASQUERADE rewrites the source to the node's address, so peers see the node, not the pod",
    )

    rules: RuleSteps = param(
        RuleSteps(backend="legacy"), "Docker programs NAT and filter rules for each published port"
    )
    subnet: str = param("172.17.0.0/16", "the private range, alike on every node", source="Docker's default")

    def tables(self, shape: Shape) -> TableSizes:
        return TableSizes(
            routes=2,
            neighbours=shape.pods_per_node,
            forwarding=shape.pods_per_node,
            rules=4 + self.rules_per_pod * shape.pods_per_node,
        )
