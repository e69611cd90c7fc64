"""The gate itself: an answer of now against a baseline, as a list of what moved and a text that says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from experiments.metrics import metric
from experiments.regression.baseline import Answer, Baseline
from experiments.statistics import Interval

Verdict = Literal["same", "within", "better", "worse", "moved", "missing"]
FAILING: tuple[Verdict, ...] = ("better", "worse", "moved", "missing")
SHOWN_STAGES = 3
"""Stages of a pod's start that are named as the reason, the most changed first."""
NAMES_SHOWN = 44
"""Columns of a level's name in the text."""


@dataclass(frozen=True)
class LevelChange:
    """One service level, then and now."""

    name: str
    was: Interval
    now: float
    """Mean over the replications of now; NaN: the scenario has nothing of it any more."""
    verdict: Verdict

    @property
    def percent(self) -> float:
        return 100 * (self.now - self.was.value) / abs(self.was.value) if self.was.value else float("nan")


@dataclass(frozen=True)
class Gate:
    """What a comparison found. It stands open when nothing that counts has moved."""

    levels: tuple[LevelChange, ...]
    objectives: tuple[tuple[str, int, int], ...]
    """Service levels of Kubernetes that are met in fewer replications than before: name, then, now."""
    counters: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    """Exact counters that differ: name, then, now; empty unless they are compared."""
    stages: tuple[tuple[str, float, float], ...]
    """The stages of a pod's start that changed most: name, mean then and now in seconds."""
    replications: int
    exact: bool
    """Whether counters were compared."""
    allow_better: bool
    """Whether a level may improve beyond its interval."""

    @property
    def failed(self) -> tuple[LevelChange, ...]:
        """Levels that moved beyond their intervals."""
        allowed = ("better",) if self.allow_better else ()
        return tuple(level for level in self.levels if level.verdict in FAILING and level.verdict not in allowed)

    @property
    def passed(self) -> bool:
        return not (self.failed or self.objectives or self.counters)

    def text(self) -> str:
        """What moved, a line each; the whole table is `table`."""
        if self.passed:
            counters = ", and every counter is the same" if self.exact else ""
            return f"{len(self.levels)} service levels are within their intervals over {self.replications} replications{counters}."
        lines = []
        if self.failed:
            lines.append(f"{len(self.failed)} of {len(self.levels)} service levels moved beyond their intervals:")
            lines += [f"  {_level(level)}" for level in self.failed]
            if self.stages:
                lines.append("  a pod's start by stage, means, the most changed first:")
                lines += [f"    {name}: {_seconds(was)} → {_seconds(now)}" for name, was, now in self.stages]
        for name, was, now in self.objectives:
            lines.append(f"objective '{name}' is met in {now} of {self.replications} replications, was in {was}")
        if self.counters:
            lines.append(f"{len(self.counters)} exact counters changed:")
            lines += [f"  {_counter(*counter)}" for counter in self.counters]
        lines.append(
            "If this is meant, say why in the same change and update the baseline: kubedes gate --baseline FILE --update"
        )
        return "\n".join(lines)

    def table(self) -> str:
        """Every level, then and now."""
        return "\n".join(_level(level) for level in self.levels)


def compare(baseline: Baseline, now: Answer, exact: bool = False, allow_better: bool = False) -> Gate:
    """Judge `now` against a baseline.

    exact: counters must be equal too. allow_better: a level that improves beyond its interval passes.
    """
    then = baseline.answer
    levels = tuple(_judged(baseline, name, now) for name in then.levels)
    replications = baseline.question.replications
    objectives = tuple(
        (name, was, now.verdicts.get(name, replications))
        for name, was in then.verdicts.items()
        if now.verdicts.get(name, replications) < was
    )
    unheard = {name: met for name, met in now.verdicts.items() if name not in then.verdicts and met < replications}
    objectives += tuple((name, replications, met) for name, met in unheard.items())
    counters = tuple(
        (name, then.counters.get(name, ()), now.counters.get(name, ()))
        for name in dict.fromkeys((*then.counters, *now.counters))
        if exact and then.counters.get(name) != now.counters.get(name)
    )
    shared = [(name, was, now.stages_s[name]) for name, was in then.stages_s.items() if name in now.stages_s]
    changed = [stage for stage in shared if abs(stage[2] - stage[1]) > 1e-9]
    changed.sort(key=lambda stage: -abs(stage[2] - stage[1]))
    return Gate(levels, objectives, counters, tuple(changed[:SHOWN_STAGES]), replications, exact, allow_better)


def _judged(baseline: Baseline, name: str, now: Answer) -> LevelChange:
    was = baseline.interval(name)
    if name not in now.levels:
        return LevelChange(name, was, float("nan"), "missing")
    value = float(np.mean(now.levels[name]))
    if np.allclose(now.levels[name], baseline.answer.levels[name], rtol=1e-8, atol=0):  # the file keeps nine digits
        return LevelChange(name, was, value, "same")
    if value in was:
        return LevelChange(name, was, value, "within")
    better = metric(name).better
    if not better:
        return LevelChange(name, was, value, "moved")
    return LevelChange(name, was, value, "better" if (value < was.low) == (better == "lower") else "worse")


def _level(level: LevelChange) -> str:
    unit = metric(level.name).unit
    was = f"{level.was.value:.4g} {unit} [{level.was.low:.4g}, {level.was.high:.4g}]"
    if level.verdict == "missing":
        return f"{level.name:<{NAMES_SHOWN}} {was} → nothing any more"
    change = "" if level.verdict == "same" else f" ({level.percent:+.3g} %)"
    return f"{level.name:<{NAMES_SHOWN}} {was} → {level.now:.4g} {unit}{change}: {level.verdict}"


def _seconds(value: float) -> str:
    return f"{value * 1000:.4g} ms" if value < 1 else f"{value:.4g} s"


def _counter(name: str, was: tuple[int, ...], now: tuple[int, ...]) -> str:
    if not was or not now:
        return f"{name}: {'new' if not was else 'gone'}"
    before, after = sum(was), sum(now)
    share = f" ({100 * (after - before) / before:+.3g} %)" if before else ""
    differ = sum(a != b for a, b in zip(was, now, strict=False)) + abs(len(was) - len(now))
    return f"{name}: {before:,} → {after:,}{share}, in {differ} of {len(was)} replications"
