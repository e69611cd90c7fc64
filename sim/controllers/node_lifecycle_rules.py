"""When pods of a silent node are evicted, and how fast nodes of a zone may be.

Rules: Kubernetes 1.20 source, pkg/controller/nodelifecycle.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from math import inf

from sim.scheduler.tolerations import tolerates
from sim.state.objects import Taint, Toleration

UNREACHABLE_NO_SCHEDULE = Taint("node.kubernetes.io/unreachable", "", "NoSchedule")
UNREACHABLE_NO_EXECUTE = Taint("node.kubernetes.io/unreachable", "", "NoExecute")


class ZoneState(Enum):
    """How much of a zone is heard of."""

    NORMAL = "normal"
    PARTIAL = "partial disruption"
    FULL = "full disruption"


def zone_state(ready: int, not_ready: int, unhealthy_share: float) -> ZoneState:
    """The state of a zone with so many nodes. Two silent nodes are no disruption, whatever their share."""
    if ready == 0 and not_ready > 0:
        return ZoneState.FULL
    if not_ready > 2 and not_ready >= unhealthy_share * (ready + not_ready):
        return ZoneState.PARTIAL
    return ZoneState.NORMAL


def eviction_rate_per_s(
    state: ZoneState, nodes: int, all_disrupted: bool, normal_per_s: float, reduced_per_s: float, large_zone: int
) -> float:
    """Nodes of a zone that may be tainted for eviction each second; all zones in full disruption: none, the fault is ours."""
    if all_disrupted:
        return 0.0
    if state is ZoneState.PARTIAL:
        return reduced_per_s if nodes > large_zone else 0.0
    return normal_per_s


def evicted_after_s(tolerations: Sequence[Toleration], taint: Taint) -> float:
    """From a NoExecute taint to a pod's eviction: 0 without a toleration, inf with one that has no end."""
    fitting = [each for each in tolerations if tolerates(each, taint)]
    if not fitting:
        return 0.0
    ends = [each.toleration_s for each in fitting if each.toleration_s is not None]
    return float(max(0, min(ends))) if ends else inf
