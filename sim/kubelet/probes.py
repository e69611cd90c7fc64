"""Probes: when a container's answers first tell the kubelet something new.

A probe worker looks at its ticks, which run since the pod came to the node, not since the container started. What the
program will answer at a tick is known beforehand, so the moment of each result is worked out, and the ticks between cost nothing.
`tick_by_tick` is the slow twin that looks at every tick.

Source: Kubernetes 1.20 and 1.34 source, pkg/kubelet/prober/worker.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf

from sim.state.objects import Probe


@dataclass(frozen=True, slots=True)
class Ticks:
    """One probe worker's looks: every `period_s` from `phase_s` on, and once at `extra_s` where a sync asks for it."""

    phase_s: float
    period_s: float
    extra_s: float = inf

    def nth_from(self, at_s: float, number: int) -> float:
        """The `number`-th look at or after `at_s`, from 1."""
        tick_s = self.phase_s + max(0, ceil((at_s - self.phase_s) / self.period_s - 1e-12)) * self.period_s
        if at_s <= self.extra_s < inf:
            before = max(0, ceil((self.extra_s - tick_s) / self.period_s))
            if number == before + 1:
                return self.extra_s
            if number > before + 1:
                number -= 1
        return tick_s + (number - 1) * self.period_s


@dataclass(frozen=True, slots=True)
class Answering:
    """When the program answers: from `from_s` until `until_s` (absolute); afterwards it hangs, and a look takes its time-out."""

    from_s: float
    until_s: float = inf


def first_success_s(probe: Probe, ticks: Ticks, may_begin_s: float, answering: Answering) -> float:
    """When the probe's success is known; inf: never. may_begin_s: no look counts before, because of the delay or other probes."""
    begin_s = max(may_begin_s, answering.from_s)
    at_s = ticks.nth_from(begin_s, probe.success_threshold)
    return at_s if at_s < answering.until_s else inf


def first_failure_s(probe: Probe, ticks: Ticks, may_begin_s: float, answering: Answering) -> float:
    """When the probe's failure is known; inf: never. A program that does not answer yet refuses at once, one that hangs lets
    the look run into its time-out."""
    at_s = ticks.nth_from(may_begin_s, probe.failure_threshold)
    if at_s < answering.from_s:
        return at_s
    if answering.until_s == inf:
        return inf
    if (
        ticks.nth_from(max(may_begin_s, answering.from_s), 1) < answering.until_s
    ):  # a good look breaks the row of bad ones
        at_s = ticks.nth_from(max(may_begin_s, answering.until_s), probe.failure_threshold)
    return at_s + probe.timeout_s


def tick_by_tick(
    probe: Probe, ticks: Ticks, may_begin_s: float, answering: Answering, horizon_s: float
) -> tuple[float, float]:
    """The slow twin: (first success, first failure) known, by looking at every tick; inf where none comes before the horizon."""
    looks = [ticks.phase_s + i * ticks.period_s for i in range(int((horizon_s - ticks.phase_s) / ticks.period_s) + 1)]
    if ticks.extra_s < horizon_s:
        looks = sorted({*looks, ticks.extra_s})
    success_s = failure_s = inf
    last, run = None, 0
    for at_s in looks:
        if at_s < may_begin_s - 1e-9:
            continue
        answers = answering.from_s <= at_s < answering.until_s
        run = run + 1 if answers == last else 1
        last = answers
        if answers and run >= probe.success_threshold:
            success_s = min(success_s, at_s)
        if not answers and run >= probe.failure_threshold:
            known_s = at_s + (probe.timeout_s if at_s >= answering.until_s else 0)
            failure_s = min(failure_s, known_s)
    return success_s, failure_s
