"""NodeResourcesFit: does the node have room, and how full is it?

The filter compares requests with what is free. The score is one of three strategies over the configured resources,
in Go's integer arithmetic: LeastAllocated (default), MostAllocated, RequestedToCapacityRatio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from sim.kernels import kernel, rule
from sim.scheduler.framework import PLUGINS, UNRESOLVABLE, UNSCHEDULABLE, Cycle, Plugin
from sim.scheduler.pod_info import PodInfo
from sim.scheduler.requests import DEFAULTS, pod_requests
from sim.state.nodes import (
    CPU,
    MEMORY,
    NONZERO_CPU,
    NONZERO_MEMORY,
    PODS,
    STANDARD_RESOURCES,
    NodeTable,
    allocatable_row,
    requested_row,
)

LEAST_ALLOCATED, MOST_ALLOCATED, REQUESTED_TO_CAPACITY_RATIO = 0, 1, 2
STRATEGIES = {
    "LeastAllocated": LEAST_ALLOCATED,
    "MostAllocated": MOST_ALLOCATED,
    "RequestedToCapacityRatio": REQUESTED_TO_CAPACITY_RATIO,
}


@rule
def least_allocated(requested: int, capacity: int) -> int:
    """0 to 100: the free share after placement, truncated (noderesources/least_allocated.go)."""
    if capacity == 0 or requested > capacity:
        return 0
    return (capacity - requested) * 100 // capacity


@rule
def most_allocated(requested: int, capacity: int) -> int:
    """0 to 100: the used share after placement, clamped to full (noderesources/most_allocated.go)."""
    if capacity == 0:
        return 0
    return min(requested, capacity) * 100 // capacity


@rule
def broken_line(utilization: int, shape: np.ndarray) -> int:
    """The score at a utilisation on a broken line, in truncating integers (helper.BuildBrokenLinearFunction).

    shape int64[points, 2]: ascending utilisation 0..100, score 0..100."""
    for i in range(shape.shape[0]):
        if utilization <= shape[i, 0]:
            if i == 0:
                return shape[0, 1]
            rise = (shape[i, 1] - shape[i - 1, 1]) * (utilization - shape[i - 1, 0])
            run = shape[i, 0] - shape[i - 1, 0]
            # Go truncates towards zero, Python floors
            step = rise // run if rise >= 0 else -(-rise // run)
            return shape[i - 1, 1] + step
    return shape[shape.shape[0] - 1, 1]


@rule
def capacity_ratio(requested: int, capacity: int, shape: np.ndarray) -> int:
    """The broken line at the utilisation after placement (noderesources/requested_to_capacity_ratio.go)."""
    if capacity == 0 or requested > capacity:
        return broken_line(100, shape)
    return broken_line(requested * 100 // capacity, shape)


def _fit_filter_twin(
    amounts: np.ndarray, wanted: np.ndarray, rows: np.ndarray, unresolvable_known: bool
) -> np.ndarray:
    codes = np.where(
        amounts[requested_row(PODS), rows] + 1 > amounts[allocatable_row(PODS), rows], UNSCHEDULABLE, 0
    ).astype(np.int8)
    for resource, amount, strict in wanted:
        capacity = amounts[allocatable_row(resource), rows]
        short = amount > capacity - amounts[requested_row(resource), rows]
        if not strict:
            short &= amount > 0
        codes[short] = np.maximum(codes[short], UNSCHEDULABLE)
        if unresolvable_known:
            codes[short & (amount > capacity)] = UNRESOLVABLE
    return codes


@kernel(reference=_fit_filter_twin)
def fit_filter(amounts: np.ndarray, wanted: np.ndarray, rows: np.ndarray, unresolvable_known: bool) -> np.ndarray:
    """int8 codes of the resource filter.

    amounts int64[rows of NodeTable.amounts, n]; wanted int64[k, 3]: resource id, amount, and whether a zero amount is
    checked too; unresolvable_known: a request above the allocatable amount cannot be helped by preemption (1.34)."""
    out = np.zeros(rows.shape[0], np.int8)
    for i in range(rows.shape[0]):
        row = rows[i]
        code = 0
        if amounts[9, row] + 1 > amounts[8, row]:
            code = 1
        for k in range(wanted.shape[0]):
            amount = wanted[k, 1]
            if amount == 0 and wanted[k, 2] == 0:
                continue
            capacity = amounts[2 + 2 * wanted[k, 0], row]
            if amount > capacity - amounts[3 + 2 * wanted[k, 0], row]:
                code = max(code, 1)
                if unresolvable_known and amount > capacity:
                    code = 2
        out[i] = code
    return out


def _one_score(strategy: int, requested: int, capacity: int, shape: np.ndarray) -> int:
    """One resource's score, from the rules' text, with Python integers."""
    if strategy == LEAST_ALLOCATED:
        return 0 if requested > capacity else (capacity - requested) * 100 // capacity
    if strategy == MOST_ALLOCATED:
        return min(requested, capacity) * 100 // capacity
    utilization = 100 if requested > capacity else requested * 100 // capacity
    if utilization <= shape[0][0]:
        return int(shape[0][1])
    for (low, low_score), (high, high_score) in pairwise(shape):
        if utilization <= high:
            return int(low_score) + int((int(high_score) - int(low_score)) * (utilization - int(low)) / (high - low))
    return int(shape[-1][1])


def _allocation_score_twin(
    amounts: np.ndarray, scored: np.ndarray, strategy: int, shape: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    out = np.zeros(len(rows), np.int64)
    for position, row in enumerate(rows):
        points, weights = 0, 0
        for capacity_at, requested_at, amount, weight in scored.tolist():
            capacity = int(amounts[capacity_at, row])
            if capacity == 0:
                continue
            score = _one_score(strategy, int(amounts[requested_at, row]) + amount, capacity, shape)
            if strategy != REQUESTED_TO_CAPACITY_RATIO or score > 0:
                points += score * weight
                weights += weight
        if weights == 0:
            continue
        if strategy == REQUESTED_TO_CAPACITY_RATIO:
            out[position] = int(points / weights + 0.5)
        else:
            out[position] = points // weights
    return out


@kernel(reference=_allocation_score_twin)
def allocation_score(
    amounts: np.ndarray, scored: np.ndarray, strategy: int, shape: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """int64 scores 0..100 of a scoring strategy.

    scored int64[k, 4]: row of the allocatable amount, row of the requested one, the pod's amount, weight; a resource
    that a node lacks stays out of the mean. shape int64[points, 2] for RequestedToCapacityRatio."""
    out = np.zeros(rows.shape[0], np.int64)
    for i in range(rows.shape[0]):
        row = rows[i]
        points = np.int64(0)
        weights = np.int64(0)
        for k in range(scored.shape[0]):
            capacity = amounts[scored[k, 0], row]
            if capacity == 0:
                continue
            requested = amounts[scored[k, 1], row] + scored[k, 2]
            if strategy == 0:
                score = least_allocated(requested, capacity)
            elif strategy == 1:
                score = most_allocated(requested, capacity)
            else:
                score = capacity_ratio(requested, capacity, shape)
                if score <= 0:
                    continue
            points += score * scored[k, 3]
            weights += scored[k, 3]
        if weights != 0:
            if strategy == 2:
                out[i] = np.int64(np.floor(points / weights + 0.5))
            else:
                out[i] = points // weights
    return out


def _legacy_allocation_score_twin(
    amounts: np.ndarray, scored: np.ndarray, strategy: int, shape: np.ndarray, top: int, rows: np.ndarray
) -> np.ndarray:
    out = np.zeros(len(rows), np.int64)
    for position, row in enumerate(rows):
        points, weights = 0, 0
        for capacity_at, requested_at, amount, weight in scored.tolist():
            capacity = int(amounts[capacity_at, row])
            requested = int(amounts[requested_at, row]) + amount
            over = capacity == 0 or requested > capacity
            if strategy == REQUESTED_TO_CAPACITY_RATIO:
                used = 100 if over else 100 - (capacity - requested) * 100 // capacity
                score = _one_score(strategy, used, 100, shape)
                weights += weight if score > 0 else 0
            else:
                part = capacity - requested if strategy == LEAST_ALLOCATED else requested
                score = 0 if over else part * top // capacity
                weights += weight
            points += max(score, 0) * weight
        if weights:
            ratio = strategy == REQUESTED_TO_CAPACITY_RATIO
            out[position] = int(points / weights + 0.5) if ratio else points // weights
    return out


@kernel(reference=_legacy_allocation_score_twin)
def legacy_allocation_score(
    amounts: np.ndarray, scored: np.ndarray, strategy: int, shape: np.ndarray, top: int, rows: np.ndarray
) -> np.ndarray:
    """int64 scores 0..top as 1.20 and earlier count them: a resource that a node lacks scores 0 but stays in the mean,
    a full one scores 0 under MostAllocated, and utilisation is rounded up (noderesources/*_allocated.go of 1.20)."""
    out = np.zeros(rows.shape[0], np.int64)
    for i in range(rows.shape[0]):
        row = rows[i]
        points = np.int64(0)
        weights = np.int64(0)
        for k in range(scored.shape[0]):
            capacity = amounts[scored[k, 0], row]
            requested = amounts[scored[k, 1], row] + scored[k, 2]
            over = capacity == 0 or requested > capacity
            score = np.int64(0)
            if strategy == 2:
                used = np.int64(100)
                if not over:
                    used = 100 - (capacity - requested) * 100 // capacity
                score = broken_line(used, shape)
                if score <= 0:
                    continue
            elif not over:
                part = capacity - requested if strategy == 0 else requested
                score = part * top // capacity
            points += score * scored[k, 3]
            weights += scored[k, 3]
        if weights != 0:
            if strategy == 2:
                out[i] = np.int64(np.floor(points / weights + 0.5))
            else:
                out[i] = points // weights
    return out


def is_scalar(resource: str) -> bool:
    """Extended resources, hugepages and attachable volumes: everything beside CPU, memory, storage and pods."""
    return resource not in STANDARD_RESOURCES


def scored_resources(
    nodes: NodeTable,
    resources: Sequence[tuple[str, int]],
    amounts: Mapping[str, int],
    *,
    nonzero: bool,
    keep_unasked: bool = False,
) -> np.ndarray:
    """The `scored` table of `allocation_score` for a pod that asks for `amounts`.

    nonzero: CPU and memory of placed pods count with defaults filled in. A scalar resource that the pod does not ask
    for is left out, unless keep_unasked (1.20)."""
    table: list[tuple[int, int, int, int]] = []
    for name, weight in resources:
        amount = amounts.get(name, 0)
        if is_scalar(name) and amount == 0 and not keep_unasked:
            continue
        resource = nodes.resource(name)
        held = requested_row(resource)
        if nonzero and resource == CPU:
            held = NONZERO_CPU
        elif nonzero and resource == MEMORY:
            held = NONZERO_MEMORY
        table.append((allocatable_row(resource), held, amount, weight))
    return np.array(table, np.int64).reshape(-1, 4)


def resource_weights(specs: Sequence[Mapping[str, Any]] | None) -> list[tuple[str, int]]:
    """v1 ResourceSpec list to (name, weight); absent or zero weights are 1, absent lists CPU and memory."""
    if not specs:
        return [("cpu", 1), ("memory", 1)]
    return [(str(each["name"]), int(each.get("weight") or 1)) for each in specs]


@dataclass(frozen=True)
class ScoringStrategy:
    """NodeResourcesFitArgs.scoringStrategy with its defaults."""

    kind: int
    resources: tuple[tuple[str, int], ...]
    shape: np.ndarray

    @classmethod
    def read(cls, args: Mapping[str, Any]) -> ScoringStrategy:
        given = args.get("scoringStrategy") or {}
        kind = STRATEGIES[given.get("type") or "LeastAllocated"]
        points = (given.get("requestedToCapacityRatio") or {}).get("shape") or []
        shape = [(int(each.get("utilization", 0)), int(each.get("score", 0)) * 10) for each in points]
        return cls(
            kind,
            tuple(resource_weights(given.get("resources"))),
            np.array(shape or [(0, 0), (100, 100)], np.int64),
        )


def wanted_resources(nodes: NodeTable, pod: PodInfo, ignored: frozenset[str], groups: frozenset[str]) -> np.ndarray:
    """The `wanted` table of `fit_filter`: what the pod asks for, ignored extended resources left out."""
    requests = pod.requests
    named = [requests.get(name, 0) for name in ("cpu", "memory", "ephemeral-storage")]
    scalars = {name: amount for name, amount in requests.items() if is_scalar(name)}
    if not any(named) and not scalars:
        return np.zeros((0, 3), np.int64)
    # 1.20 checks CPU, memory and storage even where the pod asks for none of the one in question
    strict = int(pod.legacy)
    table = [(resource, amount, strict) for resource, amount in enumerate(named)]
    for name in sorted(scalars):
        extended = not name.startswith(("hugepages-", "attachable-volumes-"))
        if extended and (name in ignored or name.split("/", 1)[0] in groups):
            continue
        table.append((nodes.resource(name), scalars[name], strict))
    return np.array(table, np.int64).reshape(-1, 3)


@PLUGINS.register("NodeResourcesFit")
class NodeResourcesFit(Plugin):
    """The resource filter and the allocation score (noderesources/fit.go, resource_allocation.go)."""

    def __init__(self, args: Mapping[str, Any] | None = None, arithmetic: str = "1.34") -> None:
        super().__init__(args, arithmetic)
        self.ignored = frozenset(self.args.get("ignoredResources") or ())
        self.ignored_groups = frozenset(self.args.get("ignoredResourceGroups") or ())
        self.strategy = ScoringStrategy.read(self.args)

    def wanted(self, cycle: Cycle) -> np.ndarray:
        """The `wanted` table of `fit_filter` for the cycle's pod."""
        if self.name not in cycle.scratch:
            cycle.scratch[self.name] = wanted_resources(cycle.nodes, cycle.pod, self.ignored, self.ignored_groups)
        return cycle.scratch[self.name]

    def filter(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        return fit_filter(cycle.nodes.amounts, self.wanted(cycle), rows, self.arithmetic == "1.34")

    def reasons(self, cycle: Cycle, row: int) -> list[str]:
        nodes = cycle.nodes
        found = []
        if nodes.requested(PODS)[row] + 1 > nodes.allocatable(PODS)[row]:
            found.append("Too many pods")
        names = {resource: name for name, resource in nodes.resources.items()}
        for resource, amount, strict in self.wanted(cycle).tolist():
            free = nodes.allocatable(resource)[row] - nodes.requested(resource)[row]
            if amount > free and (amount > 0 or strict):
                found.append(f"Insufficient {names[resource]}")
        return found

    def count_reasons(self, cycle: Cycle, rows: np.ndarray) -> dict[str, int]:
        nodes = cycle.nodes
        names = {resource: name for name, resource in nodes.resources.items()}
        short = {"Too many pods": nodes.requested(PODS)[rows] + 1 > nodes.allocatable(PODS)[rows]}
        for resource, amount, strict in self.wanted(cycle).tolist():
            if amount > 0 or strict:
                short[f"Insufficient {names[resource]}"] = amount > nodes.allocatable(resource)[rows] - nodes.requested(resource)[rows]
        counts = {reason: int(np.count_nonzero(where)) for reason, where in short.items()}
        return {reason: count for reason, count in counts.items() if count}

    def scored_table(self, nodes: NodeTable, pod: PodInfo) -> np.ndarray:
        """The `scored` table for a pod: containers' requests with defaults; the pod level does not enter (1.34)."""
        asked = pod_requests(pod.spec, defaults=DEFAULTS, pod_level=False)
        return scored_resources(nodes, self.strategy.resources, asked, nonzero=True)

    def score(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        scored = self.scored_table(cycle.nodes, cycle.pod)
        return allocation_score(cycle.nodes.amounts, scored, self.strategy.kind, self.strategy.shape, rows)


