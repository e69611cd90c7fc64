"""A node joins: a machine boots, its kubelet gets a certificate, registers, gets an address range, opens its watches, says Ready."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.apiserver.request import RENEW_LEASE, Operation, Selection, list_operation, watch_operation
from sim.base.rand import Distribution, Sampler, Streams
from sim.engine.clock import Clock
from sim.node_lifecycle.park import NodePark, NodeState
from sim.node_lifecycle.spec import JoinSpec

if TYPE_CHECKING:
    from sim.engine.meter import Meter

Process = Generator[Event, Any, None]

CREATE_CSR = Operation("POST", "certificatesigningrequests", "create_cpu_s", writes=1, keys=1)
APPROVE_CSR = Operation("PUT", "certificatesigningrequests/approval", "patch_cpu_s", writes=1)
SIGN_CSR = Operation("PUT", "certificatesigningrequests/status", "patch_cpu_s", writes=1)
GET_CSR = Operation("GET", "certificatesigningrequests", "get_cpu_s", reads=1)
CREATE_NODE = Operation("POST", "nodes", "create_cpu_s", writes=1, keys=1)
GET_NODE = Operation("GET", "nodes", "get_cpu_s", reads=1)
PATCH_NODE = Operation("PATCH", "nodes", "patch_cpu_s", writes=1)
PATCH_NODE_STATUS = Operation("PATCH", "nodes/status", "patch_cpu_s", writes=1)
CREATE_LEASE = Operation("POST", "leases", "create_cpu_s", writes=1, keys=1)
DELETE_NODE = Operation("DELETE", "nodes", "delete_cpu_s", reads=1, writes=1, keys=-1)
WATCHED: dict[str, Selection] = {
    "pods": "of-a-node",
    "nodes": "one",
    "services": "all",
    "runtimeclasses": "all",
    "csidrivers": "all",
    "endpointslices": "all",
}
"""What kubelet and kube-proxy watch, and which objects of it. The watches of a node go round them: those of config maps and secrets,
which come with the first pods of a node, are counted as others of these."""
BY_PROXY = ("services", "endpointslices")


class Joining:
    """Brings nodes into the cluster.

    kubelet, proxy: the nodes' own requests. approver: the controllers that approve and sign. ranges: the one that gives address ranges.
    """

    def __init__(
        self,
        clock: Clock,
        spec: JoinSpec,
        park: NodePark,
        kubelet: Client,
        proxy: Client,
        approver: Client,
        ranges: Client,
        streams: Streams,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._park = park
        self._kubelet = kubelet
        self._proxy = proxy
        self._approver = approver
        self._ranges = ranges
        self._streams = streams
        self._boots: dict[str, Sampler] = {}
        self._phase = streams("nodes.join.phases").random
        self.meters: list[Meter] = [limit.meter for client in (approver, ranges) if (limit := client.limit) is not None]

    def boot_s(self, pool: str, dist: Distribution) -> float:
        """A draw of how long a machine of a pool takes from its order to its kubelet's start."""
        sampler = self._boots.get(pool)
        if sampler is None:
            sampler = self._boots[pool] = Sampler(dist, self._streams(f"nodes.boot.{pool}"))
        return sampler()

    def order(self, node: int) -> None:
        """A machine is ordered for this row."""
        self._park.state[node] = NodeState.JOINING
        self._clock.start(self._join(node))

    def wave(self, nodes: Sequence[int], at_s: float, over_s: float) -> Process:
        """Process: nodes that are ordered one after the other from `at_s` on, evenly over `over_s`."""
        yield self._clock.timeout(max(0.0, at_s - self._clock.now))
        for node in nodes:
            self.order(node)
            if over_s and len(nodes) > 1:
                yield self._clock.timeout(over_s / (len(nodes) - 1))

    def _join(self, node: int) -> Process:
        clock, spec, machine = self._clock, self._spec, self._park.nodes[node]
        yield clock.timeout(self.boot_s(machine.pool, machine.boot_s))
        if spec.certificate:
            yield from self._send(self._kubelet, CREATE_CSR)
            yield clock.timeout(spec.sign_s)
            yield from self._send(self._approver, APPROVE_CSR)
            yield from self._send(self._approver, SIGN_CSR)
            yield from self._send(self._kubelet, GET_CSR)
        yield from self._send(self._kubelet, CREATE_NODE)
        clock.start(self._watches())
        yield from self._send(self._kubelet, CREATE_LEASE)
        yield from self._send(self._kubelet, RENEW_LEASE)
        yield from self._send(self._ranges, PATCH_NODE)
        yield clock.timeout(spec.network_s)
        yield clock.timeout(spec.status_s * float(self._phase()))  # its next look at itself
        yield from self._send(self._kubelet, GET_NODE)
        yield from self._send(self._kubelet, PATCH_NODE_STATUS)
        self._park.joined(node)

    def _watches(self) -> Process:
        """Kubelet and kube-proxy list what they watch, from the cache, one after the other, then open the watch."""
        resources = list(WATCHED)
        for number in range(self._spec.watches):
            resource = resources[number % len(resources)]
            client = self._proxy if resource in BY_PROXY else self._kubelet
            yield from self._send(client, list_operation(resource, version="any", selects=WATCHED[resource]))
            yield from self._send(client, watch_operation(resource))

    def _send(self, client: Client, operation: Operation) -> Process:
        """Until it is answered well; a request that failed goes again a little later."""
        yield from client.turn()
        while (yield from client.send(operation, "")) >= 300:
            yield self._clock.timeout(1.0)
            yield from client.turn()
