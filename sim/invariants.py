"""Conservation laws, checked at the end of every run. A broken one is a defect of the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.base.errors import InvariantError
from sim.scheduler.requests import pod_requests
from sim.state.pods import POD_TIMES, STAGES, Phase

if TYPE_CHECKING:
    from sim.simulate import Cluster

ROUNDING = 1e-6
"""Relative error that sums of floating-point times may show."""


def check_invariants(cluster: Cluster) -> None:
    """Raise `InvariantError` with every law that does not hold."""
    broken = [*_pods(cluster), *_nodes(cluster), *_meters(cluster), *_quotas(cluster), *_images(cluster)]
    if broken:
        raise InvariantError("\n".join(["the run broke its own laws (a defect of the simulator):", *broken]))


def _pods(cluster: Cluster) -> list[str]:
    """Pods in = pods finished + pods inside; no stage ends before it starts, none lies in the future."""
    broken = []
    columns = cluster.pods.columns()
    phase = columns["phase"]
    counts = np.bincount(phase, minlength=len(Phase))
    if counts.sum() != cluster.pods.rows or len(counts) != len(Phase):
        broken.append(f"pods: {cluster.pods.rows} asked for, phases hold {counts.tolist()}")
    for stage in STAGES:
        early = np.flatnonzero(columns[stage.end] < columns[stage.start])
        if early.size:
            broken.append(
                f"pods: {early.size} end the stage '{stage.name}' before it starts, the first is pod {early[0]}"
            )
    for column in POD_TIMES:
        late = np.flatnonzero(columns[column.name] > cluster.clock.now)
        if late.size:
            broken.append(f"pods: {column.name} of {late.size} pods lies after the end, the first is pod {late[0]}")
    ended = (phase == Phase.SUCCEEDED) | (phase == Phase.DELETED) | (phase == Phase.FAILED)
    if np.any(np.isnan(columns["gone_s"]) == ended):
        broken.append("pods: gone_s and the final phases disagree")
    return broken


def requested(cluster: Cluster) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What the pods on each node ask for: resource -> int64 a node; and how many pods there are, int64 a node."""
    columns = cluster.pods.columns()
    inside = (columns["phase"] >= Phase.PENDING) & (columns["phase"] <= Phase.RUNNING) & (columns["node"] >= 0)
    nodes, templates = columns["node"][inside], columns["template"][inside]
    count = len(cluster.nodes)
    needs = [pod_requests(spec) for spec in cluster.load.templates]
    totals = {}
    for resource in sorted({name for need in needs for name in need}):
        amount = np.array([need.get(resource, 0) for need in needs], np.int64)[templates]
        totals[resource] = np.zeros(count, np.int64)
        np.add.at(totals[resource], nodes, amount)
    return totals, np.bincount(nodes, minlength=count)


def _nodes(cluster: Cluster) -> list[str]:
    """No node over its allocatable."""
    totals, pods = requested(cluster)
    broken = []
    for resource, total in {**totals, "pods": pods}.items():
        allocatable = np.array([dict(node.spec.allocatable).get(resource, 0) for node in cluster.nodes], np.int64)
        over = np.flatnonzero(total > allocatable)
        if over.size:
            node = cluster.nodes[over[0]].spec.name
            broken.append(
                f"nodes: {over.size} are over their allocatable {resource}, the first is {node}: "
                f"{total[over[0]]} of {allocatable[over[0]]}"
            )
    return broken


def _meters(cluster: Cluster) -> list[str]:
    """Nothing is used beyond its capacity."""
    broken = []
    machines = [node.machine.meter for node in cluster.kubelets.nodes.values()]
    elapsed = cluster.clock.now
    for meter in [*cluster.sampler.meters, *machines]:
        used, _ = meter.read()
        most = meter.capacity * elapsed
        if used > most * (1 + ROUNDING) + ROUNDING:
            broken.append(f"{meter.name}: {used:.6g} used of {most:.6g}")
    return broken


def _quotas(cluster: Cluster) -> list[str]:
    """What a quota holds as used lies between what its live pods ask for and its limit."""
    columns = cluster.pods.columns()
    live = (columns["phase"] >= Phase.PENDING) & (columns["phase"] <= Phase.RUNNING)
    broken = []
    held = {quota: dict.fromkeys(quota.hard, 0) for quota in cluster.quotas}
    for template, count in zip(*np.unique(columns["template"][live], return_counts=True), strict=True):
        for quota, amounts in cluster.quotas.charge_of(cluster.load.templates[template]):
            for name, amount in amounts.items():
                held[quota][name] += amount * int(count)
    for quota, amounts in held.items():
        for name, hard in quota.hard.items():
            used = quota.used[name] - quota.ended[name]
            if not amounts[name] <= used <= quota.used[name] <= hard:
                broken.append(f"quota {quota.namespace}: {name} used {used}, live pods {amounts[name]}, limit {hard}")
    return broken


def _images(cluster: Cluster) -> list[str]:
    """Bytes arrive because they were sent; no image is present before its last byte is unpacked."""
    return cluster.images.broken_laws()
