"""The PodDisruptionBudgets of a run: what evictions and preemption may take away at a moment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.scheduler.cluster import DisruptionBudget
from sim.state.budgets import PodDisruptionBudget
from sim.state.objects import PodSpec
from sim.state.pods import Phase, PodTable
from sim.state.selectors import selector_of


class Budgets:
    """Every budget with the templates and applications that it selects; what it allows is counted when somebody asks.

    The disruption controller's own delay, some milliseconds, is left out: a budget always says what holds now.
    """

    def __init__(
        self,
        budgets: Sequence[PodDisruptionBudget],
        pods: PodTable,
        templates: Sequence[PodSpec],
        app_template: np.ndarray,
        app_pods: np.ndarray,
    ) -> None:
        self._budgets = budgets
        self._pods = pods
        self._selects = [
            np.array(
                [
                    template.namespace == budget.namespace and selector_of(budget.selector).matches(dict(template.labels))
                    for template in templates
                ],
                bool,
            )
            for budget in budgets
        ]
        self._expected = [int(app_pods[selected[app_template]].sum()) for selected in self._selects]

    def allowed(self, number: int) -> int:
        """Pods that one budget lets go now."""
        ids = {name: np.frombuffer(self._pods.ids[name], np.int32) for name in ("phase", "template")}
        kept = np.isnan(np.frombuffer(self._pods.times["delete_requested_s"]))
        ready = (ids["phase"] == Phase.RUNNING) & kept & self._selects[number][ids["template"]]
        return self._budgets[number].allowed(self._expected[number], int(np.count_nonzero(ready)))

    def allows(self, pod: int) -> bool:
        """Whether the eviction API lets a pod go: one budget may select it, two are an error, and pending pods always may."""
        if self._pods.ids["phase"][pod] != Phase.RUNNING:
            return True
        template = self._pods.ids["template"][pod]
        over = [number for number, selects in enumerate(self._selects) if selects[template]]
        return not over or (len(over) == 1 and self.allowed(over[0]) > 0)

    def now(self) -> tuple[DisruptionBudget, ...]:
        """As preemption sees them."""
        return tuple(
            DisruptionBudget(budget.namespace, budget.selector, self.allowed(number))
            for number, budget in enumerate(self._budgets)
        )
