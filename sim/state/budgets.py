"""PodDisruptionBudgets: how many of the pods that they select may be taken away now.

Rules: Kubernetes 1.20 source, pkg/controller/disruption (getExpectedPodCount, updatePdbStatus) and the eviction subresource.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from sim.state.objects import LabelSelector


def scaled(value: int | str, of: int) -> int:
    """A number of pods, or a share such as "25%" of `of` pods, rounded up."""
    return value if isinstance(value, int) else ceil(int(value.removesuffix("%")) * of / 100)


@dataclass(frozen=True, slots=True)
class PodDisruptionBudget:
    """One budget as it was created: it names `min_available` or `max_unavailable`, as a number or a share."""

    namespace: str
    name: str
    selector: LabelSelector | None
    """None selects no pod, an empty one every pod of the namespace."""
    min_available: int | str | None = None
    max_unavailable: int | str | None = None

    def allowed(self, expected: int, healthy: int) -> int:
        """Pods that may go. expected: pods that the owners of the selected ones want; healthy: selected pods that are ready."""
        if not expected:
            return 0
        if self.max_unavailable is not None:
            least = max(0, expected - scaled(self.max_unavailable, expected))
        else:
            least = scaled(self.min_available or 0, expected)
        return max(0, healthy - least)
