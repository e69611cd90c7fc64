"""Eviction: a node short of memory or disk puts pods out, one at a look, before the kernel does.

A node is looked at only while something on it can change what is free: idle nodes and nodes of plain pods cost nothing.
Source: Kubernetes 1.20 source, pkg/kubelet/eviction.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from sim.base.spec import Spec, param
from sim.engine.clock import Clock
from sim.images.service import ImageService

if TYPE_CHECKING:
    from sim.kubelet.node import Node
    from sim.kubelet.pod_life import PodLife
    from sim.kubelet.pod_workers import PodWorkers

K20 = "Kubernetes 1.20 source, kubelet defaults and eviction manager"
EVICTED = "Evicted"
CLEAN_UP_POLL_S = 1.0
"""How often the manager looks whether an evicted pod is gone (Kubernetes 1.20 source, podCleanupPollFreq)."""
MEMORY_PRESSURE, DISK_PRESSURE = "MemoryPressure", "DiskPressure"


class EvictionSpec(Spec):
    """Thresholds of what must be free on a node, and how the kubelet enforces them."""

    memory_hard_bytes: int = param(
        100 * 2**20, "free memory below which a pod is evicted at once", source=K20, ge=0, le=2**50
    )
    memory_soft_bytes: int | None = param(
        None,
        "free memory below which a pod is evicted after `memory_soft_grace_s`; null: no soft threshold",
        source=K20,
        ge=0,
        le=2**50,
    )
    memory_soft_grace_s: float = param(90.0, "how long memory must be below its soft threshold first", ge=0, le=86400)
    disk_hard_share: float = param(
        0.10,
        "free share of the node's disk below which images are collected, then a pod is evicted",
        source=K20,
        ge=0,
        le=1,
    )
    disk_soft_share: float | None = param(
        None, "the same, evicting after `disk_soft_grace_s`; null: none", source=K20, ge=0, le=1
    )
    disk_soft_grace_s: float = param(120.0, "how long disk must be below its soft threshold first", ge=0, le=86400)
    max_pod_grace_s: int = param(
        0, "longest grace period of a pod evicted by a soft threshold", source=K20, ge=0, le=86400
    )
    period_s: float = param(10.0, "between two looks; the phase differs from node to node", source=K20, gt=0, le=3600)
    transition_s: float = param(
        300.0, "a node condition is kept this long after it was last met", source=K20, ge=0, le=86400
    )
    clean_up_s: float = param(
        30.0, "longest wait for an evicted pod to be gone before the next look", source=K20, ge=0, le=3600
    )
    plain_use_share: float = param(
        0.5,
        "of what they request, memory that pods use whose use no workload tells",
        source="Google's 2019 traces: about half of what is asked for is used; remembered",
        unverified=True,
        ge=0,
        le=1,
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pod as the ranking sees it; use and request of the resource that is short."""

    pod: int
    use: float
    request: float
    priority: int
    critical: bool = False


def ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """In the order of eviction: those above their request first, then by priority, then by how far they are above it.

    Critical pods are never evicted.
    """
    return sorted(
        (each for each in candidates if not each.critical),
        key=lambda each: (each.use <= each.request, each.priority, -(each.use - each.request)),
    )


@dataclass(slots=True)
class _Watched:
    """What the kubelet remembers of one node between looks."""

    below_since_s: dict[str, float]
    """Soft threshold -> since when it has been passed without a break."""
    last_met_s: dict[str, float]
    """Condition -> when it was last met."""


class EvictionManager:
    """The eviction managers of all nodes that need one."""

    def __init__(self, clock: Clock, spec: EvictionSpec, images: ImageService, workers: PodWorkers) -> None:
        self._clock = clock
        self._spec = spec
        self._images = images
        self._workers = workers
        self._watched: dict[int, _Watched] = {}
        self.evictions = 0
        self.on_condition: list[Any] = []
        """Called with (node index, condition, whether it holds) when a node's condition changes."""

    def watch(self, node: Node) -> None:
        """Something on the node may run short from now on."""
        if node.index not in self._watched and node.allocatable:
            self._watched[node.index] = _Watched({}, {})
            self._clock.start(self._look(node, self._watched[node.index]))

    def free_memory_bytes(self, node: Node) -> float:
        """Memory that is free: allocatable is what the node has less what the system and the hard threshold reserve."""
        now = self._clock.now
        lives = node.lives.values()
        told = sum(life.memory_bytes(now) for life in lives)
        asked = sum(dict(life.plan.needs).get("memory", 0) for life in lives)
        plain = (node.admitted["memory"] - asked) * self._spec.plain_use_share
        total = node.allocatable["memory"] + self._spec.memory_hard_bytes
        return total - told - plain - node.runtime_memory_bytes()

    def free_disk_share(self, node: Node) -> float:
        """Share of the node's disk that is free: images, other things and what pods wrote are on it."""
        now = self._clock.now
        written = sum(life.disk_bytes(now) for life in node.lives.values())
        return 1 - self._images.store(node).disk_share() - written / self._workers.spec.images.disk_bytes

    def _look(self, node: Node, watched: _Watched) -> Generator[Event, Any, None]:
        spec = self._spec
        yield node.next_tick(node.status_phase_s % spec.period_s, spec.period_s)
        while True:
            chosen = self._synchronize(node, watched)
            if chosen is not None:
                life, grace_s = chosen
                self.evictions += 1
                life.take_down(EVICTED, grace_s)
                waited_s = 0.0
                while life.pod in node.lives and waited_s < spec.clean_up_s:
                    yield self._clock.timeout(CLEAN_UP_POLL_S)
                    waited_s += CLEAN_UP_POLL_S
            elif not node.lives and not node.conditions and self.free_memory_bytes(node) > node.memory_bytes / 10:
                del self._watched[node.index]
                return
            yield self._clock.timeout(spec.period_s)

    def _synchronize(self, node: Node, watched: _Watched) -> tuple[PodLife, float] | None:
        """One look: node conditions, then the pod to evict and its grace period."""
        spec = self._spec
        memory = self._level(
            watched,
            MEMORY_PRESSURE,
            self.free_memory_bytes(node),
            spec.memory_hard_bytes,
            spec.memory_soft_bytes,
            spec.memory_soft_grace_s,
        )
        disk = self._level(
            watched,
            DISK_PRESSURE,
            self.free_disk_share(node),
            spec.disk_hard_share,
            spec.disk_soft_share,
            spec.disk_soft_grace_s,
        )
        for condition in (MEMORY_PRESSURE, DISK_PRESSURE):
            holds = self._clock.now - watched.last_met_s.get(condition, -inf) <= spec.transition_s
            if holds != (condition in node.conditions):
                (node.conditions.add if holds else node.conditions.discard)(condition)
                for tell in self.on_condition:
                    tell(node.index, condition, holds)
        if disk == "hard" and self.free_disk_share(node) < spec.disk_hard_share:
            self._images.collect_garbage(node)
            if self.free_disk_share(node) >= spec.disk_hard_share:
                disk = ""
        for level, resource in ((memory, "memory"), (disk, "ephemeral-storage")):
            if level and (order := ranked(self._candidates(node.lives.values(), resource))):
                return node.lives[order[0].pod], 0.0 if level == "hard" else float(spec.max_pod_grace_s)
        return None

    def _level(
        self, watched: _Watched, condition: str, free: float, hard: float, soft: float | None, soft_grace_s: float
    ) -> str:
        """Which threshold asks for an eviction now: hard, soft or none; notes what the condition's damping needs."""
        now = self._clock.now
        if free < hard or (soft is not None and free < soft):
            watched.last_met_s[condition] = now
        if soft is not None and free < soft:
            since_s = watched.below_since_s.setdefault(condition, now)
        else:
            watched.below_since_s.pop(condition, None)
            since_s = inf
        if free < hard:
            return "hard"
        return "soft" if now - since_s >= soft_grace_s else ""

    def _candidates(self, lives: Iterable[PodLife], resource: str) -> Sequence[Candidate]:
        now = self._clock.now
        return [
            Candidate(
                life.pod,
                life.memory_bytes(now) if resource == "memory" else life.disk_bytes(now),
                dict(life.plan.needs).get(resource, 0),
                life.plan.spec.priority,
                life.plan.critical,
            )
            for life in lives
            if not life.ordered
        ]
