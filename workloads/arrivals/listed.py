"""Arrival times given one by one."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from sim.base.rand import Streams
from sim.base.spec import param
from workloads.arrivals import ARRIVALS, ArrivalProcess


@ARRIVALS.register("listed")
class ListedArrivals(ArrivalProcess):
    """Exactly these times: for worked examples, and for replaying measured ones."""

    times_s: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = param(
        (0.0,), "arrival times, in any order"
    )

    def times(self, horizon_s: float, streams: Streams, name: str) -> np.ndarray:
        points = np.sort(np.asarray(self.times_s, np.float64))
        return points[points < horizon_s]

    def expected(self, horizon_s: float) -> float:
        return sum(time_s < horizon_s for time_s in self.times_s)
