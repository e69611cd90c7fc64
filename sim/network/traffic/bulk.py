"""Bulk transfer: pairs of pods, one stream each."""

from __future__ import annotations

from typing import Literal

import numpy as np

from sim.base.spec import param
from sim.network.data_path import Protocol
from sim.network.traffic.catalog import TRAFFIC, Demand, TransferSpec


@TRAFFIC.register("bulk")
class Bulk(TransferSpec):
    """Streams that start together between pods chosen at random, each pod at most once."""

    streams: int = param(10, "streams; at most half of the pods", ge=1, le=1_000_000)
    size_bytes: float = param(1e9, "bytes of each", gt=0, le=1e15)
    protocol: Literal["tcp", "udp"] = param("tcp", "transport")
    message_bytes: float | None = param(None, "size of one write or datagram; null: as large as can be", gt=0, le=1e9)

    def demand(self, pods: np.ndarray, rng: np.random.Generator) -> Demand:
        chosen = rng.permutation(pods)[: 2 * min(self.streams, len(pods) // 2)]
        half = len(chosen) // 2
        return Demand(
            chosen[:half],
            chosen[half:],
            np.full(half, self.size_bytes),
            np.zeros(half),
            self.message_bytes,
            Protocol(self.protocol),
        )
