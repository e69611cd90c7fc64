"""A pod's network during a run: an address, the plug-in's steps on the node, and the route's way to the peers."""

from __future__ import annotations

from collections.abc import Callable, Generator
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from simpy.events import Event

from sim.base.errors import Problems
from sim.engine.clock import Clock, fire
from sim.network.addresses import CalicoBlocks, HostLocal, subnet_of
from sim.network.cni.catalog import Addressing
from sim.network.cni_config import NetworkConfiguration, read_configuration
from sim.network.ipam_store import IpamStore, Send
from sim.network.routes.service_rules import ServiceRules
from sim.network.routes.spread import RouteSpread
from sim.network.setup import Process
from sim.network.spec import NetworkSpec
from sim.state.pods import PodTable

if TYPE_CHECKING:
    from sim.kubelet.node import Node


def keeps_addresses(spec: NetworkSpec) -> bool:
    """Whether the plug-in keeps addresses as objects of the API."""
    blocks = spec.cni.features.addressing is Addressing.BLOCKS and not spec.cni_conf
    return blocks and bool(getattr(spec.cni, "datastore_requests", False))


class PodNetwork:
    """Attaches and detaches the pods of all nodes.

    base_dir: folder against which `cni_conf` is resolved. send: sends a request of the plug-in to the API server; None: it sends
    none. load: puts processor time of its kube-proxy on a node. InputError when the spec does not fit the number of nodes.
    """

    def __init__(
        self,
        clock: Clock,
        spec: NetworkSpec,
        nodes: int,
        pods: PodTable,
        base_dir: str = ".",
        send: Send | None = None,
        rng: np.random.Generator | None = None,
        load: Callable[[int, float], None] = lambda node, cpu_s: None,
    ) -> None:
        problems = Problems("network")
        spec.check("network", nodes, problems)
        problems.raise_if_any()
        self._clock = clock
        self._spec = spec
        self._pods = pods
        self._conf: NetworkConfiguration | None = (
            read_configuration(Path(base_dir) / spec.cni_conf) if spec.cni_conf else None
        )
        if self._conf is not None:
            spec.check_configuration(spec.cni_conf, self._conf, problems)
            problems.raise_if_any()
        cni = spec.cni
        self._blocks = None
        if cni.features.addressing is Addressing.BLOCKS and self._conf is None:
            self._blocks = CalicoBlocks(
                spec.pods,
                getattr(cni, "block_prefix", 26),
                getattr(cni, "max_blocks_per_host", 20),
                getattr(cni, "strict_affinity", False),
            )
        self.store = None
        """Calico's datastore."""
        if send is not None and keeps_addresses(spec):
            self.store = IpamStore(send)
        self._waiting: dict[int, Event] = {}
        """Pods that wait for an address."""
        self._never_attached: set[int] = set()
        """Pods that were deleted meanwhile."""
        self._host_local: dict[int, HostLocal] = {}
        self._lent: dict[int, int] = {}
        """Borrowed addresses by pod."""
        self._aggregate = getattr(cni, "aggregate_blocks", True)
        self.spread = RouteSpread(clock, cni, spec.bgp, spec.felix, nodes, spec.policies, pods, spec.lease, rng)
        half_s, all_s = pods.times["serving_50_s"], pods.times["serving_all_s"]
        self.services = ServiceRules(
            clock, spec.kube_proxy, nodes, half_s, all_s, rng or np.random.default_rng(0), load
        )
        self.on_detach: Callable[[int], None] = lambda pod: None
        """Told of each pod whose network is taken down."""
        self.exhausted = 0
        """Times that a node had no address for a pod."""

    def attach(self, node: Node, pod: int) -> Process:
        """Until the pod has an address and its network is set up.

        With no address left, or an error from the datastore, the plug-in fails and is run again.
        """
        new_route = False
        if self._spec.cni.features.addressing is not Addressing.HOST:
            while True:
                given = self._allocate(node.index, pod)
                if given is None:
                    self.exhausted += 1
                elif self.store is None or (
                    yield from self.store.assign(new_block=given and self._aggregate and pod not in self._lent)
                ):
                    break
                else:
                    self._free(node.index, pod)
                    self._lent.pop(pod, None)
                if (yield from self._wait(pod)):
                    self._never_attached.add(pod)
                    return
            new_route = given
        yield from self._spec.cni.add(node)
        if self._conf is not None and self._conf.chained:
            yield node.machine.work(len(self._conf.chained) * self._spec.cni.setup_cpu_s)
        self.spread.pod_attached(pod, node.index, node.ports, new_route)

    def begin_with(self, node: Node, pod: int) -> bool:
        """Before the run: the pod is attached, and every peer has its route. Returns whether there was an address for it."""
        if self._spec.cni.features.addressing is Addressing.HOST:
            return True
        node.ports += 1
        return self._allocate(node.index, pod) is not None

    def give_up(self, pod: int) -> None:
        """The pod is deleted: if it waits for an address, it stops."""
        if (waiting := self._waiting.pop(pod, None)) is not None:
            fire(waiting, True)

    def _wait(self, pod: int) -> Generator[Event, Any, bool]:
        """Until the next try; ends with true when the pod gives up."""
        self._waiting[pod] = waiting = Event(self._clock)

        def ring(_: object) -> None:
            if self._waiting.get(pod) is waiting:
                del self._waiting[pod]
                fire(waiting, False)

        self._clock.at(self._spec.retry_s, ring)
        given_up: bool = yield waiting
        return given_up

    def detach(self, node: Node, pod: int) -> Process:
        """Take the pod's network down and give its address back."""
        if pod in self._never_attached:
            self._never_attached.remove(pod)
            return
        self.on_detach(pod)
        yield from self._spec.cni.delete(node)
        if self._pods.ids["address"][pod] < 0:
            return
        while self.store is not None and not (yield from self.store.release()):
            yield self._clock.timeout(self._spec.retry_s)
        emptied = self._free(node.index, pod)
        if self._blocks is not None and (emptied or self._lent.pop(pod, 0) or not self._aggregate):
            self.spread.route_withdrawn(node.index)
        if self.store is not None and emptied:
            yield from self.store.release_block()

    def _free(self, node: int, pod: int) -> bool:
        """The pod's address may be given to another; whether that empties a block."""
        address = self._pods.ids["address"][pod]
        self._pods.ids["address"][pod] = -1
        if self._blocks is not None:
            return self._blocks.release(address + int(self._blocks.pool.network_address))
        self._host_local[node].release(address + self._first(node))
        return False

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
