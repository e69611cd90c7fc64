"""NodeUnschedulable: cordoned nodes take only pods that tolerate it."""

from __future__ import annotations

import numpy as np

from sim.kernels import kernel
from sim.scheduler.framework import PLUGINS, UNRESOLVABLE, Cycle, Plugin
from sim.scheduler.tolerations import UNSCHEDULABLE_TAINT, tolerated


def _cordon_filter_twin(unschedulable: np.ndarray, rows: np.ndarray, code: int) -> np.ndarray:
    return np.where(unschedulable[rows] != 0, code, 0).astype(np.int8)


@kernel(reference=_cordon_filter_twin)
def cordon_filter(unschedulable: np.ndarray, rows: np.ndarray, code: int) -> np.ndarray:
    """int8 codes: `code` where the node is cordoned. unschedulable uint8[n], rows int64[k]."""
    out = np.zeros(rows.shape[0], np.int8)
    for i in range(rows.shape[0]):
        if unschedulable[rows[i]] != 0:
            out[i] = code
    return out


@PLUGINS.register("NodeUnschedulable")
class NodeUnschedulable(Plugin):
    """spec.unschedulable, tolerated like its taint (nodeunschedulable/node_unschedulable.go)."""

    node_only = True

    def filter(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        if tolerated(cycle.pod.spec.tolerations, UNSCHEDULABLE_TAINT):
            return np.zeros(len(rows), np.int8)
        return cordon_filter(cycle.nodes.unschedulable, rows, UNRESOLVABLE)

    def reasons(self, cycle: Cycle, row: int) -> list[str]:
        return ["node(s) were unschedulable"]
