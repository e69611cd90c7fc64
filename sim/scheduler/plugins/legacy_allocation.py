"""The resource scores of 1.20 and earlier, each a plugin of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from sim.scheduler.framework import PLUGINS, Cycle, Plugin
from sim.scheduler.plugins.node_resources_fit import (
    LEAST_ALLOCATED,
    MOST_ALLOCATED,
    REQUESTED_TO_CAPACITY_RATIO,
    legacy_allocation_score,
    resource_weights,
    scored_resources,
)
from sim.scheduler.requests import scored_requests_1_20


class LegacyAllocation(Plugin):
    """Base: an allocation strategy over the configured resources. Arguments: resources; shape for the ratio."""

    strategy: ClassVar[int] = LEAST_ALLOCATED

    def __init__(self, args: Mapping[str, Any] | None = None, arithmetic: str = "1.20") -> None:
        super().__init__(args, arithmetic)
        self.resources = resource_weights(self.args.get("resources"))
        points = self.args.get("shape") or [{"utilization": 0, "score": 10}, {"utilization": 100, "score": 0}]
        shape = [(int(each.get("utilization", 0)), int(each.get("score", 0)) * self.top // 10) for each in points]
        self.shape = np.array(shape, np.int64)

    def score(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        asked = scored_requests_1_20(cycle.pod.spec)
        scored = scored_resources(cycle.nodes, self.resources, asked, nonzero=True, keep_unasked=True)
        return legacy_allocation_score(cycle.nodes.amounts, scored, self.strategy, self.shape, self.top, rows)


@PLUGINS.register("NodeResourcesLeastAllocated")
class NodeResourcesLeastAllocated(LegacyAllocation):
    """Prefer empty nodes (Kubernetes 1.20, noderesources/least_allocated.go)."""


@PLUGINS.register("NodeResourcesMostAllocated")
class NodeResourcesMostAllocated(LegacyAllocation):
    """Prefer full nodes (Kubernetes 1.20, noderesources/most_allocated.go)."""

    strategy = MOST_ALLOCATED


@PLUGINS.register("RequestedToCapacityRatio")
class RequestedToCapacityRatio(LegacyAllocation):
    """A broken line over utilisation (Kubernetes 1.20, noderesources/requested_to_capacity_ratio.go)."""

    strategy = REQUESTED_TO_CAPACITY_RATIO
