"""What the scheduler knows of the cluster beside nodes and pods: namespaces, services, controllers, budgets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sim.state.objects import LabelSelector, Pairs
from sim.state.selectors import EVERYTHING, Selector, equals, selector_of

if TYPE_CHECKING:
    from sim.scheduler.pod_info import PodInfo

CONTROLLER_KINDS = ("ReplicationController", "ReplicaSet", "StatefulSet")
"""Kinds whose selectors make default spreading (Kubernetes 1.20 and 1.34, plugins/helper/spread.go)."""


@dataclass(frozen=True, slots=True)
class DisruptionBudget:
    """A PodDisruptionBudget as preemption sees it."""

    namespace: str = "default"
    selector: LabelSelector | None = None
    disruptions_allowed: int = 0
    disrupted_pods: frozenset[int] = frozenset()
    """Ids of pods whose eviction was granted already."""


@dataclass(slots=True)
class ClusterObjects:
    """Objects that rules look up. Change them through `Core`, which drops what was derived from them."""

    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    """Labels by namespace name; a namespace that is not here has no labels and no selector finds it."""
    services: dict[str, dict[str, Pairs]] = field(default_factory=dict)
    """Selectors by namespace and service name."""
    controllers: dict[str, dict[tuple[str, str], LabelSelector]] = field(default_factory=dict)
    """Selectors by namespace and (kind, name)."""
    budgets: tuple[DisruptionBudget, ...] = ()
    version: int = 0
    """Counts changes of what spreading and affinity look up here."""

    def default_selector(self, pod: PodInfo) -> Selector:
        """The selector of the services and controllers that select a pod; empty when there are none.

        Since 1.21 the controller is the pod's owner; before, any whose selector matches the pod."""
        merged: dict[str, str] = {}
        for pairs in self.services.get(pod.namespace, {}).values():
            wanted = dict(pairs)
            if wanted and all(pod.labels.get(key) == value for key, value in wanted.items()):
                merged.update(wanted)
        controllers = self.controllers.get(pod.namespace, {})
        more: list[Selector] = []
        for kind, name in self._controllers_of(pod):
            selector = selector_of(controllers[(kind, name)])
            if kind == "ReplicationController":
                # its selector is a plain map, merged over the services'
                merged.update({each.key: each.values[0] for each in selector.requirements})
            else:
                more.append(selector)
        found = EVERYTHING.plus(equals(merged))
        for selector in more:
            found = found.plus(selector.requirements)
        return found

    def _controllers_of(self, pod: PodInfo) -> list[tuple[str, str]]:
        controllers = self.controllers.get(pod.namespace, {})
        owner = pod.spec.owner
        if not pod.legacy:
            known = owner is not None and owner.kind in CONTROLLER_KINDS and (owner.kind, owner.name) in controllers
            return [(owner.kind, owner.name)] if known and owner is not None else []
        matching = []
        for key, label_selector in controllers.items():
            selector = selector_of(label_selector)
            if selector.requirements and selector.matches(pod.labels):
                matching.append(key)
        return matching
