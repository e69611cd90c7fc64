"""NodePorts: host ports the pod wants must be free on the node."""

from __future__ import annotations

import numpy as np

from sim.kernels import kernel
from sim.scheduler.framework import PLUGINS, SKIP, UNSCHEDULABLE, Cycle, Plugin, Status
from sim.scheduler.pod_info import HostPort, PodInfo
from sim.scheduler.tallies import ConflictingPorts


def _occupied_twin(counts: np.ndarray, rows: np.ndarray, code: int) -> np.ndarray:
    return np.where(counts[rows] > 0, code, 0).astype(np.int8)


@kernel(reference=_occupied_twin)
def occupied(counts: np.ndarray, rows: np.ndarray, code: int) -> np.ndarray:
    """int8 codes: `code` where pods in the way are counted. counts int32[n], rows int64[k]."""
    out = np.zeros(rows.shape[0], np.int8)
    for i in range(rows.shape[0]):
        if counts[rows[i]] > 0:
            out[i] = code
    return out


@PLUGINS.register("NodePorts")
class NodePorts(Plugin):
    """Host ports (nodeports/node_ports.go)."""

    def pre_filter(self, cycle: Cycle) -> Status | None:
        if not cycle.pod.host_ports:
            return Status(SKIP)
        cycle.scratch[self.name] = {}
        return None

    def filter(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        if not cycle.pod.host_ports:
            return np.zeros(len(rows), np.int8)
        codes = occupied(cycle.counts(ConflictingPorts(cycle.pod.host_ports)), rows, UNSCHEDULABLE)
        for position, row in enumerate(rows):
            held = cycle.scratch[self.name].get(int(row))
            if held is not None:
                conflict = any(mine.conflicts(theirs) for mine in cycle.pod.host_ports for theirs in held)
                codes[position] = UNSCHEDULABLE if conflict else 0
        return codes

    def reasons(self, cycle: Cycle, row: int) -> list[str]:
        return ["node(s) didn't have free ports for the requested pod ports"]

    # A dry run keeps the node's ports as a set, as the real NodeInfo does: taking one of two pods that hold the
    # same port frees the port.

    def pod_added(self, cycle: Cycle, pod: PodInfo, row: int, terminating: bool) -> None:
        if pod.host_ports and self.name in cycle.scratch:
            self._held(cycle, row).update(pod.host_ports)

    def pod_removed(self, cycle: Cycle, pod: PodInfo, row: int, terminating: bool) -> None:
        if pod.host_ports and self.name in cycle.scratch:
            self._held(cycle, row).difference_update(pod.host_ports)

    def _held(self, cycle: Cycle, row: int) -> set[HostPort]:
        by_row: dict[int, set[HostPort]] = cycle.scratch[self.name]
        if row not in by_row:
            specs = cycle.placements.spec
            by_row[row] = {
                port for pod in cycle.placements.on_node(row) for port in cycle.infos[specs[pod]].host_ports
            }
        return by_row[row]
