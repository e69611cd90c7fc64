"""Preemption: which pods to evict so that a pod fits, and on which node (framework/preemption/preemption.go, 1.34).

Potential nodes are those that reject the pod in a way eviction can cure. On each, all pods of lower priority are taken
off in a dry run; if the pod then fits, they are put back one by one, those protected by a disruption budget first and
the important before the others, as long as the pod still fits. What stays off is the node's set of victims. Of all such
candidates the six-step choice takes the one that hurts least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sim.scheduler.cluster import DisruptionBudget
from sim.scheduler.dry_run import DryRun
from sim.scheduler.framework import SUCCESS, UNRESOLVABLE, UNSCHEDULABLE
from sim.scheduler.fused import ALWAYS_FITS
from sim.scheduler.plugins.node_resources_fit import NodeResourcesFit
from sim.scheduler.pod_info import PodInfo
from sim.state.nodes import PODS
from sim.state.placements import SPEC
from sim.state.selectors import Selector, selector_of

if TYPE_CHECKING:
    from sim.scheduler.core import Composed, Core

MIN_CANDIDATE_NODES_PERCENTAGE = 10
"""Share of the potential nodes that are tried, percent (DefaultPreemptionArgs, Kubernetes 1.20 and 1.34)."""
MIN_CANDIDATE_NODES = 100
"""Potential nodes that are tried at least (minCandidateNodesAbsolute)."""
PRIORITY_SHIFT = 2**31
"""Added to every victim's priority before summing, so that more victims never weigh less."""

BY_PREEMPTION = 2
"""Value of `Placements.terminating` for a pod that the scheduler evicted itself."""

NOT_ELIGIBLE, NO_CANDIDATE, PREEMPT = "notEligible", "noCandidate", "preempt"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node where eviction helps."""

    node: int
    victims: tuple[int, ...]
    """Pod ids, the most important first."""
    violations: int
    """Victims whose eviction breaks a disruption budget."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A potential node where eviction does not help."""

    node: int
    status: int
    rejected_by: int
    """Index in the filter order, -1 when there is nobody to evict."""
    reasons: tuple[str, ...]


@dataclass(slots=True)
class Preemption:
    """What `Core.preempt` found."""

    outcome: str
    """notEligible, noCandidate or preempt."""
    node: int = -1
    victims: tuple[int, ...] = ()
    message: str = ""
    candidates: list[Candidate] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    potential: list[int] = field(default_factory=list)
    ties: list[int] = field(default_factory=list)
    """Nodes among which the choice is free, ascending."""
    decided_by: int = -1
    """The last step (0 to 4) that the choice needed, 5 when ties remain, -1 with a single candidate."""
    clears_nomination: bool = False
    """Nothing helps: an earlier nomination of the pod is void."""
    dry_runs: int = 0
    """Nodes tried: the exact work."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A disruption budget made ready."""

    namespace: str
    selector: Selector
    allowed: int
    granted: frozenset[int]

    @classmethod
    def read(cls, budget: DisruptionBudget) -> Budget:
        return cls(
            budget.namespace, selector_of(budget.selector), budget.disruptions_allowed, budget.disrupted_pods
        )

    def covers(self, pod: int, info: PodInfo) -> bool:
        """Does evicting this pod use the budget? Not for an empty selector, a pod without labels or one granted."""
        if info.namespace != self.namespace or self.selector.empty or not info.labels:
            return False
        return self.selector.matches(info.labels) and pod not in self.granted


def split_by_budgets(
    pods: Sequence[int], infos: Sequence[PodInfo], budgets: Sequence[Budget]
) -> tuple[list[int], list[int]]:
    """(positions that violate a budget, positions that do not), pods taken in their order; each uses every budget that
    covers it, whatever becomes of it."""
    left = [budget.allowed for budget in budgets]
    violating: list[int] = []
    fine: list[int] = []
    for position, (pod, info) in enumerate(zip(pods, infos, strict=True)):
        broken = False
        for index, budget in enumerate(budgets):
            if budget.covers(pod, info):
                left[index] -= 1
                broken |= left[index] < 0
        (violating if broken else fine).append(position)
    return violating, fine


class _Trial(Protocol):
    """Potential victims of one node, by position: taken off and put back, and whether the pod fits meanwhile."""

    def take_off(self, position: int) -> None: ...

    def put_back(self, position: int) -> None: ...

    def fits(self) -> bool: ...

    def verdict(self) -> Dropped | None:
        """Why the pod does not fit, None when it does."""


class _FilterTrial:
    """Asks the filters, after every change."""

    def __init__(
        self, attempt: Evaluator, row: int, infos: list[PodInfo], ending: list[bool], nominated: list[PodInfo]
    ) -> None:
        filtered = attempt.composed.filtered
        self._run = DryRun(
            attempt.core.framework, attempt.composed.cycle, filtered.skipped, int(filtered.rejected_by[row])
        )
        self._row = row
        self._infos = infos
        self._ending = ending
        self._nominated = nominated

    def take_off(self, position: int) -> None:
        self._run.remove(self._infos[position], self._row, self._ending[position])

    def put_back(self, position: int) -> None:
        self._run.add(self._infos[position], self._row, self._ending[position])

    def fits(self) -> bool:
        return self._run.filter(self._row, self._nominated)[0] == SUCCESS

    def verdict(self) -> Dropped | None:
        code, index, reasons = self._run.filter(self._row, self._nominated)
        return None if code == SUCCESS else Dropped(self._row, code, index, tuple(reasons))


class _RoomTrial:
    """Counts what is free, where nothing but resources can reject the pod."""

    def __init__(self, attempt: Evaluator, row: int, specs: list[int]) -> None:
        nodes = attempt.core.nodes
        self._attempt = attempt
        self._row = row
        self._specs = specs
        # one entry for the number of pods, then one for every resource in question
        self._free = [int(nodes.allocatable(PODS)[row] - nodes.requested(PODS)[row])]
        self._free += [int(nodes.allocatable(each[0])[row] - nodes.requested(each[0])[row]) for each in attempt.wanted]
        self._needed = [1, *(each[1] if each[1] or each[2] else ALWAYS_FITS for each in attempt.wanted)]

    def take_off(self, position: int) -> None:
        self._free = [free + held for free, held in zip(self._free, self._held(position), strict=True)]

    def put_back(self, position: int) -> None:
        self._free = [free - held for free, held in zip(self._free, self._held(position), strict=True)]

    def fits(self) -> bool:
        return all(needed <= free for needed, free in zip(self._needed, self._free, strict=True))

    def verdict(self) -> Dropped | None:
        if self.fits():
            return None
        attempt, wanted, free = self._attempt, self._attempt.wanted, self._free
        short = [each[0] for each, needed, left in zip(wanted, self._needed[1:], free[1:], strict=True) if needed > left]
        names = {resource: name for name, resource in attempt.core.nodes.resources.items()}
        reasons = ["Too many pods"] if free[0] < 1 else []
        reasons += [f"Insufficient {names[resource]}" for resource in short]
        return Dropped(self._row, attempt.fit_code(self._row), attempt.fit_index, tuple(reasons))

    def _held(self, position: int) -> list[int]:
        return self._attempt.held(self._specs[position])


class Evaluator:
    """One preemption attempt of one pod.

    try_room: where only resources decide, count them instead of running the filters (the slow twin)."""

    def __init__(self, core: Core, pod: int, spec: int, composed: Composed, try_room: bool = True) -> None:
        self.core = core
        self._pod = pod
        self._info = core.info(spec)
        self.composed = composed
        self._nominated = core.nominated_beside(pod, self._info)
        self._budgets = [Budget.read(budget) for budget in core.cluster.budgets]
        self._priorities = [info.spec.priority for info in core.infos]
        self._lower = [priority < self._info.spec.priority for priority in self._priorities]
        self._has_victims = np.zeros(core.nodes.count, bool)
        if any(self._lower):
            specs = core.placements.spec
            placed = np.flatnonzero(specs >= 0)
            below = placed[np.array(self._lower)[specs[placed]]]
            self._has_victims[core.placements.node[below]] = True
        skipped = composed.filtered.skipped
        asked = [plugin for plugin in core.framework.filters if plugin.name not in skipped and not plugin.node_only]
        fit = asked[0] if len(asked) == 1 else None
        self.wanted: list[list[int]] = []
        self.fit_index = -1
        self._room_decides = False
        if try_room and isinstance(fit, NodeResourcesFit):
            self._room_decides = True
            self.wanted = fit.wanted(composed.cycle).tolist()
            self.fit_index = core.framework.filters.index(fit)
        self._takes: dict[int, list[int]] = {}

    def held(self, spec: int) -> list[int]:
        """What one pod of a spec holds: one pod, then the resources in question."""
        found = self._takes.get(spec)
        if found is None:
            requests = self.core.info(spec).requests
            by_resource = {self.core.nodes.resource(name): amount for name, amount in requests.items()}
            found = self._takes[spec] = [1, *(by_resource.get(each[0], 0) for each in self.wanted)]
        return found

    def fit_code(self, row: int) -> int:
        """The resource filter's word on a node that is too small even without its victims."""
        nodes = self.core.nodes
        beyond = any(each[1] > nodes.allocatable(each[0])[row] for each in self.wanted)
        return UNRESOLVABLE if beyond and self.core.profile.arithmetic == "1.34" else UNSCHEDULABLE

    def run(self, offset_draw: float | None = None, tie_draw: float = 0.0) -> Preemption:
        """The whole of PostFilter. offset_draw: uniform in [0, 1), where among the potential nodes to begin a search that
        ends early; None tries every node from the first. tie_draw: uniform in [0, 1), which of equal candidates."""
        reason = self._not_eligible()
        if reason:
            return Preemption(NOT_ELIGIBLE, message=reason)
        result = Preemption(NO_CANDIDATE, potential=self._potential())
        self._try_nodes(result, offset_draw)
        if not result.candidates:
            result.message = self._message(result)
            result.clears_nomination = self.core.nomination(self._pod) >= 0
            return result
        result.outcome = PREEMPT
        best, result.decided_by = self._choose(result.candidates)
        result.ties = sorted(candidate.node for candidate in best)
        chosen = best[min(int(tie_draw * len(best)), len(best) - 1)]
        result.node, result.victims = chosen.node, chosen.victims
        return result

    # -- may it preempt at all? ----------------------------------------------------------------------------------

    def _not_eligible(self) -> str:
        if self._info.spec.preemption_policy == "Never":
            return "not eligible due to preemptionPolicy=Never."
        node = self.core.nomination(self._pod)
        filtered = self.composed.filtered
        if node < 0 or (filtered.rejection is None and filtered.status[node] == UNRESOLVABLE):
            return ""
        places = self.core.placements
        for pod in places.on_node(node):
            lower = self.core.info(int(places.spec[pod])).spec.priority < self._info.spec.priority
            if lower and places.terminating[pod] == BY_PREEMPTION:
                return "not eligible due to a terminating pod on the nominated node."
        return ""

    def _potential(self) -> list[int]:
        filtered = self.composed.filtered
        if filtered.rejection is not None:
            return []
        rows = self.core.order.rows()
        return [int(row) for row in rows[filtered.status[rows] == UNSCHEDULABLE]]

    # -- the dry run ---------------------------------------------------------------------------------------------

    def _try_nodes(self, result: Preemption, draw: float | None) -> None:
        nodes = result.potential
        count = len(nodes)
        wanted, offset = count, 0
        if draw is not None and count:
            share = max(count * MIN_CANDIDATE_NODES_PERCENTAGE // 100, MIN_CANDIDATE_NODES)
            wanted, offset = min(share, count), int(draw * count)
        without_violation = False
        for step in range(count):
            row = nodes[(offset + step) % count]
            result.dry_runs += 1
            found = self._select_victims(row)
            if isinstance(found, Dropped):
                result.dropped.append(found)
                continue
            result.candidates.append(found)
            without_violation |= found.violations == 0
            if without_violation and len(result.candidates) >= wanted and draw is not None:
                break
        result.candidates.sort(key=lambda candidate: candidate.node)
        result.dropped.sort(key=lambda dropped: dropped.node)
        result.potential = sorted(nodes)

    def _select_victims(self, row: int) -> Candidate | Dropped:
        core, places = self.core, self.core.placements
        if not self._has_victims[row]:
            return Dropped(row, UNRESOLVABLE, -1, ("No preemption victims found for incoming pod",))
        lower = self._lower
        pods = [pod for pod in places.on_node(row) if lower[places.pods[SPEC, pod]]]
        pods.sort(key=self._importance)
        specs = [int(places.pods[SPEC, pod]) for pod in pods]
        nominated = self._nominated.get(row, [])
        trial: _Trial
        if self._room_decides and not nominated:
            trial = _RoomTrial(self, row, specs)
        else:
            ending = [bool(places.terminating[pod]) for pod in pods]
            trial = _FilterTrial(self, row, [core.info(spec) for spec in specs], ending, nominated)
        for position in range(len(pods)):
            trial.take_off(position)
        dropped = trial.verdict()
        if dropped is not None:
            for position in range(len(pods)):
                trial.put_back(position)
            return dropped
        violating: list[int] = []
        fine = list(range(len(pods)))
        if self._budgets:
            violating, fine = split_by_budgets(pods, [core.info(spec) for spec in specs], self._budgets)
        victims: list[int] = []
        violations = 0
        for position in (*violating, *fine):
            trial.put_back(position)
            if not trial.fits():
                trial.take_off(position)
                victims.append(position)
                violations += position in violating
        for position in victims:
            trial.put_back(position)
        chosen = [pods[position] for position in victims]
        if violating and fine:
            chosen.sort(key=self._importance)
        return Candidate(row, tuple(chosen), violations)

    def _importance(self, pod: int) -> tuple[int, float]:
        places = self.core.placements
        return -self._priorities[places.pods[SPEC, pod]], places.start_s[pod]

    # -- the choice ----------------------------------------------------------------------------------------------

    def _choose(self, candidates: list[Candidate]) -> tuple[list[Candidate], int]:
        """(the equally good ones, the last step needed)."""
        if len(candidates) == 1:
            return candidates, -1
        best = candidates
        for step in range(5):
            grades = [self._grade(candidate, step) for candidate in best]
            least = min(grades)
            best = [candidate for candidate, grade in zip(best, grades, strict=True) if grade == least]
            if len(best) == 1:
                return best, step
        return best, 5

    def _grade(self, candidate: Candidate, step: int) -> float:
        """Smaller is better: violations, highest victim, sum of victims, number, latest earliest start."""
        if step == 0:
            return candidate.violations
        priorities = [self._priority(pod) for pod in candidate.victims]
        if step == 1:
            return priorities[0]
        if step == 2:
            return sum(priority + PRIORITY_SHIFT for priority in priorities)
        if step == 3:
            return len(priorities)
        starts = self.core.placements.start_s[list(candidate.victims)]
        return -float(starts[np.array(priorities) == max(priorities)].min())

    def _priority(self, pod: int) -> int:
        return self.core.info(int(self.core.placements.spec[pod])).spec.priority

    def _message(self, result: Preemption) -> str:
        """Why no node helps, as a FitError."""
        total = self.core.nodes.alive_count
        counts: dict[str, int] = {}
        for dropped in result.dropped:
            for reason in dropped.reasons:
                counts[reason] = counts.get(reason, 0) + 1
        if total > len(result.dropped):
            counts["Preemption is not helpful for scheduling"] = total - len(result.dropped)
        listed = sorted(f"{count} {reason}" for reason, count in counts.items())
        return f"preemption: 0/{total} nodes are available: {', '.join(listed)}."
