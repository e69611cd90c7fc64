"""RBAC: a decision, and how many bindings were walked to reach it."""

from __future__ import annotations

from dataclasses import dataclass

from sim.apiserver.identity import Identity


@dataclass(frozen=True, slots=True)
class Role:
    """What its holders may do. `*` stands for all."""

    name: str
    rules: frozenset[tuple[str, str]]
    """(verb, resource) pairs."""

    def allows(self, verb: str, resource: str) -> bool:
        return bool({(verb, resource), ("*", resource), (verb, "*"), ("*", "*")} & self.rules)


COMPONENT_ROLES = (
    Role(
        "system:kube-scheduler",
        frozenset(
            {
                ("POST", "pods/binding"),
                ("PATCH", "pods/status"),
                ("POST", "events"),
                ("DELETE", "pods"),
                ("GET", "leases"),
                ("POST", "leases"),
                ("PUT", "leases"),
            }
        ),
    ),
    Role(
        "system:node",
        frozenset(
            {("GET", "pods"), ("PATCH", "pods/status"), ("DELETE", "pods"), ("PUT", "leases"), ("POST", "events")}
        ),
    ),
    Role("system:serviceaccount:kube-system:deployment-controller", frozenset({("POST", "replicasets")})),
    Role("system:serviceaccount:kube-system:replicaset-controller", frozenset({("POST", "pods"), ("DELETE", "pods")})),
    Role("system:serviceaccount:kube-system:job-controller", frozenset({("POST", "pods"), ("DELETE", "pods")})),
    Role("system:serviceaccount:kube-system:generic-garbage-collector", frozenset({("DELETE", "pods")})),
)
EDIT = Role("edit", frozenset({("*", "deployments"), ("*", "jobs"), ("*", "pods")}))


class Rbac:
    """Cluster role bindings are walked in order, then the bindings of the request's namespace; the first that allows ends the walk.

    cluster_role_bindings: how many there are; the components' own stand first among them.
    role_bindings_per_namespace: how many each namespace has; the last one gives its tenant the role `edit`.
    tenant_of: namespace -> the user who holds that binding.
    """

    def __init__(self, cluster_role_bindings: int, role_bindings_per_namespace: int, tenant_of: dict[str, str]) -> None:
        self._cluster = cluster_role_bindings
        self._namespaced = role_bindings_per_namespace
        self._tenant_of = tenant_of
        self._known: dict[tuple[Identity, str, str, str], tuple[bool, int]] = {}

    def decide(self, user: Identity, verb: str, resource: str, namespace: str) -> tuple[bool, int]:
        """(allowed, bindings walked)."""
        asked = (user, verb, resource, namespace)
        known = self._known.get(asked)
        if known is None:
            known = self._known[asked] = self._walk(user, verb, resource, namespace)
        return known

    def _walk(self, user: Identity, verb: str, resource: str, namespace: str) -> tuple[bool, int]:
        for walked, role in enumerate(COMPONENT_ROLES, start=1):
            if role.name == user.name and role.allows(verb, resource):
                return True, walked
        walked = max(self._cluster, len(COMPONENT_ROLES))
        if self._tenant_of.get(namespace) == user.name and self._namespaced and EDIT.allows(verb, resource):
            return True, walked + self._namespaced
        return False, walked + self._namespaced
