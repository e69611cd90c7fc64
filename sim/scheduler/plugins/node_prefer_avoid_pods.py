"""NodePreferAvoidPods: nodes annotated to keep a controller's pods away (1.20 and earlier)."""

from __future__ import annotations

import numpy as np

from sim.kernels import kernel
from sim.scheduler.framework import PLUGINS, Cycle, Plugin


def _all_but_twin(avoided: np.ndarray, rows: np.ndarray, top: int) -> np.ndarray:
    return np.where(np.isin(rows, avoided), 0, top).astype(np.int64)


@kernel(reference=_all_but_twin)
def all_but(avoided: np.ndarray, rows: np.ndarray, top: int) -> np.ndarray:
    """int64 scores: `top`, but 0 for the avoided rows. avoided int64[a], few; rows int64[k]."""
    out = np.full(rows.shape[0], top, np.int64)
    for i in range(rows.shape[0]):
        for k in range(avoided.shape[0]):
            if rows[i] == avoided[k]:
                out[i] = 0
    return out


@PLUGINS.register("NodePreferAvoidPods")
class NodePreferAvoidPods(Plugin):
    """The preferAvoidPods annotation; only ReplicationControllers and ReplicaSets count, by kind and uid
    (nodepreferavoidpods/node_prefer_avoid_pods.go)."""

    def score(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        owner = cycle.pod.spec.owner
        avoided: list[int] = []
        if owner is not None and owner.kind in ("ReplicationController", "ReplicaSet"):
            avoided = [
                row
                for row in cycle.nodes.avoiding
                if any((each.kind, each.uid) == (owner.kind, owner.uid) for each in cycle.nodes.avoiding[row])
            ]
        return all_but(np.array(avoided, np.int64), rows, self.top)
