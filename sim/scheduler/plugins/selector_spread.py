"""SelectorSpread: spread the pods of a service or controller over nodes and zones (1.20 and earlier)."""

from __future__ import annotations

import numpy as np

from sim.kernels import kernel
from sim.scheduler.framework import PLUGINS, Cycle, Plugin, Status
from sim.scheduler.tallies import MatchingPods
from sim.state.nodes import ZONE_COLUMN

ZONE_WEIGHT = 2.0 / 3.0
"""Share of the zone in the score (selectorspread/selector_spread.go, zoneWeighting)."""


def _selector_spread_normalize_twin(scores: np.ndarray, zones: np.ndarray, domains: int, top: int) -> np.ndarray:
    by_zone = np.zeros(domains, np.int64)
    np.add.at(by_zone, zones[zones >= 0], scores[zones >= 0])
    most, most_by_zone = int(scores.max(initial=0)), int(by_zone.max(initial=0))
    part = float(top) * ((most - scores) / float(most)) if most > 0 else np.full(len(scores), float(top))
    zone_part = np.full(domains, float(top))
    if most_by_zone > 0:
        zone_part *= (most_by_zone - by_zone) / float(most_by_zone)
    zoned = zones >= 0
    part[zoned] = part[zoned] * (1.0 - ZONE_WEIGHT) + ZONE_WEIGHT * zone_part[zones[zoned]]
    return part.astype(np.int64)


@kernel(reference=_selector_spread_normalize_twin)
def selector_spread_normalize(scores: np.ndarray, zones: np.ndarray, domains: int, top: int) -> np.ndarray:
    """int64 scores 0..top from counts of matching pods: a third the node's own, two thirds its zone's.

    scores int64[k] counts, zones int32[k] codes (-1: no zone, the node's part alone), domains: number of codes."""
    by_zone = np.zeros(domains, np.int64)
    most = np.int64(0)
    for i in range(scores.shape[0]):
        most = max(most, scores[i])
        if zones[i] >= 0:
            by_zone[zones[i]] += scores[i]
    most_by_zone = np.int64(0)
    for zone in range(domains):
        most_by_zone = max(most_by_zone, by_zone[zone])
    out = np.empty(scores.shape[0], np.int64)
    for i in range(scores.shape[0]):
        part = np.float64(top)
        if most > 0:
            part = np.float64(top) * (np.float64(most - scores[i]) / np.float64(most))
        if zones[i] >= 0:
            zone_part = np.float64(top)
            if most_by_zone > 0:
                zone_part = np.float64(top) * (np.float64(most_by_zone - by_zone[zones[i]]) / np.float64(most_by_zone))
            part = part * (1.0 - ZONE_WEIGHT) + ZONE_WEIGHT * zone_part
        out[i] = np.int64(part)
    return out


@PLUGINS.register("SelectorSpread")
class SelectorSpread(Plugin):
    """Counts of the application's pods by node and zone (selectorspread/selector_spread.go)."""

    def selects(self, cycle: Cycle) -> bool:
        """Does any service or controller select the pod, so that there are pods to count?"""
        if cycle.pod.spec.topology_spread_constraints:
            return False
        return not cycle.cluster.default_selector(cycle.pod).empty

    def pre_score(self, cycle: Cycle, rows: np.ndarray) -> Status | None:
        pod = cycle.pod
        cycle.scratch[self.name] = None
        if not pod.spec.topology_spread_constraints:
            cycle.scratch[self.name] = cycle.cluster.default_selector(pod)
        return None

    def score(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        selector = cycle.scratch[self.name]
        if selector is None:
            return np.zeros(len(rows), np.int64)
        return cycle.counts(MatchingPods(cycle.pod.namespace, selector))[rows].astype(np.int64)

    def normalize_score(self, cycle: Cycle, rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
        if cycle.scratch[self.name] is None:
            return scores
        column = cycle.nodes.label(ZONE_COLUMN)
        return selector_spread_normalize(
            scores, cycle.nodes.label_codes(ZONE_COLUMN)[rows], len(column.values), self.top
        )
