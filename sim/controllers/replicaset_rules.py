"""Which pods of a set go first when there are too many.

Rules: Kubernetes 1.20 source, pkg/controller/controller_utils.go (ActivePodsWithRanks); 1.22 for ages by their logarithm.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor, log2


@dataclass(frozen=True, slots=True)
class Candidate:
    """What decides about one pod."""

    pod: int
    node: int
    """-1: not bound."""
    running: bool
    ready_s: float | None
    """When it became ready; None: it is not."""
    created_s: float


def deletion_order(candidates: Iterable[Candidate], now_s: float, by_logarithm: bool = False) -> list[int]:
    """The pods, those that go first in front.

    Not bound before bound, pending before running, not ready before ready; on nodes with several of them before others; ready
    for a short time before ready for long; young before old. by_logarithm: ages that lie within a factor of two are alike.
    """
    found = list(candidates)
    on_node: dict[int, int] = {}
    for each in found:
        on_node[each.node] = on_node.get(each.node, 0) + 1

    def age(since_s: float) -> float:
        lasted_s = max(0.0, now_s - since_s)
        return float(floor(log2(lasted_s)) if lasted_s > 0 else -1074) if by_logarithm else lasted_s

    def key(each: Candidate) -> tuple[float, ...]:
        return (
            each.node >= 0,
            each.running,
            each.ready_s is not None,
            -on_node[each.node],
            age(each.ready_s) if each.ready_s is not None else 0.0,
            age(each.created_s),
            each.pod,
        )

    return [each.pod for each in sorted(found, key=key)]
