"""Trying a change without making it: pods put on a node, or taken off, for the eyes of one cycle's filters."""

from __future__ import annotations

import numpy as np

from sim.scheduler.framework import SUCCESS, Cycle, Filtered, Framework
from sim.scheduler.pod_info import PodInfo
from sim.state.nodes import NONZERO_CPU, NONZERO_MEMORY, PODS, NodeTable, requested_row


def takes_of(info: PodInfo, nodes: NodeTable) -> np.ndarray:
    """int64[2, k]: rows of `NodeTable.amounts` and what one pod of a spec adds to them."""
    entries = [(NONZERO_CPU, info.nonzero_cpu), (NONZERO_MEMORY, info.nonzero_memory), (requested_row(PODS), 1)]
    for name, amount in sorted(info.requests.items()):
        if amount and name != "pods":
            entries.append((requested_row(nodes.resource(name)), amount))
    return np.ascontiguousarray(np.array(entries, np.int64).T)


class DryRun:
    """Changes to one node within one cycle. Each change must be undone by its opposite before the cycle goes on.

    skipped: plugins whose Filter has nothing to say. passed: filters with a smaller index have passed on the node; those
    of them that only look at the node itself are not asked again."""

    def __init__(self, framework: Framework, cycle: Cycle, skipped: set[str], passed: int = 0) -> None:
        self._cycle = cycle
        self._active = [
            (index, plugin)
            for index, plugin in enumerate(framework.filters)
            if plugin.name not in skipped and not (index < passed and plugin.node_only)
        ]

    def add(self, info: PodInfo, row: int, terminating: bool) -> None:
        """Put a pod on a node."""
        rows, amounts = takes_of(info, self._cycle.nodes)
        self._cycle.nodes.amounts[rows, row] += amounts
        for _, plugin in self._active:
            plugin.pod_added(self._cycle, info, row, terminating)

    def remove(self, info: PodInfo, row: int, terminating: bool) -> None:
        """Take a pod from a node."""
        for _, plugin in self._active:
            plugin.pod_removed(self._cycle, info, row, terminating)
        rows, amounts = takes_of(info, self._cycle.nodes)
        self._cycle.nodes.amounts[rows, row] -= amounts

    def filter(self, row: int, nominated: list[PodInfo]) -> tuple[int, int, list[str]]:
        """All filters on one node, with the nominated pods there and then without: (code, filter index, reasons)."""
        if nominated:
            for info in nominated:
                self.add(info, row, False)
            verdict = self._once(row)
            for info in reversed(nominated):
                self.remove(info, row, False)
            if verdict[0] != SUCCESS:
                return verdict
        return self._once(row)

    def _once(self, row: int) -> tuple[int, int, list[str]]:
        rows = np.array([row], np.int64)
        for index, plugin in self._active:
            code = int(plugin.filter(self._cycle, rows)[0])
            if code != SUCCESS:
                return code, index, plugin.reasons(self._cycle, row)
        return SUCCESS, -1, []


def with_nominated(
    framework: Framework, cycle: Cycle, filtered: Filtered, nominated: dict[int, list[PodInfo]], skipped: set[str]
) -> None:
    """Judge the nodes where pods of equal or higher priority are nominated again, those pods put there."""
    dry_run = DryRun(framework, cycle, skipped)
    for row, infos in nominated.items():
        if filtered.status[row] != SUCCESS and cycle.allowed is not None and not cycle.allowed[row]:
            continue
        if filtered.status[row] >= 0:
            filtered.status[row], filtered.rejected_by[row], reasons = dry_run.filter(row, infos)
            if reasons:
                filtered.reasons[row] = reasons
