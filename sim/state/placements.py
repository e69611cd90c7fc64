"""The table of placed pods: one row a pod, by the caller's integer id. Columns only, no object per pod."""

from __future__ import annotations

import numpy as np

from sim.base.errors import InputError

SPEC, NODE, TERMINATING, NEXT, PREVIOUS = 0, 1, 2, 3, 4
"""Rows of `Placements.pods`."""
FIRST, LAST = 0, 1
"""Rows of `Placements.heads`."""


class Placements:
    """Which pod is where. Ids are small integers (rows of the caller's pod table); 28 bytes an id.

    Pods of a node form a list in the order they came: `heads` by node row, `pods[NEXT]` and `pods[PREVIOUS]` by pod.
    """

    def __init__(self, pods: int = 64, nodes: int = 64) -> None:
        self.count = 0
        """Pods placed now."""
        self.pods = np.full((5, pods), -1, np.int32)
        """By pod id: spec id (-1: not placed), node row, terminating (0 or 1), neighbours in the node's list."""
        self.start_s = np.zeros(pods, np.float64)
        """status.startTime in seconds; preemption prefers young victims."""
        self.heads = np.full((2, nodes), -1, np.int32)
        """By node row: first and last pod of its list."""
        self.of_spec = np.zeros(64, np.int64)
        """Pods placed now, by spec id."""

    @property
    def spec(self) -> np.ndarray:
        """int32 spec id by pod id, -1 for a pod that is not placed (a view)."""
        return self.pods[SPEC]

    @property
    def node(self) -> np.ndarray:
        """int32 node row by pod id (a view)."""
        return self.pods[NODE]

    @property
    def terminating(self) -> np.ndarray:
        """int32, 1 for a pod that has a deletion timestamp (a view)."""
        return self.pods[TERMINATING]

    def reserve_specs(self, specs: int) -> None:
        """Make room for this many spec ids."""
        while specs > self.of_spec.shape[0]:
            self.of_spec = np.concatenate([self.of_spec, np.zeros_like(self.of_spec)])

    def reserve(self, pod: int, node: int) -> None:
        """Make room for a pod id and a node row."""
        while pod >= self.pods.shape[1]:
            self.pods = np.concatenate([self.pods, np.full_like(self.pods, -1)], axis=1)
            self.start_s = np.concatenate([self.start_s, np.zeros_like(self.start_s)])
        while node >= self.heads.shape[1]:
            self.heads = np.concatenate([self.heads, np.full_like(self.heads, -1)], axis=1)

    def is_placed(self, pod: int) -> bool:
        return 0 <= pod < self.pods.shape[1] and self.pods[SPEC, pod] >= 0

    def check_placed(self, pod: int) -> None:
        """InputError unless the pod is placed."""
        if not self.is_placed(pod):
            raise InputError(f"pods[{pod}]: not placed; assume it on a node first")

    def on_node(self, node: int) -> list[int]:
        """Pods of a node, in the order they came."""
        found: list[int] = []
        pod = int(self.heads[FIRST, node]) if node < self.heads.shape[1] else -1
        while pod >= 0:
            found.append(pod)
            pod = int(self.pods[NEXT, pod])
        return found

    def placed(self) -> np.ndarray:
        """Ids of all placed pods, ascending (int64)."""
        return np.flatnonzero(self.pods[SPEC] >= 0)
