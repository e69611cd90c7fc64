"""A pod spec made ready for the rules: requests summed, selectors parsed, affinity terms resolved."""

from __future__ import annotations

from dataclasses import dataclass

from sim.scheduler.requests import DEFAULTS, pod_requests
from sim.state.objects import ContainerPort, PodAffinityTerm, PodSpec, WeightedPodAffinityTerm
from sim.state.selectors import NOTHING, Selector, selector_of


@dataclass(frozen=True)
class Term:
    """A pod affinity term with its owner's namespace filled in."""

    key: str
    """Topology key."""
    selector: Selector
    namespaces: frozenset[str]
    namespace_selector: Selector


@dataclass(frozen=True)
class WeightedTerm:
    term: Term
    weight: int


@dataclass(frozen=True)
class HostPort:
    """A port on the node's address; `address` 0.0.0.0 is any."""

    address: str
    protocol: str
    port: int

    def conflicts(self, other: HostPort) -> bool:
        if self.port != other.port or self.protocol != other.protocol:
            return False
        return self.address == other.address or "0.0.0.0" in (self.address, other.address)


def _term(term: PodAffinityTerm, namespace: str) -> Term:
    own = not term.namespaces and term.namespace_selector is None
    return Term(
        term.topology_key,
        selector_of(term.label_selector),
        frozenset([namespace]) if own else frozenset(term.namespaces),
        NOTHING if term.namespace_selector is None else selector_of(term.namespace_selector),
    )


def _weighted(terms: tuple[WeightedPodAffinityTerm, ...], namespace: str) -> tuple[WeightedTerm, ...]:
    return tuple(WeightedTerm(_term(each.term, namespace), each.weight) for each in terms)


def _host_port(port: ContainerPort) -> HostPort:
    return HostPort(port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port)


class PodInfo:
    """One interned spec. `legacy` reads it as 1.20 and earlier did (no sidecars, no pod-level requests)."""

    def __init__(self, spec: PodSpec, index: int, group: int, legacy: bool) -> None:
        self.spec = spec
        self.index = index
        """The spec id."""
        self.group = group
        """Id of (namespace, labels): what selectors can tell apart."""
        self.legacy = legacy
        self.namespace = spec.namespace
        self.labels = dict(spec.labels)
        self.requests = pod_requests(spec, pod_level=not legacy, sidecars=not legacy)
        """What the filter checks and what a placed pod takes."""
        counted = pod_requests(spec, defaults=DEFAULTS, pod_level=not legacy, sidecars=not legacy)
        self.nonzero_cpu = counted.get("cpu", 0)
        self.nonzero_memory = counted.get("memory", 0)
        affinity = spec.affinity
        self.required_affinity = tuple(_term(each, self.namespace) for each in affinity.pod_required) if affinity else ()
        self.required_anti = tuple(_term(each, self.namespace) for each in affinity.anti_required) if affinity else ()
        self.preferred_affinity = _weighted(affinity.pod_preferred, self.namespace) if affinity else ()
        self.preferred_anti = _weighted(affinity.anti_preferred, self.namespace) if affinity else ()
        sidecars = () if legacy else tuple(each for each in spec.init_containers if each.restart_policy == "Always")
        self.host_ports = tuple(
            dict.fromkeys(
                _host_port(port)
                for container in (*sidecars, *spec.containers)
                for port in container.ports
                if port.host_port > 0
            )
        )

    @property
    def has_terms(self) -> bool:
        """Does a placed pod of this spec bear on the affinity scores of others?"""
        return bool(self.required_affinity or self.preferred_affinity or self.preferred_anti)
