"""When applications arrive: one file an arrival process, all of them exact and vectorised."""

from __future__ import annotations

import numpy as np

from sim.base.plugin import Catalog
from sim.base.rand import Exponential, Streams
from sim.base.spec import Spec
from workloads.draws import partial_sums


class ArrivalProcess(Spec):
    """Base of every entry of the arrivals catalog."""

    def times(self, horizon_s: float, streams: Streams, name: str) -> np.ndarray:
        """Arrival times (float64, seconds, not falling) in [0, horizon_s).

        Draws come from streams whose names begin with `name` only. A longer horizon prolongs the result and leaves its
        beginning as it is.
        """
        raise NotImplementedError

    def expected(self, horizon_s: float) -> float:
        """The expected number of arrivals in [0, horizon_s); for renewal processes its long-run approximation."""
        raise NotImplementedError


ARRIVALS: Catalog[type[ArrivalProcess]] = Catalog("arrivals", package="workloads.arrivals")
"""Every arrival process that a scenario may name."""


def unit_poisson(end: float, rng: np.random.Generator) -> np.ndarray:
    """The points of a Poisson process of rate 1 in [0, end), rising.

    Through the inverse of its expected count, every Poisson process with a rate that changes in time is an image of
    these points (time change), which keeps two designs with different rates comparable.
    """
    return partial_sums(Exponential(mean=1.0), rng, end)
