"""North-south: clients outside the cluster, through a node's NAT."""

from __future__ import annotations

import numpy as np

from sim.base.spec import param
from sim.network.traffic.catalog import TRAFFIC, Demand, TransferSpec


@TRAFFIC.register("north-south")
class NorthSouth(TransferSpec):
    """Downloads that begin at random for a while; the packets are translated on the pod's node."""

    rate_per_s: float = param(100.0, "downloads that begin a second", gt=0, le=1e7)
    size_bytes: float = param(1e6, "mean size, exponential", gt=0, le=1e12)
    seconds: float = param(10.0, "length of the time in which they begin", gt=0, le=1e6)

    def demand(self, pods: np.ndarray, rng: np.random.Generator) -> Demand:
        count = max(1, int(rng.poisson(self.rate_per_s * self.seconds)))
        return Demand(
            rng.choice(pods, count),
            np.full(count, -1),
            rng.exponential(self.size_bytes, count),
            np.sort(rng.uniform(0, self.seconds, count)),
        )
