"""Arrivals in groups."""

from __future__ import annotations

import numpy as np

from sim.base.rand import Dist, Gamma, Streams
from sim.base.spec import param
from workloads.arrivals import ARRIVALS, ArrivalProcess, unit_poisson
from workloads.draws import counts


@ARRIVALS.register("batch")
class BatchArrivals(ArrivalProcess):
    """Compound Poisson process: groups of applications come together, as from a workflow engine or a script."""

    rate_per_s: float = param(0.1, "batches a second", gt=0, le=1e6)
    size: Dist = param(Gamma(mean=10.0, scv=1.0), "applications in a batch, rounded, at least one")

    def times(self, horizon_s: float, streams: Streams, name: str) -> np.ndarray:
        points = unit_poisson(self.rate_per_s * horizon_s, streams(f"{name}.arrivals")) / self.rate_per_s
        sizes = counts(self.size, streams(f"{name}.batch_size"), len(points), "arrivals.size")
        points = np.repeat(points, sizes)
        return points[points < horizon_s]

    def expected(self, horizon_s: float) -> float:
        """Rounding to whole applications left aside."""
        return self.rate_per_s * horizon_s * max(1.0, self.size.mean())
