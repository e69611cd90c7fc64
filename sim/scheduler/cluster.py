"""What the scheduler knows of the cluster beside nodes and pods: namespaces, services, controllers, budgets."""

from __future__ import annotations

from dataclasses import dataclass, field

from sim.state.objects import LabelSelector, Owner, Pairs
from sim.state.selectors import EVERYTHING, Selector, equals, selector_of

CONTROLLER_KINDS = ("ReplicationController", "ReplicaSet", "StatefulSet")
"""Kinds of owners whose selectors make default spreading (Kubernetes 1.20 and 1.34, helper.DefaultSelector)."""


@dataclass(frozen=True, slots=True)
class DisruptionBudget:
    """A PodDisruptionBudget as preemption sees it."""

    namespace: str = "default"
    selector: LabelSelector | None = None
    disruptions_allowed: int = 0
    disrupted_pods: frozenset[str] = frozenset()
    """Names of pods whose eviction was granted already."""


@dataclass(slots=True)
class ClusterObjects:
    """Objects that rules look up. Change them through `Core`, which drops what was derived from them."""

    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    """Labels by namespace name; a namespace that is not here has no labels and no selector finds it."""
    services: dict[str, dict[str, Pairs]] = field(default_factory=dict)
    """Selectors by namespace and service name."""
    controllers: dict[tuple[str, str, str], LabelSelector | None] = field(default_factory=dict)
    """Selectors by (kind, namespace, name)."""
    budgets: tuple[DisruptionBudget, ...] = ()

    def default_selector(self, namespace: str, labels: dict[str, str], owner: Owner | None) -> Selector:
        """The selector of the services and the owning controller that select a pod; empty when there are none."""
        merged: dict[str, str] = {}
        for pairs in self.services.get(namespace, {}).values():
            wanted = dict(pairs)
            if wanted and all(labels.get(key) == value for key, value in wanted.items()):
                merged.update(wanted)
        found = EVERYTHING.plus(equals(merged))
        if owner is not None and owner.kind in CONTROLLER_KINDS:
            key = (owner.kind, namespace, owner.name)
            if key in self.controllers:
                of_owner = selector_of(self.controllers[key])
                if owner.kind == "ReplicationController":
                    # its selector is a plain map that replaces equal keys of the services'
                    for requirement in of_owner.requirements:
                        merged[requirement.key] = requirement.values[0]
                    return EVERYTHING.plus(equals(merged))
                if not of_owner.nothing:
                    found = found.plus(of_owner.requirements)
        return found
