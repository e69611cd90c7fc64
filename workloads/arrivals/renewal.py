"""Independent gaps of any distribution."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import model_validator

from sim.base.rand import Dist, Gamma, Streams
from sim.base.spec import param
from workloads.arrivals import ARRIVALS, ArrivalProcess
from workloads.draws import partial_sums


@ARRIVALS.register("renewal")
class RenewalArrivals(ArrivalProcess):
    """Renewal process: independent gaps; a squared coefficient of variation above 1 makes arrivals cluster."""

    gap_s: Dist = param(
        Gamma(mean=1.0, scv=2.65),
        "time between two arrivals; the first gap begins at 0",
        source="squared coefficient of variation of the gaps: computed from the Alibaba GPU cluster trace 2023 (openb)",
    )

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if not self.gap_s.mean() > 0:
            raise ValueError("gap_s must have a mean above 0")
        return self

    def times(self, horizon_s: float, streams: Streams, name: str) -> np.ndarray:
        return partial_sums(self.gap_s, streams(f"{name}.arrivals"), horizon_s)

    def expected(self, horizon_s: float) -> float:
        return horizon_s / self.gap_s.mean()
