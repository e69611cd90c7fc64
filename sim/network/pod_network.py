"""A pod's network during a run: an address, the plug-in's steps on the node, and the route's way to the peers."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from sim.base.errors import Problems
from sim.engine.clock import Clock
from sim.network.addresses import CalicoBlocks, HostLocal, subnet_of
from sim.network.cni.catalog import Addressing
from sim.network.cni_config import NetworkConfiguration, read_configuration
from sim.network.routes.spread import RouteSpread
from sim.network.setup import Process
from sim.network.spec import NetworkSpec
from sim.state.pods import PodTable

if TYPE_CHECKING:
    from sim.kubelet.node import Node


class PodNetwork:
    """Attaches and detaches the pods of all nodes.

    base_dir: folder against which `cni_conf` is resolved. InputError when the spec does not fit the number of nodes.
    """

    def __init__(self, clock: Clock, spec: NetworkSpec, nodes: int, pods: PodTable, base_dir: str = ".") -> None:
        problems = Problems("network")
        spec.check("network", nodes, problems)
        problems.raise_if_any()
        self._clock = clock
        self._spec = spec
        self._pods = pods
        self._conf: NetworkConfiguration | None = (
            read_configuration(Path(base_dir) / spec.cni_conf) if spec.cni_conf else None
        )
        cni = spec.cni
        self._blocks = None
        if cni.features.addressing is Addressing.BLOCKS and self._conf is None:
            self._blocks = CalicoBlocks(
                spec.pods,
                getattr(cni, "block_prefix", 26),
                getattr(cni, "max_blocks_per_host", 20),
                getattr(cni, "strict_affinity", False),
            )
        self._host_local: dict[int, HostLocal] = {}
        self._lent: dict[int, int] = {}
        """Borrowed addresses by pod."""
        self._aggregate = getattr(cni, "aggregate_blocks", True)
        self.spread = RouteSpread(clock, cni, spec.bgp, spec.felix, nodes, spec.policies, pods)
        self.exhausted = 0
        """Times that a node had no address for a pod."""

    def attach(self, node: Node, pod: int) -> Process:
        """Until the pod has an address and its network is set up. With no address left it fails and is tried again."""
        new_route = False
        if self._spec.cni.features.addressing is not Addressing.HOST:
            while (given := self._allocate(node.index, pod)) is None:
                self.exhausted += 1
                yield self._clock.timeout(self._spec.retry_s)
            new_route = given
        yield from self._spec.cni.add(node)
        if self._conf is not None and self._conf.chained:
            yield node.machine.work(len(self._conf.chained) * self._spec.cni.setup_cpu_s)
        self.spread.pod_attached(pod, node.index, node.ports, new_route)

    def detach(self, node: Node, pod: int) -> Process:
        """Take the pod's network down and give its address back."""
        yield from self._spec.cni.delete(node)
        address = self._pods.ids["address"][pod]
        if address < 0:
            return
        self._pods.ids["address"][pod] = -1
        if self._blocks is None:
            local = self._host_local[node.index]
            local.release(address + self._first(node.index))
            return
        emptied = self._blocks.release(address + int(self._blocks.pool.network_address))
        if emptied or self._lent.pop(pod, 0) or not self._aggregate:
            self.spread.route_withdrawn(node.index)

    def _allocate(self, node: int, pod: int) -> bool | None:
        """Whether the pod needs a new route; None when there is no address."""
        if self._blocks is not None:
            assigned = self._blocks.allocate(node)
            if assigned is None:
                return None
            self._pods.ids["address"][pod] = assigned.address - int(self._blocks.pool.network_address)
            if assigned.borrowed:
                self._lent[pod] = 1
            return assigned.new_block or assigned.borrowed or not self._aggregate
        local = self._host_local.get(node)
        if local is None:
            local = self._host_local[node] = self._node_range(node)
        address = local.allocate()
        if address is None:
            return None
        self._pods.ids["address"][pod] = address - self._first(node)
        return False

    def _node_range(self, node: int) -> HostLocal:
        if self._conf is not None and self._conf.ranges:
            return HostLocal(list(self._conf.ranges))
        if self._spec.cni.features.addressing is Addressing.NODE_SUBNET:
            return HostLocal.of_subnet(subnet_of(self._spec.pods, self._spec.node_prefix, node))
        return HostLocal.of_subnet(self._private())

    def _private(self) -> IPv4Network:
        """The range that every node has alike."""
        return IPv4Network(getattr(self._spec.cni, "subnet", self._spec.pod_range))

    def _first(self, node: int) -> int:
        """The address that column `address` counts from."""
        if self._conf is not None and self._conf.subnets:
            return int(self._conf.subnets[0].network_address)
        if self._spec.cni.features.addressing is Addressing.NODE_SUBNET:
            return int(self._spec.pods.network_address)
        return int(self._private().network_address)
