"""A scheduler plugin of another package, as its entry point names it."""

from __future__ import annotations

import numpy as np

from sim.scheduler.framework import Cycle, Plugin


class NearTheSea(Plugin):
    """Prefer nodes labelled coast=yes."""

    def score(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        return np.where(cycle.nodes.label_is("coast", "yes")[rows], 100, 0)
