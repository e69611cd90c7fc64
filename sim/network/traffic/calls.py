"""A mesh of services: calls that fan out."""

from __future__ import annotations

import numpy as np

from sim.base.spec import param
from sim.network.traffic.catalog import TRAFFIC, Demand, TrafficSpec


@TRAFFIC.register("calls")
class Calls(TrafficSpec):
    """Requests enter at a front, and each service calls `fan_out` others, `depth` levels deep."""

    rate_per_s: float = param(1000.0, "requests that enter a second", gt=0, le=1e9)
    request_bytes: float = param(1000.0, "size of a request", ge=0, le=1e9)
    response_bytes: float = param(4000.0, "size of a response", ge=0, le=1e9)
    fan_out: int = param(2, "calls that each service makes for one request, side by side", ge=0, le=1000)
    depth: int = param(2, "levels of calls below the front", ge=0, le=10)
    services: int = param(
        0, "kube-proxy services that a new connection passes; 0: connections stay open", ge=0, le=1_000_000
    )

    def demand(self, pods: np.ndarray, rng: np.random.Generator) -> Demand:
        return Demand(
            calls_per_s=self.rate_per_s,
            request_bytes=self.request_bytes,
            response_bytes=self.response_bytes,
            fan_out=self.fan_out,
            depth=self.depth,
            services=self.services,
        )
