"""Static pods: those that a kubelet starts from files of its own, such as a node's proxy or log agent.

They run from the kubelet's start to its end and never change, so no row of a table is kept for them: what they ask for is taken off
what their nodes give, their sandboxes and containers are there when a node's first pod comes, and the mirror pods, by which the API
server knows of them, are created and reported when the run begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sim.base.errors import Problems
from sim.base.fields import QuantityText
from sim.base.spec import Spec, param
from sim.base.units import format_amount, parse_amount
from sim.nodes import ClusterNode
from sim.state.objects import quantities


class StaticPodSpec(Spec):
    """One static pod, on every node of its pools."""

    name: str = param(..., "its name", min_length=1)
    cpu: QuantityText = param("100m", "CPU that it requests")
    memory: QuantityText = param("64Mi", "memory that it requests")
    containers: int = param(1, "containers that it runs", ge=1, le=100)
    pools: tuple[str, ...] = param((), "pools whose nodes have it; none: all nodes")

    @property
    def requests(self) -> dict[str, int]:
        """What it takes of its node, in base units."""
        return {"cpu": parse_amount("cpu", self.cpu), "memory": parse_amount("memory", self.memory), "pods": 1}


def of_node(node: ClusterNode, static_pods: Sequence[StaticPodSpec]) -> list[StaticPodSpec]:
    """The static pods of one node."""
    return [pod for pod in static_pods if not pod.pools or node.pool in pod.pools]


def with_static_pods(nodes: tuple[ClusterNode, ...], static_pods: Sequence[StaticPodSpec]) -> tuple[ClusterNode, ...]:
    """The nodes with what their static pods leave. InputError where one does not fit: its kubelet would refuse it."""
    if not static_pods:
        return nodes
    problems = Problems("kubelet.static_pods")
    told: set[tuple[str, str]] = set()
    found = []
    for node in nodes:
        left = dict(node.spec.allocatable)
        for pod in of_node(node, static_pods):
            for name, amount in pod.requests.items():
                if amount > left.get(name, 0) and (pod.name, node.pool) not in told:
                    told.add((pod.name, node.pool))
                    rule = f"needs more {name} than the nodes of pool {node.pool} have left, {format_amount(name, left.get(name, 0))}"
                    problems.add(pod.name, format_amount(name, amount), rule, "ask for less, or give it other pools")
                left[name] = left.get(name, 0) - amount
        found.append(replace(node, spec=replace(node.spec, allocatable=quantities(left))))
    problems.raise_if_any()
    return tuple(found)
