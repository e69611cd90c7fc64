"""What every network plug-in answers: ADD and DEL on a node, its data path, the tables it fills, what it can and cannot do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from sim.base.plugin import Catalog
from sim.base.spec import Spec, param
from sim.network.costs import PathCosts
from sim.network.data_path import DataPath
from sim.network.setup import KERNEL, BridgeSteps, Process, RoutedSteps, RuleSteps, attach, detach

if TYPE_CHECKING:
    from sim.kubelet.node import Node


class Addressing(Enum):
    """Where a pod's address comes from."""

    HOST = "the node's own address"
    NODE_LOCAL = "a range that every node has alike and hides behind its own address"
    NODE_SUBNET = "the node's subnet of the cluster's range"
    BLOCKS = "blocks of the pool, claimed by nodes"


class Spread(Enum):
    """How the other nodes learn where a pod is."""

    NONE = "they need not, or cannot"
    LEASE = "a subnet lease of the node, watched by every node"
    CLOUD = "the cluster's controller writes one route a node"
    BGP = "BGP announces the node's blocks"
    POLICY_AGENT = "the datastore's watch, fanned out to the agent of every node"


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a cluster as its network's tables see it."""

    nodes: int
    pods: int
    services: int
    policies: int = 0

    @property
    def pods_per_node(self) -> float:
        return self.pods / self.nodes if self.nodes else 0.0


@dataclass(frozen=True, slots=True)
class TableSizes:
    """Entries in one node's tables."""

    routes: float
    neighbours: float
    forwarding: float
    """VXLAN FDB entries, or flows of a virtual switch."""
    rules: float
    sets: float = 0.0
    """Members of address sets."""


@dataclass(frozen=True, slots=True)
class Features:
    """What a plug-in is. hops: names of `PathCosts` between nodes; local_hops: between two pods of one node."""

    hops: tuple[str, ...]
    local_hops: tuple[str, ...]
    header_bytes: int
    addressing: Addressing
    spread: Spread
    aggregates: bool = True
    pods_reach_pods: str = ""
    """Why pods of different nodes do not reach each other under their own addresses; empty: they do."""
    nodes_reach_pods: str = ""
    own_address: str = ""
    """Why a pod's own address is not the one its peers see; empty: it is."""
    broadcast: str = "node"
    """How far broadcast and ARP reach: none, node, cluster."""
    multicast: str = "node"
    same_segment: bool = False
    """Needs all nodes in one layer-2 segment: packets are not encapsulated and the underlay knows no pod routes."""


class CniSpec(Spec):
    """Base of every plug-in: parameters, two calls, and what it says about itself."""

    features: ClassVar[Features]
    programs: ClassVar[int] = 0
    """iptables programs run for a pod, where `rules.backend` is not none."""
    rules_per_pod: ClassVar[int] = 0

    mtu_bytes: int | None = param(
        None, "MTU of pods' interfaces; null: the underlay's less the header", ge=68, le=65535
    )
    setup_cpu_s: float = param(
        0.02,
        "starting the plug-in's programs (runtime start of Go, configuration), outside the kernel's lock",
        unverified=True,
        ge=0,
        le=60,
    )
    rules: RuleSteps = RuleSteps()
    delete_lock_s: float = param(
        0.002, "a removal holds the node's lock this long", source=KERNEL + "; program start included", ge=0, le=60
    )
    delete_grace_s: float = param(
        0.0235,
        "then the kernel's grace period, which holds nobody up",
        source=KERNEL + "; deletion took 24 to 28 ms in all",
        ge=0,
        le=60,
    )

    def add(self, node: Node) -> Process:
        """Attach one pod to the node's network."""
        return attach(node, self.setup_cpu_s, self.attach_steps, self.rules, self.programs, self.rules_per_pod)

    def delete(self, node: Node) -> Process:
        """Detach one pod."""
        return detach(node, self.delete_lock_s, self.delete_grace_s)

    @property
    def attach_steps(self) -> BridgeSteps | RoutedSteps:
        raise NotImplementedError

    def mtu(self, underlay_mtu_bytes: int) -> int:
        """MTU of pods' interfaces."""
        return self.mtu_bytes if self.mtu_bytes is not None else underlay_mtu_bytes - self.features.header_bytes

    def path(
        self, costs: PathCosts, underlay_mtu_bytes: int, same_node: bool = False, same_segment: bool = True
    ) -> DataPath:
        """The way from a pod to a pod. same_segment: whether both nodes are in one layer-2 segment."""
        features = self.features
        if same_node:
            return DataPath(
                features.local_hops, 0, self.mtu(underlay_mtu_bytes), costs, features.aggregates, crosses_wire=False
            )
        return DataPath(features.hops, features.header_bytes, self.mtu(underlay_mtu_bytes), costs, features.aggregates)

    def tables(self, shape: Shape) -> TableSizes:
        """Entries in one node's tables, without kube-proxy's."""
        raise NotImplementedError


class BridgeCni(CniSpec):
    """Base of plug-ins that put pods on a Linux bridge."""

    steps: BridgeSteps = BridgeSteps()

    @property
    def attach_steps(self) -> BridgeSteps:
        return self.steps


class RoutedCni(CniSpec):
    """Base of plug-ins that route to each pod's veth."""

    programs: ClassVar[int] = 2
    rules_per_pod: ClassVar[int] = 8

    steps: RoutedSteps = RoutedSteps()

    @property
    def attach_steps(self) -> RoutedSteps:
        return self.steps


CNI: Catalog[type[CniSpec]] = Catalog("CNI plug-ins", package="sim.network.cni")
