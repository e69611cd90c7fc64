"""Taints and tolerations: the rule shared by several plugins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sim.state.objects import Taint, Toleration

UNSCHEDULABLE_TAINT = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
BLOCKING_EFFECTS = ("NoSchedule", "NoExecute")


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Does one toleration cover one taint? (Kubernetes, core/v1 Toleration.ToleratesTaint)"""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator in ("", "Equal"):
        return toleration.value == taint.value
    return toleration.operator == "Exists"


def tolerated(tolerations: Iterable[Toleration], taint: Taint) -> bool:
    return any(tolerates(toleration, taint) for toleration in tolerations)


def first_blocking_taint(tolerations: Sequence[Toleration], taints: Sequence[Taint]) -> Taint | None:
    """The first NoSchedule or NoExecute taint that is not tolerated."""
    for taint in taints:
        if taint.effect in BLOCKING_EFFECTS and not tolerated(tolerations, taint):
            return taint
    return None


def intolerable_preferences(tolerations: Sequence[Toleration], taints: Sequence[Taint]) -> int:
    """How many PreferNoSchedule taints are not tolerated; only tolerations for that effect or for all count."""
    useful = [each for each in tolerations if each.effect in ("", "PreferNoSchedule")]
    return sum(taint.effect == "PreferNoSchedule" and not tolerated(useful, taint) for taint in taints)
