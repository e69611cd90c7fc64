"""The Node authorizer: a kubelet may do what the version's node rules say, and read only what its own pods refer to.

Source: Kubernetes 1.20 source, node authorizer and its graph.
"""

from __future__ import annotations

from collections import Counter

from sim.apiserver.authorization.attributes import Attributes
from sim.apiserver.authorization.bootstrap import node_rules
from sim.apiserver.authorization.catalog import AUTHORIZERS, Authorizer, AuthorizerSpec, Bench, Opinion
from sim.apiserver.authorization.policy import Rule
from sim.apiserver.identity import ANY_NODE
from sim.base.spec import param

READ_BY_REFERENCE = {"secrets": ("get", "list", "watch"), "configmaps": ("get", "list", "watch"),
                     "persistentvolumeclaims": ("get",), "persistentvolumes": ("get",), "volumeattachments": ("get",)}  # fmt: skip
"""Resources of which a node reads only what its pods refer to, with the verbs that it may have."""
LEASE_NAMESPACE = "kube-node-lease"
OWN_NAME = {"leases": LEASE_NAMESPACE, "csinodes": ""}
"""Objects that a node has one of, by its own name; and their namespace."""


class NodeGraph:
    """Which objects the pods of which node refer to. Each reference is counted, so that what two pods share stays with one."""

    def __init__(self) -> None:
        self._references: dict[tuple[str, str, str], Counter[str]] = {}

    def add(self, node: str, resource: str, namespace: str, name: str) -> None:
        """A pod that is bound to the node refers to the object."""
        self._references.setdefault((resource, namespace, name), Counter())[node] += 1

    def remove(self, node: str, resource: str, namespace: str, name: str) -> None:
        """Such a pod has gone."""
        at = self._references[resource, namespace, name]
        at[node] -= 1
        if not at[node]:
            del at[node]
        if not at:
            del self._references[resource, namespace, name]

    def nodes_of(self, resource: str, namespace: str, name: str) -> frozenset[str]:
        """Nodes that may read the object."""
        return frozenset(self._references.get((resource, namespace, name), ()))


class NodeAuthorizer(Authorizer):
    """`graph` is what it looks single objects up in; requests of all nodes together are each for what is their own."""

    def __init__(self, rules: tuple[Rule, ...], graph: NodeGraph, rule_cpu_s: float, graph_cpu_s: float) -> None:
        self._rules = rules
        self.graph = graph
        self._rule_cpu_s = rule_cpu_s
        self._graph_cpu_s = graph_cpu_s

    def opinion(self, asked: Attributes) -> tuple[Opinion, float]:
        user = asked.user
        if not user.is_node or not user.name.startswith(ANY_NODE):
            return Opinion.NONE, 0.0
        if asked.resource in READ_BY_REFERENCE and not (
            asked.resource == "persistentvolumeclaims" and asked.subresource == "status"
        ):
            allowed = asked.verb in READ_BY_REFERENCE[asked.resource] and not asked.subresource and self._refers(asked)
            return (Opinion.ALLOW if allowed else Opinion.NONE), self._graph_cpu_s
        if asked.resource in OWN_NAME:
            return (Opinion.ALLOW if self._is_own(asked) else Opinion.NONE), 0.0
        if asked.full_resource == "serviceaccounts/token":
            allowed = asked.verb == "create" and self._refers(asked)
            return (Opinion.ALLOW if allowed else Opinion.NONE), self._graph_cpu_s
        for looked, rule in enumerate(self._rules, start=1):
            if rule.allows(asked):
                return Opinion.ALLOW, looked * self._rule_cpu_s
        return Opinion.NONE, len(self._rules) * self._rule_cpu_s

    def _refers(self, asked: Attributes) -> bool:
        if asked.name is None or asked.user.name == ANY_NODE:
            return asked.name != ""
        node = asked.user.name.removeprefix(f"{ANY_NODE}:")
        return node in self.graph.nodes_of(asked.resource, asked.namespace, asked.name)

    def _is_own(self, asked: Attributes) -> bool:
        if asked.verb not in ("get", "create", "update", "patch", "delete") or asked.subresource:
            return False
        if asked.namespace not in (OWN_NAME[asked.resource], ""):
            return False
        own = asked.user.name.removeprefix(f"{ANY_NODE}:")
        return asked.verb == "create" or asked.name in (None, own)


@AUTHORIZERS.register("node")
class NodeSpec(AuthorizerSpec):
    """`--authorization-mode=Node`."""

    rule_cpu_s: float = param(1.0e-7, "per node rule looked at", source="our estimate", unverified=True, ge=0, le=0.01)
    graph_cpu_s: float = param(
        2.0e-6,
        "look an object up in the graph of pods and nodes",
        source="our estimate",
        unverified=True,
        ge=0,
        le=0.01,
    )

    def build(self, bench: Bench, name: str) -> Authorizer:
        return NodeAuthorizer(node_rules(bench.version), NodeGraph(), self.rule_cpu_s, self.graph_cpu_s)
