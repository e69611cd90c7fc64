"""Kubernetes' three requirements on a network, and layer-2 features, as checks on a configuration.

Source: Kubernetes documentation, cluster networking: pods reach pods without NAT, nodes reach pods without NAT, a pod sees itself under
the address that others use.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.network.cni.catalog import Addressing, Spread
from sim.network.cni_config import NetworkConfiguration
from sim.network.spec import NetworkSpec

SEGMENTS = (
    "packets are not encapsulated, and routers between layer-2 segments do not know pods' addresses: encapsulate "
    "(IPIP or VXLAN), or peer with the routers by BGP (underlay.routes_pods)"
)
"""Why pods of different segments do not reach each other."""


def needs_segment(spec: NetworkSpec) -> bool:
    """Whether the data path works inside one layer-2 segment only."""
    features = spec.cni.features
    return features.same_segment and not (spec.underlay.routes_pods and features.spread is Spread.BGP)


L2_NEEDS: dict[str, tuple[str, str]] = {
    "vrrp": (
        "multicast",
        "VRRP (keepalived) announces its virtual address by multicast and moves it by gratuitous ARP",
    ),
    "broadcast": ("broadcast", "broadcast frames must reach the peers"),
    "multicast": ("multicast", "multicast must reach the peers"),
}
"""What a workload may need of layer 2 -> the feature, and why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of a configuration."""

    requirement: str
    holds: bool
    reason: str


def check_requirements(
    spec: NetworkSpec, nodes: int, segments: int = 1, configuration: NetworkConfiguration | None = None
) -> list[Finding]:
    """The three requirements on a cluster of `nodes` nodes in `segments` layer-2 segments."""
    features = spec.cni.features
    one_node = nodes < 2
    pods = "" if one_node else features.pods_reach_pods
    nodes_reach = "" if one_node else features.nodes_reach_pods
    own = "" if one_node else features.own_address
    if configuration is not None and configuration.subnets and not one_node:
        same = f"the file gives every node the same range {configuration.subnets[0]}; give each node its own"
        pods, nodes_reach = pods or same, nodes_reach or same
        if configuration.ip_masquerade:
            own = own or f"{same}; between nodes ipMasq then rewrites the source to the node's address"
    if segments > 1 and not pods and needs_segment(spec):
        pods = nodes_reach = f"the nodes are in {segments} segments; {SEGMENTS}"
    addresses = {
        Addressing.HOST: "pods are their nodes",
        Addressing.NODE_SUBNET: "each node's subnet is routed to it",
        Addressing.BLOCKS: "each block of addresses is routed to its node",
        Addressing.NODE_LOCAL: "there is one node",
    }[features.addressing]
    return [
        Finding("pods reach pods without NAT", not pods, pods or addresses),
        Finding("nodes reach pods without NAT", not nodes_reach, nodes_reach or addresses),
        Finding(
            "a pod sees itself under the address others use", not own, own or "nothing rewrites addresses between pods"
        ),
    ]


def lacking(spec: NetworkSpec, needs: tuple[str, ...], nodes: int) -> list[str]:
    """Why the data path does not give a workload what it needs of layer 2; empty: it does."""
    missing = []
    for need in needs:
        feature, why = L2_NEEDS[need]
        reach = getattr(spec.cni.features, feature)
        if reach == "none" or (reach == "node" and nodes > 1):
            missing.append(
                f"{why}; here {feature} reaches {'nobody' if reach == 'none' else 'pods of the same node only'}"
            )
    return missing
