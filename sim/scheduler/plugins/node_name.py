"""NodeName: a pod that names its node fits no other."""

from __future__ import annotations

import numpy as np

from sim.kernels import kernel
from sim.scheduler.framework import PLUGINS, SUCCESS, UNRESOLVABLE, Cycle, Plugin


def _only_row_twin(wanted: int, rows: np.ndarray, code: int) -> np.ndarray:
    return np.where(rows == wanted, SUCCESS, code).astype(np.int8)


@kernel(reference=_only_row_twin)
def only_row(wanted: int, rows: np.ndarray, code: int) -> np.ndarray:
    """int8 codes: `code` for every row but the wanted one."""
    out = np.full(rows.shape[0], code, np.int8)
    for i in range(rows.shape[0]):
        if rows[i] == wanted:
            out[i] = 0
    return out


@PLUGINS.register("NodeName")
class NodeName(Plugin):
    """spec.nodeName (nodename/node_name.go)."""

    node_only = True

    def filter(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        wanted = cycle.pod.spec.node_name
        if not wanted:
            return np.zeros(len(rows), np.int8)
        return only_row(cycle.nodes.row_of.get(wanted, -1), rows, UNRESOLVABLE)

    def reasons(self, cycle: Cycle, row: int) -> list[str]:
        name = "hostname" if self.arithmetic != "1.34" else "node name"
        return [f"node(s) didn't match the requested {name}"]
