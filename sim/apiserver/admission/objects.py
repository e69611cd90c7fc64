"""The objects that admission goes by: limit ranges, namespaces with their annotations, quotas, webhook configurations."""

from __future__ import annotations

from dataclasses import dataclass, field

from sim.state.objects import LabelSelector, Pairs, Quantities


@dataclass(frozen=True, slots=True)
class LimitRangeItem:
    """One item of a LimitRange. kind: Container or Pod. Ratios are the most that a limit may be of its request."""

    kind: str
    default: Quantities = ()
    """Limits of containers that give none."""
    default_request: Quantities = ()
    least: Quantities = ()
    most: Quantities = ()
    most_ratio: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class LimitRange:
    """A LimitRange of one namespace."""

    namespace: str
    name: str
    items: tuple[LimitRangeItem, ...]


@dataclass(frozen=True, slots=True)
class ResourceQuotaObject:
    """A ResourceQuota. hard: limits in base units (CPU in millicores)."""

    namespace: str
    name: str
    hard: Quantities
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NamespaceObject:
    """A Namespace."""

    name: str
    labels: Pairs = ()
    annotations: Pairs = ()
    terminating: bool = False


@dataclass(frozen=True, slots=True)
class WebhookRule:
    """Which requests a webhook is asked about: `*` stands for all; `pods/*` for all subresources of pods."""

    operations: tuple[str, ...]
    """CREATE, UPDATE, DELETE, CONNECT."""
    groups: tuple[str, ...]
    resources: tuple[str, ...]
    scope: str = "*"
    """Cluster, Namespaced or `*`."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One webhook of a MutatingWebhookConfiguration or ValidatingWebhookConfiguration."""

    name: str
    mutating: bool
    rules: tuple[WebhookRule, ...]
    fails_closed: bool = True
    """failurePolicy Fail: no answer refuses the request; Ignore: it goes on as if the webhook were not there."""
    timeout_s: float = 10.0
    namespace_selector: LabelSelector | None = None
    """None: all namespaces."""
    object_selector: LabelSelector | None = None
    """None: all objects."""
    reinvoked: bool = False
    """reinvocationPolicy IfNeeded: asked again when a later webhook has changed the object."""
    configuration: str = ""
    """The configuration it stands in; webhooks are asked in the order of configurations' names, then as listed."""


@dataclass(frozen=True)
class AdmissionObjects:
    """All of them."""

    limit_ranges: tuple[LimitRange, ...] = ()
    quotas: tuple[ResourceQuotaObject, ...] = ()
    namespaces: tuple[NamespaceObject, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    _by_name: dict[str, NamespaceObject] = field(default_factory=dict, compare=False, repr=False)

    def with_over(self, over: AdmissionObjects) -> AdmissionObjects:
        """Those of `over` beside these."""
        return AdmissionObjects(
            (*self.limit_ranges, *over.limit_ranges),
            (*self.quotas, *over.quotas),
            (*self.namespaces, *over.namespaces),
            (*self.webhooks, *over.webhooks),
        )

    def namespace(self, name: str) -> NamespaceObject:
        """The namespace of this name; one without labels and annotations where none is given."""
        if not self._by_name and self.namespaces:
            self._by_name.update({each.name: each for each in self.namespaces})
        found = self._by_name.get(name)
        return found or NamespaceObject(name, (("kubernetes.io/metadata.name", name),))
