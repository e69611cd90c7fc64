"""What mutating webhooks make of a pod: labels, a choice of nodes, containers beside its own.

A patch is the same for all pods of a template, so it is applied before the run. Where a webhook that may be passed over has
a patch, the template has a variant without it: pods that are created while the webhook is away are stored as that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

from sim.base.fields import Named, QuantityText
from sim.base.spec import Spec, param
from sim.base.units import parse_amount
from sim.state.objects import Container, PodSpec, pairs, quantities

if TYPE_CHECKING:
    from sim.apiserver.admission.objects import Webhook


class SidecarSpec(Spec):
    """A container that is put into a pod."""

    image: str = param("", "its image")
    requests: dict[str, QuantityText] = param({}, "what it asks for: cpu, memory, …")
    limits: dict[str, QuantityText] = param({}, "what it may use")

    def container(self, name: str) -> Container:
        """It as a part of a pod; what has a limit and no request asks for its limit."""
        limits = {resource: parse_amount(resource, text) for resource, text in self.limits.items()}
        requests = {resource: parse_amount(resource, text) for resource, text in self.requests.items()}
        return Container(name, self.image, quantities({**limits, **requests}), quantities(limits))


class PatchSpec(Spec):
    """What a mutating webhook changes in a pod."""

    labels: dict[str, str] = param({}, "labels that it sets")
    node_selector: dict[str, str] = param({}, "node labels that it asks for")
    containers: Named[SidecarSpec] = param({}, "containers that it adds, by name")

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return bool(self.labels or self.node_selector or self.containers)

    def apply(self, pod: PodSpec) -> PodSpec:
        """The pod as it is stored."""
        return replace(
            pod,
            labels=pairs({**dict(pod.labels), **self.labels}),
            node_selector=pairs({**dict(pod.node_selector), **self.node_selector}),
            containers=(*pod.containers, *(each.container(name) for name, each in self.containers.items())),
        )


@dataclass(frozen=True, slots=True)
class Patched:
    """A template as its pods are stored."""

    pod: PodSpec
    without: Mapping[frozenset[str], PodSpec]
    """And as they are where the webhooks of these names were passed over."""


def patched(pod: PodSpec, hooks: Sequence[Webhook], patches: Mapping[str, PatchSpec]) -> Patched:
    """A pod on its way through the mutating webhooks that are asked about it, in their order."""
    changing = [hook for hook in hooks if hook.mutating and hook.name in patches and patches[hook.name].changes]
    optional = [hook.name for hook in changing if not hook.fails_closed]

    def stored(missed: frozenset[str]) -> PodSpec:
        made = pod
        for hook in changing:
            if hook.name not in missed:
                made = patches[hook.name].apply(made)
        return made

    away = [frozenset(names) for count in range(1, len(optional) + 1) for names in combinations(optional, count)]
    return Patched(stored(frozenset()), {missed: stored(missed) for missed in away})
