"""Everything at one moment."""

from __future__ import annotations

import numpy as np

from sim.base.rand import Streams
from sim.base.spec import param
from workloads.arrivals import ARRIVALS, ArrivalProcess
from workloads.draws import MAX_ITEMS


@ARRIVALS.register("at-once")
class AtOnceArrivals(ArrivalProcess):
    """All at once: a storm of requests at one moment, as after an outage or at the start of a batch window."""

    count: int = param(1, "applications that arrive together", ge=1, le=MAX_ITEMS)
    at_s: float = param(0.0, "when they arrive", ge=0, le=1e9)

    def times(self, horizon_s: float, streams: Streams, name: str) -> np.ndarray:
        return np.full(int(self.expected(horizon_s)), self.at_s)

    def expected(self, horizon_s: float) -> float:
        return self.count if self.at_s < horizon_s else 0
