"""The kubelets' sync loops: watch events in, one pod worker a pod out."""

from __future__ import annotations

from collections.abc import Sequence

from simpy.events import Event

from sim.base.rand import Sampler, Streams
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.kubelet.node import Node
from sim.kubelet.pod_workers import PodWorkers
from sim.kubelet.runtimes import RuntimeSpec
from sim.kubelet.spec import KubeletSpec
from sim.kubelet.static_pods import of_node
from sim.nodes import ClusterNode
from sim.state.pods import PodTable


class Kubelets:
    """All kubelets. A node's state is made when its first pod arrives, so idle nodes cost nothing here.

    nodes, runtimes: one a node. present_share: image -> share of the nodes that hold it at the start.
    hollow_on: where the work of all of them is done; None: each on its own cores.
    """

    def __init__(
        self,
        clock: Clock,
        spec: KubeletSpec,
        nodes: Sequence[ClusterNode],
        runtimes: Sequence[RuntimeSpec],
        pods: PodTable,
        streams: Streams,
        present_share: dict[str, float],
        hollow_on: Machine | None = None,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._cluster_nodes = nodes
        self._runtimes = runtimes
        self._hollow_on = hollow_on
        self._pods = pods
        self._streams = streams
        self._samplers: dict[str, Sampler] = {}
        phases = streams("kubelet.phases").random((2, len(nodes)))
        self._relist_phase_s = phases[0] * spec.relist_period_s
        self._status_phase_s = phases[1] * spec.status_period_s
        self._present = {
            image: streams(f"images.present.{image}").random(len(nodes)) < share
            for image, share in present_share.items()
            if share > 0
        }
        self.nodes: dict[int, Node] = {}
        self.workers: PodWorkers
        """Set once, by the wiring: workers and kubelets know each other."""

    def begin_with(self, pod: int) -> str:
        """Before the run: a pod runs on its node already. Returns why it cannot, "" where it can."""
        return self.workers.begin_with(self.node(self._pods.ids["node"][pod]), pod)

    def on_bound(self, pod: int) -> None:
        """The watch delivered a pod bound to its node."""
        self._pods.times["kubelet_seen_s"][pod] = self._clock._now
        self._clock.start(self.workers.start(self.node(self._pods.ids["node"][pod]), pod))

    def on_deleted(self, pod: int) -> None:
        """The watch delivered a pod's deletion mark."""
        self.workers.delete(self.node(self._pods.ids["node"][pod]), pod)

    def set_away(self, index: int, away: Event | None) -> None:
        """Nothing passes between the node and the API server until `away` fires; None: it does again."""
        self.node(index).away = away

    def node(self, index: int) -> Node:
        node = self.nodes.get(index)
        if node is None:
            node = self.nodes[index] = Node(
                self._clock,
                index,
                self._cluster_nodes[index].spec.name,
                self._cluster_nodes[index].cores,
                self._spec,
                self._streams,
                self._samplers,
                float(self._relist_phase_s[index]),
                float(self._status_phase_s[index]),
                self._hollow_on,
                self._runtimes[index],
                dict(self._cluster_nodes[index].spec.allocatable),
            )
            for static in of_node(self._cluster_nodes[index], self._spec.static_pods):
                node.add_sandbox(node.runtime)
                node.containers += static.containers
            node.images.update(image for image, held in self._present.items() if held[index])
        return node
