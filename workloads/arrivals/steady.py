"""Arrivals by the clock: the open loop of a load generator."""

from __future__ import annotations

import math

import numpy as np

from sim.base.rand import Streams
from sim.base.spec import param
from workloads.arrivals import ARRIVALS, ArrivalProcess
from workloads.draws import MAX_ITEMS


@ARRIVALS.register("steady")
class SteadyArrivals(ArrivalProcess):
    """Evenly spaced: arrival i comes at i / rate, whatever the cluster does (open loop)."""

    rate_per_s: float = param(1.0, "applications a second", gt=0, le=1e6)
    count: int | None = param(None, "stop after this many; none: go on to the horizon", ge=1, le=MAX_ITEMS)

    def times(self, horizon_s: float, streams: Streams, name: str) -> np.ndarray:
        fitting = math.ceil(self.rate_per_s * horizon_s)
        points = np.arange(fitting if self.count is None else min(self.count, fitting)) / self.rate_per_s
        return points[points < horizon_s]

    def expected(self, horizon_s: float) -> float:
        fitting = math.ceil(self.rate_per_s * horizon_s)
        return fitting if self.count is None else min(self.count, fitting)
