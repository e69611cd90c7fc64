"""How many replicas each ReplicaSet of a Deployment should have now.

Rules: Kubernetes 1.20 source, pkg/controller/deployment (rolling.go, sync.go) and its deployment_util.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

from sim.state.applications import Share, pods_of_share


@dataclass(frozen=True, slots=True)
class SetSize:
    """One ReplicaSet as its Deployment's controller knows it."""

    replicas: int
    """Wanted, spec.replicas."""
    available: int
    """status.availableReplicas."""
    desired: int = 0
    """What the Deployment wanted in all when this set was last sized, plus its surge (the max-replicas annotation)."""


def fence_posts(max_surge: Share, max_unavailable: Share, desired: int) -> tuple[int, int]:
    """(surge, unavailable) in pods; never both 0, or nothing could move."""
    surge = pods_of_share(max_surge, desired, round_up=True)
    unavailable = pods_of_share(max_unavailable, desired, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, desired)


def new_set_replicas(desired: int, surge: int, new: int, olds: Sequence[SetSize]) -> int:
    """Size of the newest set: as much as the surge has room for, at most `desired`."""
    room = desired + surge - (new + sum(old.replicas for old in olds))
    return new if room <= 0 else new + min(room, desired - new)


def old_sets_replicas(desired: int, unavailable: int, new: SetSize, olds: Sequence[SetSize]) -> list[int]:
    """Sizes of the older sets, oldest first: unhealthy pods go first, then as many as availability allows."""
    sizes = [old.replicas for old in olds]
    if not sum(sizes):
        return sizes
    least_available = desired - unavailable
    may_go = new.replicas + sum(sizes) - least_available - (new.replicas - new.available)
    if may_go <= 0:
        return sizes
    cleaned = 0
    for place, old in enumerate(olds):
        if cleaned >= may_go:
            break
        if old.replicas == 0:
            continue
        if old.available > old.replicas:  # its status is older than its size: nothing more until it is written
            return sizes
        gone = min(may_go - cleaned, old.replicas - old.available)
        sizes[place] -= gone
        cleaned += gone
    spare = new.available + sum(old.available for old in olds) - least_available
    for place in range(len(sizes)):
        if spare <= 0:
            break
        gone = min(spare, sizes[place])
        sizes[place] -= gone
        spare -= gone
    return sizes


def proportional(desired: int, surge: int, sets: Sequence[SetSize]) -> list[int]:
    """Sizes of all sets, newest first, after the Deployment was scaled while several of them have pods.

    Each gets its share of the change, by its size; what rounding leaves goes to the largest (of equal ones the newest).
    """
    allowed = desired + surge if desired > 0 else 0
    to_add = allowed - sum(each.replicas for each in sets)
    order = sorted(range(len(sets)), key=lambda place: (-sets[place].replicas, place if to_add > 0 else -place))
    sizes = [each.replicas for each in sets]
    added = 0
    for place in order:
        each = sets[place]
        if each.replicas == 0 or to_add == 0 or to_add == added:
            continue
        if desired == 0:
            fraction = -each.replicas
        else:
            fraction = (
                floor(each.replicas * (desired + surge) / (each.desired or desired + surge) + 0.5) - each.replicas
            )
        left = to_add - added
        part = min(fraction, left) if to_add > 0 else max(fraction, left)
        sizes[place] += part
        added += part
    if order and to_add != added:
        sizes[order[0]] = max(0, sizes[order[0]] + to_add - added)
    return sizes
