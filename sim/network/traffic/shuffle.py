"""All-to-all shuffle: every worker sends a part to every other, as between the stages of a batch job."""

from __future__ import annotations

import numpy as np

from sim.base.spec import param
from sim.network.traffic.catalog import TRAFFIC, Demand, TransferSpec


@TRAFFIC.register("shuffle")
class Shuffle(TransferSpec):
    """All parts start together."""

    workers: int = param(20, "pods that take part; at most all", ge=2, le=2000)
    part_bytes: float = param(5e7, "bytes from each worker to each other", gt=0, le=1e15)

    def demand(self, pods: np.ndarray, rng: np.random.Generator) -> Demand:
        chosen = rng.permutation(pods)[: self.workers]
        source, destination = np.meshgrid(chosen, chosen, indexing="ij")
        apart = source != destination
        count = int(apart.sum())
        return Demand(source[apart], destination[apart], np.full(count, self.part_bytes), np.zeros(count))
