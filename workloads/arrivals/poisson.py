"""Independent arrivals at a constant rate."""

from __future__ import annotations

import numpy as np

from sim.base.rand import Streams
from sim.base.spec import param
from workloads.arrivals import ARRIVALS, ArrivalProcess, unit_poisson


@ARRIVALS.register("poisson")
class PoissonArrivals(ArrivalProcess):
    """Poisson process: independent arrivals, exponential gaps."""

    rate_per_s: float = param(1.0, "applications a second", gt=0, le=1e6)

    def times(self, horizon_s: float, streams: Streams, name: str) -> np.ndarray:
        points = unit_poisson(self.rate_per_s * horizon_s, streams(f"{name}.arrivals")) / self.rate_per_s
        return points[points < horizon_s]

    def expected(self, horizon_s: float) -> float:
        return self.rate_per_s * horizon_s
