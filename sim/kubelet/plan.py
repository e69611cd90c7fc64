"""What a kubelet must know of a pod, worked out once for all pods of one spec."""

from __future__ import annotations

from dataclasses import dataclass

from sim.kubelet.runtimes import RuntimeSpec
from sim.scheduler.requests import pod_requests
from sim.state.objects import Container, PodSpec

ALWAYS, ON_FAILURE, NEVER = "Always", "OnFailure", "Never"
SYSTEM_CRITICAL = 2_000_000_000
"""Pods of this priority and above are never evicted by their node (Kubernetes 1.20 source, SystemCriticalPriority)."""


@dataclass(frozen=True, slots=True)
class PodPlan:
    """One pod spec as the kubelet sees it."""

    spec: PodSpec
    images: tuple[str, ...]
    """Images of all its containers that must be on the node, in their order; empty where the scenario lists none."""
    pull_policies: tuple[tuple[str, str], ...]
    """(image, its container's pull policy), of those that say one; of several containers with one image the last counts."""
    container_count: int
    restart_policy: str
    """Always, OnFailure or Never."""
    runtime: RuntimeSpec | None
    """Of its RuntimeClass; None: the node's own."""
    needs: tuple[tuple[str, int], ...]
    """What it asks for: resource, amount in base units."""
    host_ports: frozenset[tuple[int, str, str]]
    plain: bool
    """Nothing ever happens to its containers but that they start, all end well or are stopped: no state of it need be kept."""
    critical: bool

    @property
    def best_effort(self) -> bool:
        """No container asks for CPU or memory: the first to be refused and evicted under memory pressure."""
        return not any(name in ("cpu", "memory") for name, _ in self.needs)


def plan_of(spec: PodSpec, kept_running: bool, with_images: bool, runtime: RuntimeSpec | None) -> PodPlan:
    """The plan of a pod spec.

    kept_running: its pods belong to a controller that wants them to run for ever, so they restart where their spec says nothing.
    with_images: the scenario lists images. runtime: of the spec's RuntimeClass.
    """
    containers = (*spec.init_containers, *spec.containers)
    policy = spec.restart_policy or (ALWAYS if kept_running else ON_FAILURE)
    ports = frozenset(
        (port.host_port, port.protocol, port.host_ip)
        for each in spec.containers
        for port in each.ports
        if port.host_port
    )
    return PodPlan(
        spec=spec,
        images=tuple(each.image for each in containers if each.image) if with_images else (),
        pull_policies=tuple((each.image, each.image_pull_policy) for each in containers if each.image_pull_policy),
        container_count=len(containers),
        restart_policy=policy,
        runtime=runtime,
        needs=tuple((name, amount) for name, amount in pod_requests(spec).items() if amount),
        host_ports=ports,
        plain=not spec.init_containers and all(_is_plain(each) for each in spec.containers),
        critical=spec.priority >= SYSTEM_CRITICAL,
    )


def _is_plain(container: Container) -> bool:
    return (
        container.startup_probe is None
        and container.readiness_probe is None
        and container.liveness_probe is None
        and container.post_start_s is None
        and container.pre_stop_s is None
        and container.behaviour is None
    )
