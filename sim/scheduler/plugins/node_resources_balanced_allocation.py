"""NodeResourcesBalancedAllocation: prefer nodes whose resources fill evenly."""

# In compiled code int is int64 and float float64; mypy sees numpy scalars.
# mypy: disable-error-code="return-value, assignment, arg-type"

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sim.kernels import kernel, rule
from sim.scheduler.framework import PLUGINS, SKIP, Cycle, Plugin, Status
from sim.scheduler.plugins.node_resources_fit import resource_weights, scored_resources
from sim.scheduler.pod_info import PodInfo
from sim.scheduler.requests import scored_requests_1_20
from sim.state.nodes import CPU, MEMORY, NONZERO_CPU, NONZERO_MEMORY, NodeTable, allocatable_row


@rule
def used_fraction(requested: int, capacity: int) -> float:
    """The used share after placement, at most 1."""
    return min(requested / capacity, 1.0)


@rule
def pair_balance(first: float, second: float) -> int:
    """0 to 100 for two fractions: 1 minus their standard deviation, truncated."""
    return np.int64((1.0 - abs((first - second) / 2.0)) * 100.0)


def _balanced_score_twin(amounts: np.ndarray, scored: np.ndarray, rows: np.ndarray) -> np.ndarray:
    out = np.zeros(len(rows), np.int64)
    for position, row in enumerate(rows):
        fractions = []
        for capacity_at, requested_at, amount, _ in scored.tolist():
            capacity = int(amounts[capacity_at, row])
            if capacity:
                fractions.append(min(float(int(amounts[requested_at, row]) + amount) / float(capacity), 1.0))
        deviation = 0.0
        if len(fractions) == 2:
            deviation = abs((fractions[0] - fractions[1]) / 2)
        elif len(fractions) > 2:
            total, squares = 0.0, 0.0
            for each in fractions:
                total += each
            mean = total / len(fractions)
            for each in fractions:
                squares += (each - mean) * (each - mean)
            deviation = math.sqrt(squares / len(fractions))
        out[position] = int((1.0 - deviation) * 100.0)
    return out


@kernel(reference=_balanced_score_twin)
def balanced_score(amounts: np.ndarray, scored: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """int64 scores 0..100: 1 minus the population standard deviation of the used fractions.

    scored int64[k, 4] as for `allocation_score` (weights unused); resources that a node lacks are left out."""
    out = np.zeros(rows.shape[0], np.int64)
    fractions = np.empty(scored.shape[0], np.float64)
    for i in range(rows.shape[0]):
        row = rows[i]
        count = 0
        total = 0.0
        for k in range(scored.shape[0]):
            capacity = amounts[scored[k, 0], row]
            if capacity == 0:
                continue
            fraction = used_fraction(amounts[scored[k, 1], row] + scored[k, 2], capacity)
            fractions[count] = fraction
            total += fraction
            count += 1
        if count == 2:
            out[i] = pair_balance(fractions[0], fractions[1])
            continue
        deviation = 0.0
        if count > 2:
            mean = total / count
            squares = 0.0
            for k in range(count):
                squares += (fractions[k] - mean) * (fractions[k] - mean)
            deviation = math.sqrt(squares / count)
        out[i] = np.int64((1.0 - deviation) * 100.0)
    return out


def _balance_1_20_twin(amounts: np.ndarray, cpu: int, memory: int, rows: np.ndarray, top: int) -> np.ndarray:
    out = np.zeros(len(rows), np.int64)
    for position, row in enumerate(rows):
        fractions = []
        for resource, held, amount in ((CPU, NONZERO_CPU, cpu), (MEMORY, NONZERO_MEMORY, memory)):
            capacity = int(amounts[allocatable_row(resource), row])
            fractions.append((int(amounts[held, row]) + amount) / capacity if capacity else 1.0)
        if max(fractions) < 1:
            out[position] = int((1 - abs(fractions[0] - fractions[1])) * float(top))
    return out


@kernel(reference=_balance_1_20_twin)
def balance_1_20(amounts: np.ndarray, cpu: int, memory: int, rows: np.ndarray, top: int) -> np.ndarray:
    """int64 scores 0..top: 1 minus the difference of CPU and memory fractions, defaults filled in; 0 when either is
    full (Kubernetes 1.20 and 1.12, balanced_allocation.go and balanced_resource_allocation.go)."""
    out = np.zeros(rows.shape[0], np.int64)
    for i in range(rows.shape[0]):
        row = rows[i]
        first = 1.0
        second = 1.0
        if amounts[2, row] != 0:
            first = (amounts[0, row] + cpu) / amounts[2, row]
        if amounts[4, row] != 0:
            second = (amounts[1, row] + memory) / amounts[4, row]
        if first < 1.0 and second < 1.0:
            out[i] = np.int64((1.0 - abs(first - second)) * np.float64(top))
    return out


@PLUGINS.register("NodeResourcesBalancedAllocation")
class NodeResourcesBalancedAllocation(Plugin):
    """Balance of the used fractions (noderesources/balanced_allocation.go). Argument: resources."""

    def __init__(self, args: Mapping[str, Any] | None = None, arithmetic: str = "1.34") -> None:
        super().__init__(args, arithmetic)
        self.resources = resource_weights(self.args.get("resources"))

    def scored_table(self, nodes: NodeTable, pod: PodInfo) -> np.ndarray:
        """The `scored` table for a pod: real requests, no defaults (1.34)."""
        return scored_resources(nodes, self.resources, pod.requests, nonzero=False)

    def best_effort(self, pod: PodInfo) -> bool:
        """Does the pod ask for none of the resources in question?"""
        return not any(pod.requests.get(name, 0) for name, _ in self.resources)

    def pre_score(self, cycle: Cycle, rows: np.ndarray) -> Status | None:
        if self.arithmetic == "1.34" and self.best_effort(cycle.pod):
            return Status(SKIP)
        return None

    def score(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        if self.arithmetic == "1.34":
            return balanced_score(cycle.nodes.amounts, self.scored_table(cycle.nodes, cycle.pod), rows)
        asked = scored_requests_1_20(cycle.pod.spec)
        return balance_1_20(cycle.nodes.amounts, asked.get("cpu", 0), asked.get("memory", 0), rows, self.top)
