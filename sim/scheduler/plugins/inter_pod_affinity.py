"""InterPodAffinity: pods that want, or refuse, each other's company."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sim.kernels import kernel
from sim.kernels.columns import domain_sums
from sim.scheduler.framework import PLUGINS, SKIP, UNRESOLVABLE, UNSCHEDULABLE, Cycle, Plugin, Status
from sim.scheduler.pod_info import PodInfo, WeightedTerm
from sim.scheduler.tallies import (
    AffinityPoints,
    MatchingAllTerms,
    RepellingTerms,
    Tallies,
    TallyKey,
    own_term_matches,
)

AFFINITY, ANTI_AFFINITY, EXISTING_ANTI_AFFINITY = 1, 2, 3
"""Which rule rejects, in the order they are asked."""

_REASONS = {
    AFFINITY: "node(s) didn't match pod affinity rules",
    ANTI_AFFINITY: "node(s) didn't match pod anti-affinity rules",
    EXISTING_ANTI_AFFINITY: "node(s) didn't satisfy existing pods anti-affinity rules",
}


def _in_domains_twin(codes: np.ndarray, sums: np.ndarray, rows: np.ndarray) -> np.ndarray:
    own = codes[rows]
    counts = sums[np.maximum(own, 0)] if len(sums) else np.zeros(len(rows), np.int64)
    return np.where(own < 0, -1, (counts > 0).astype(np.int8)).astype(np.int8)


@kernel(reference=_in_domains_twin)
def in_domains(codes: np.ndarray, sums: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """int8 a row: 1 the node's domain has a positive sum, 0 it has not, -1 the node lacks the label.

    codes int32[n], sums int64[domains], rows int64[k]."""
    out = np.empty(rows.shape[0], np.int8)
    for i in range(rows.shape[0]):
        code = codes[rows[i]]
        if code < 0:
            out[i] = -1
        else:
            out[i] = 1 if sums[code] > 0 else 0
    return out


def _domain_points_twin(codes: np.ndarray, sums: np.ndarray, rows: np.ndarray, points: np.ndarray) -> None:
    own = codes[rows]
    points[own >= 0] += sums[own[own >= 0]]


@kernel(reference=_domain_points_twin)
def domain_points(codes: np.ndarray, sums: np.ndarray, rows: np.ndarray, points: np.ndarray) -> None:
    """Add each row's domain sum to int64 points[k]; rows without the label get nothing."""
    for i in range(rows.shape[0]):
        code = codes[rows[i]]
        if code >= 0:
            points[i] += sums[code]


def _spanned_normalize_twin(scores: np.ndarray, top: int, from_zero: bool) -> np.ndarray:
    low, high = int(scores.min()), int(scores.max())
    if from_zero:
        low, high = min(low, 0), max(high, 0)
    if high <= low:
        return np.zeros(len(scores), np.int64)
    return (float(top) * ((scores - low).astype(np.float64) / float(high - low))).astype(np.int64)


@kernel(reference=_spanned_normalize_twin)
def spanned_normalize(scores: np.ndarray, top: int, from_zero: bool) -> np.ndarray:
    """int64 scores 0..top: position between the lowest and the highest, in floats, truncated; all equal: all 0.

    from_zero: the span always holds 0 (Kubernetes 1.20 and before). scores int64[k], k >= 1."""
    low = scores[0]
    high = scores[0]
    for i in range(scores.shape[0]):
        low = min(low, scores[i])
        high = max(high, scores[i])
    if from_zero:
        low = min(low, np.int64(0))
        high = max(high, np.int64(0))
    out = np.zeros(scores.shape[0], np.int64)
    if high > low:
        for i in range(scores.shape[0]):
            out[i] = np.int64(np.float64(top) * (np.float64(scores[i] - low) / np.float64(high - low)))
    return out


@dataclass(slots=True)
class _State:
    """Sums by domain, as PreFilter finds them; entries are (topology key, sums, what a pod must be to count)."""

    repelled: list[tuple[str, np.ndarray, TallyKey]] = field(default_factory=list)
    affinity: list[tuple[str, np.ndarray, TallyKey]] = field(default_factory=list)
    anti: list[tuple[str, np.ndarray, TallyKey]] = field(default_factory=list)


def points_keys(pod: PodInfo, tallies: Tallies, hard_weight: int) -> list[AffinityPoints]:
    """The tallies that make the affinity score of a pod, one a topology key."""
    preferred = [*pod.preferred_affinity, *(WeightedTerm(each.term, -each.weight) for each in pod.preferred_anti)]
    keys = dict.fromkeys([*(each.term.key for each in preferred), *tallies.attracting_keys(pod)])
    return [
        AffinityPoints(pod.group, pod, tuple(each for each in preferred if each.term.key == key), key, hard_weight)
        for key in keys
    ]


@PLUGINS.register("InterPodAffinity")
class InterPodAffinity(Plugin):
    """Pod affinity and anti-affinity (interpodaffinity/filtering.go, scoring.go). Arguments: hardPodAffinityWeight
    (default 1), ignorePreferredTermsOfExistingPods."""

    def __init__(self, args: Mapping[str, Any] | None = None, arithmetic: str = "1.34") -> None:
        super().__init__(args, arithmetic)
        weight = self.args.get("hardPodAffinityWeight")
        self.hard_weight = 1 if weight is None else int(weight)
        self.ignore_existing = bool(self.args.get("ignorePreferredTermsOfExistingPods"))

    # -- filter --------------------------------------------------------------------------------------------------

    def _sums(self, cycle: Cycle, topology_key: str, tally: TallyKey) -> tuple[str, np.ndarray, TallyKey]:
        nodes = cycle.nodes
        sums = np.zeros(len(nodes.label(topology_key).values), np.int64)
        domain_sums(nodes.label_codes(topology_key), cycle.counts(tally), nodes.alive, cycle.all_rows, sums)
        return topology_key, sums, tally

    def pre_filter(self, cycle: Cycle) -> Status | None:
        pod = cycle.pod
        state = _State()
        for key in cycle.tallies.repelling_keys(pod):
            state.repelled.append(self._sums(cycle, key, RepellingTerms(pod.group, pod, key)))
        everyone = MatchingAllTerms(pod.required_affinity)
        state.affinity = [self._sums(cycle, term.key, everyone) for term in pod.required_affinity]
        state.anti = [self._sums(cycle, term.key, MatchingAllTerms((term,))) for term in pod.required_anti]
        cycle.scratch[self.name] = state
        if not pod.required_affinity and not pod.required_anti and not any(each[1].any() for each in state.repelled):
            return Status(SKIP)
        return None

    def verdicts(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        """int8 a row: 0 fits, else the rule that rejects it (AFFINITY, ANTI_AFFINITY, EXISTING_ANTI_AFFINITY)."""
        state: _State = cycle.scratch[self.name]
        nodes = cycle.nodes
        out = np.zeros(len(rows), np.int8)
        if state.affinity:
            has_keys = np.ones(len(rows), bool)
            company = np.ones(len(rows), bool)
            for key, sums, _ in state.affinity:
                found = in_domains(nodes.label_codes(key), sums, rows)
                has_keys &= found >= 0
                company &= found > 0
            # the first pod of a group that wants its own kind: nobody matches anywhere
            nobody = not any(sums.any() for _, sums, _ in state.affinity)
            itself = all(own_term_matches(term, cycle.pod, cycle.cluster) for term in cycle.pod.required_affinity)
            if nobody and itself:
                company[:] = True
            out[~(has_keys & company)] = AFFINITY
        for rule, entries in ((ANTI_AFFINITY, state.anti), (EXISTING_ANTI_AFFINITY, state.repelled)):
            for key, sums, _ in entries:
                hit = in_domains(nodes.label_codes(key), sums, rows) > 0
                out[hit & (out == 0)] = rule
        return out

    def filter(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        verdicts = self.verdicts(cycle, rows)
        codes = np.where(verdicts == 0, 0, np.where(verdicts == AFFINITY, UNRESOLVABLE, UNSCHEDULABLE))
        return codes.astype(np.int8)

    def reasons(self, cycle: Cycle, row: int) -> list[str]:
        rule = int(self.verdicts(cycle, np.array([row], np.int64))[0])
        if self.arithmetic == "1.34":
            return [_REASONS[rule]]
        return ["node(s) didn't match pod affinity/anti-affinity", _REASONS[rule]]

    def pod_added(self, cycle: Cycle, pod: PodInfo, row: int, terminating: bool) -> None:
        self._update(cycle, pod, row, 1)

    def pod_removed(self, cycle: Cycle, pod: PodInfo, row: int, terminating: bool) -> None:
        self._update(cycle, pod, row, -1)

    def _update(self, cycle: Cycle, pod: PodInfo, row: int, sign: int) -> None:
        state: _State | None = cycle.scratch.get(self.name)
        if state is None:
            return
        for key, sums, tally in (*state.repelled, *state.affinity, *state.anti):
            weight = tally.weight(pod, cycle.cluster)
            code = cycle.nodes.label_codes(key)[row]
            if weight and code >= 0:
                sums[code] += sign * weight

    # -- score ---------------------------------------------------------------------------------------------------

    def points_tallies(self, pod: PodInfo, tallies: Tallies) -> list[AffinityPoints]:
        """The tallies that make a pod's score, one a topology key; none when existing preferences are to be ignored."""
        own = bool(pod.preferred_affinity or pod.preferred_anti)
        return points_keys(pod, tallies, self.hard_weight) if own or not self.ignore_existing else []

    def pre_score(self, cycle: Cycle, rows: np.ndarray) -> Status | None:
        tallies = self.points_tallies(cycle.pod, cycle.tallies)
        cycle.scratch[self.name + ".score"] = tallies
        if self.arithmetic == "1.34" and not self._any_pair(cycle, tallies):
            return Status(SKIP)
        return None

    def _any_pair(self, cycle: Cycle, tallies: list[AffinityPoints]) -> bool:
        """Does any placed pod match any term, on a node that has the topology key?"""
        placements = cycle.placements
        for tally in tallies:
            labelled = (cycle.nodes.label_codes(tally.key) >= 0) & (cycle.nodes.alive[: cycle.nodes.count] != 0)
            if (cycle.counts(tally)[labelled] != 0).any():
                return True
            for info in cycle.infos:
                touches = tally.touches(info, cycle.cluster)
                if touches and not sum(touches):
                    pods = np.flatnonzero(placements.spec == info.index)
                    if labelled[placements.node[pods]].any():
                        return True
        return False

    def score(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        points = np.zeros(len(rows), np.int64)
        nodes = cycle.nodes
        for tally in cycle.scratch[self.name + ".score"]:
            _, sums, _ = self._sums(cycle, tally.key, tally)
            domain_points(nodes.label_codes(tally.key), sums, rows, points)
        return points

    def normalize_score(self, cycle: Cycle, rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return spanned_normalize(scores, self.top, self.arithmetic != "1.34")
