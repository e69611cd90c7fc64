"""Kubernetes API objects as the scheduler and the kubelet see them.

Frozen, hashable, compact: replicas share one `PodSpec`, so a million pods hold a few hundred of these.
Field names and meanings are those of the v1 API in snake case. Quantities are integers in base units:
`cpu` in millicores, `memory`, `ephemeral-storage` and `hugepages-*` in bytes, every other resource a count.
Maps are sorted tuples of pairs (hashable; `dict(...)` gives the map back). `None` means absent where the
API distinguishes absent from empty.
"""

from __future__ import annotations

from dataclasses import dataclass

Pairs = tuple[tuple[str, str], ...]
"""A map of strings, sorted by key."""
Quantities = tuple[tuple[str, int], ...]
"""A map from resource name to amount in base units, sorted by name."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One match expression: `key operator values`. Operators In, NotIn, Exists, DoesNotExist; for nodes also Gt, Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Matches labels; the empty selector matches everything, an absent one (None) nothing."""

    match_labels: Pairs = ()
    match_expressions: tuple[Requirement, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeSelectorTerm:
    """All requirements must hold; a term with none matches no node."""

    match_expressions: tuple[Requirement, ...] = ()
    match_fields: tuple[Requirement, ...] = ()


@dataclass(frozen=True, slots=True)
class PreferredNodeTerm:
    weight: int
    preference: NodeSelectorTerm


@dataclass(frozen=True, slots=True)
class PodAffinityTerm:
    topology_key: str
    label_selector: LabelSelector | None = None
    namespaces: tuple[str, ...] = ()
    namespace_selector: LabelSelector | None = None


@dataclass(frozen=True, slots=True)
class WeightedPodAffinityTerm:
    weight: int
    term: PodAffinityTerm


@dataclass(frozen=True, slots=True)
class Affinity:
    node_required: tuple[NodeSelectorTerm, ...] | None = None
    node_preferred: tuple[PreferredNodeTerm, ...] = ()
    pod_required: tuple[PodAffinityTerm, ...] = ()
    pod_preferred: tuple[WeightedPodAffinityTerm, ...] = ()
    anti_required: tuple[PodAffinityTerm, ...] = ()
    anti_preferred: tuple[WeightedPodAffinityTerm, ...] = ()


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    value: str = ""
    effect: str = "NoSchedule"


@dataclass(frozen=True, slots=True)
class Toleration:
    """An empty key with operator Exists tolerates everything; an empty effect every effect."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    toleration_s: int | None = None


@dataclass(frozen=True, slots=True)
class TopologySpreadConstraint:
    max_skew: int
    topology_key: str
    when_unsatisfiable: str
    label_selector: LabelSelector | None = None
    min_domains: int | None = None
    node_affinity_policy: str | None = None
    node_taints_policy: str | None = None
    match_label_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerPort:
    host_port: int = 0
    container_port: int = 0
    protocol: str = "TCP"
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """When a container is asked whether it works, and what is made of the answers."""

    initial_delay_s: int = 0
    period_s: int = 10
    timeout_s: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    grace_s: int | None = None
    """terminationGracePeriodSeconds of the probe: replaces the pod's when this probe has the container killed."""


Course = tuple[tuple[float, float], ...]
"""A quantity over a run of a container: (age in s, amount), linear in between, the last amount from then on."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the program in a container does, which no API object says."""

    starts_in_s: float = 0.0
    """From the start of the container until it answers its probes."""
    exits_after_s: float | None = None
    """It ends by itself after this; None: only at the end of the pod's own run time, if that has one."""
    exit_code: int = 0
    hangs_after_s: float | None = None
    """From this age on it answers no more."""
    faulty_runs: int | None = None
    """Only so many first runs exit or hang like this, later ones are sound; None: all of them are faulty."""
    stops_in_s: float | None = None
    """From SIGTERM to its end; None: as the kubelet's `kill_s` says."""
    memory_bytes: Course = ()
    disk_bytes: Course = ()


@dataclass(frozen=True, slots=True)
class Container:
    """`restart_policy == "Always"` on an init container makes it a sidecar."""

    name: str = ""
    image: str = ""
    requests: Quantities = ()
    limits: Quantities = ()
    ports: tuple[ContainerPort, ...] = ()
    restart_policy: str | None = None
    startup_probe: Probe | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    post_start_s: float | None = None
    """Run time of its postStart hook; None: it has none."""
    pre_stop_s: float | None = None
    behaviour: Behaviour | None = None
    """None: it starts at once, does not fail and uses what it requests."""
    image_pull_policy: str = ""
    """Always, IfNotPresent or Never; "": the kubelet's default."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The controlling owner reference."""

    kind: str
    name: str
    uid: str = ""


@dataclass(frozen=True, slots=True)
class PodSpec:
    """Everything about a pod that its replicas share. A pod itself is a row of a table plus this."""

    namespace: str = "default"
    labels: Pairs = ()
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    overhead: Quantities = ()
    pod_requests: Quantities = ()
    """spec.resources.requests (pod-level resources)."""
    node_selector: Pairs = ()
    node_name: str = ""
    affinity: Affinity | None = None
    tolerations: tuple[Toleration, ...] = ()
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    priority: int = 0
    preemption_policy: str | None = None
    scheduler_name: str = "default-scheduler"
    scheduling_gates: tuple[str, ...] = ()
    owner: Owner | None = None
    termination_grace_s: int = 30
    restart_policy: str = ""
    """Always, OnFailure, Never; empty: nothing is restarted that ends by itself with code 0, all else is."""
    runtime_class: str = ""


@dataclass(frozen=True, slots=True)
class NodeImage:
    names: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node as registered: its name, labels, taints and what it can give."""

    name: str
    labels: Pairs = ()
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    allocatable: Quantities = ()
    images: tuple[NodeImage, ...] = ()
    prefer_avoid_pods: tuple[Owner, ...] = ()
    """The 1.20 preferAvoidPods annotation: pod controllers to keep away."""


def pairs(mapping: dict[str, str] | None) -> Pairs:
    """A map of strings in the hashable form."""
    return tuple(sorted(mapping.items())) if mapping else ()


def quantities(mapping: dict[str, int] | None) -> Quantities:
    """A map of amounts in the hashable form."""
    return tuple(sorted(mapping.items())) if mapping else ()
