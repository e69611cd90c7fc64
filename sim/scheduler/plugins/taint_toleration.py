"""TaintToleration: NoSchedule and NoExecute taints block, PreferNoSchedule ones cost score."""

from __future__ import annotations

import numpy as np

from sim.kernels import kernel
from sim.kernels.columns import default_normalize
from sim.scheduler.framework import PLUGINS, UNRESOLVABLE, Cycle, Plugin
from sim.scheduler.tolerations import first_blocking_taint, intolerable_preferences


def _class_values_twin(classes: np.ndarray, table: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return table[classes[rows]]


@kernel(reference=_class_values_twin)
def class_values(classes: np.ndarray, table: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Look a table up by each node's class of taints. classes int32[n], table int64[classes], rows int64[k]."""
    out = np.empty(rows.shape[0], np.int64)
    for i in range(rows.shape[0]):
        out[i] = table[classes[rows[i]]]
    return out


@PLUGINS.register("TaintToleration")
class TaintToleration(Plugin):
    """Taints against tolerations (tainttoleration/taint_toleration.go)."""

    node_only = True

    def filter(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        tolerations = cycle.pod.spec.tolerations
        table = cycle.nodes.by_taints(
            lambda taints: 0 if first_blocking_taint(tolerations, taints) is None else UNRESOLVABLE
        )
        return class_values(cycle.nodes.taint_class, table, rows).astype(np.int8)

    def reasons(self, cycle: Cycle, row: int) -> list[str]:
        taint = first_blocking_taint(cycle.pod.spec.tolerations, cycle.nodes.specs[row].taints)
        assert taint is not None
        if self.arithmetic == "1.34":
            return [f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"]
        return [f"node(s) had taint {{{taint.key}: {taint.value}}}, that the pod didn't tolerate"]

    def score(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        tolerations = cycle.pod.spec.tolerations
        table = cycle.nodes.by_taints(lambda taints: intolerable_preferences(tolerations, taints))
        return class_values(cycle.nodes.taint_class, table, rows)

    def normalize_score(self, cycle: Cycle, rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return default_normalize(scores, self.top, True)
