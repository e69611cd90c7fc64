"""A baseline: what some replications of a scenario gave, kept in a file that is committed beside the tests.

It names the scenario, not its resolved values: a changed default, preset or calibration is what a gate is to notice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.metrics import Metric, metric, read_metric, statistic_of
from experiments.statistics import Interval, mean_interval
from sim.base.errors import InputError, OutputError, Problems

if TYPE_CHECKING:
    from sim.result.result import Result
    from sim.scenario import Scenario

FORMAT = "kubedes baseline"
FORMAT_VERSION = 1
REPLICATIONS = 5
FEWEST = 2
"""Replications without which there is no interval."""
TOLERANCE = 0.01
"""Share of a level that its interval reaches at least, to both sides: replications that all agree leave none."""
LEVELS = (
    "pod_startup_p50",
    "pod_startup_p99",
    "pod_startup_without_pull_p99",
    "request_to_running_p99",
    "scheduling_p99",
    "binding_p99",
    "mutating_api_call_p99",
    "read_of_one_object_p99",
    "read_of_many_objects_p99",
    "pods_started_mean",
)
"""Service levels that a baseline holds unless others are named; those that a scenario has nothing of are left out."""


@dataclass(frozen=True)
class Question:
    """What is run: the same for the baseline and for every comparison with it."""

    scenario: str
    """Name of a built-in scenario, or a file's path; in a baseline relative to the baseline's folder."""
    sets: tuple[str, ...] = ()
    """`path=value` over the scenario's values."""
    seed: int | None = None
    """None: the scenario's."""
    replications: int = REPLICATIONS
    levels: tuple[str, ...] = LEVELS

    def load(self, folder: Path) -> Scenario:
        """The scenario, looked for from `folder` where it is a file. Raises InputError."""
        from sim.scenario import Scenario

        path = folder / self.scenario
        seed = () if self.seed is None else (f"seed={self.seed}",)
        return Scenario.load(path if path.is_file() else self.scenario, [*self.sets, *seed])


@dataclass(frozen=True)
class Answer:
    """What the replications gave."""

    levels: Mapping[str, tuple[float, ...]]
    """Service level -> its value in each replication."""
    verdicts: Mapping[str, int]
    """`objective: subject` -> in how many replications it was met; "no data" counts as met."""
    stages_s: Mapping[str, float]
    """Stage of a pod's start -> its mean over all replications."""
    counters: Mapping[str, tuple[int, ...]]
    """Exact counter -> its value in each replication."""


@dataclass(frozen=True)
class Baseline:
    """A question with the answer that it had."""

    question: Question
    answer: Answer
    tolerance: float = TOLERANCE

    def interval(self, level: str) -> Interval:
        """What a level may be: the t interval of its mean over the replications, and at least `tolerance` of it."""
        found = mean_interval(np.array(self.answer.levels[level]))
        least = abs(found.value) * self.tolerance
        low, high = min(found.low, found.value - least), max(found.high, found.value + least)
        return Interval(found.value, low, high, found.confidence, found.n)


def ask(question: Question, folder: Path, tell: Callable[[str], None] = lambda text: None) -> Answer:
    """Run every replication. folder: where the scenario's file is looked for. tell: hears what is done.

    Raises InputError for a scenario that cannot run, or with fewer than two replications.
    """
    import sim

    if question.replications < FEWEST:
        raise InputError(f"replications: {question.replications} must be at least {FEWEST}: one run has no interval")
    wanted = [metric(name) for name in question.levels]
    scenario = question.load(folder)
    scenario.check()
    results = []
    for replication in range(question.replications):
        result = sim.simulate(scenario, replication=replication)
        results.append(_summed_up(result, wanted))
        tell(f"replication {replication + 1} of {question.replications}")
    names = [name for name in question.levels if not any(np.isnan(each.levels[name][0]) for each in results)]
    if not names:
        raise InputError(f"levels: {', '.join(question.levels)}: the scenario has nothing of any; name others")
    verdicts: dict[str, int] = {}
    for each in results:
        for name, met in each.verdicts.items():
            verdicts[name] = verdicts.get(name, 0) + met
    stages = {name: float(np.mean([each.stages_s[name] for each in results])) for name in results[0].stages_s}
    return Answer(
        {name: tuple(each.levels[name][0] for each in results) for name in names},
        verdicts,
        {name: value for name, value in stages.items() if value == value},
        {name: tuple(each.counters[name][0] for each in results) for name in results[0].counters},
    )


def _summed_up(result: Result, levels: Sequence[Metric]) -> Answer:
    """One replication's answer."""
    slo = result.slo()
    stages = result.stages()
    summary = result.summary()
    return Answer(
        {str(level): (_value(result, summary, level),) for level in levels},
        {f"{row.objective}: {row.subject}": int(str(row.verdict) != "missed") for row in slo.itertuples()},
        dict(zip(map(str, stages.stage), map(float, stages.mean_s), strict=True)),
        {name: (count,) for name, count in result.record.counters.items()},
    )


def _value(result: Result, summary: Any, level: Metric) -> float:
    if level.of_pods:
        values = result.pods.loc[result.pods.measured, level.name].dropna().to_numpy()
        return statistic_of(values, level.statistic)
    return float(summary.loc[level.name, level.statistic]) if level.name in summary.index else float("nan")


# --- the file


def save(baseline: Baseline, path: Path) -> None:
    """Write the file; figures to nine digits, so that the same answer gives the same bytes. Raises OutputError."""
    rounded = {name: tuple(map(_short, values)) for name, values in baseline.answer.levels.items()}
    baseline = replace(baseline, answer=replace(baseline.answer, levels=rounded))
    levels = {
        name: {
            "unit": metric(name).unit,
            "mean": _short(baseline.interval(name).value),
            "low": _short(baseline.interval(name).low),
            "high": _short(baseline.interval(name).high),
            "values": values,
        }
        for name, values in baseline.answer.levels.items()
    }
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "question": asdict(baseline.question),
        "tolerance": baseline.tolerance,
        "levels": levels,
        "verdicts": dict(baseline.answer.verdicts),
        "stages_s": {name: _short(value) for name, value in baseline.answer.stages_s.items()},
        "counters": dict(baseline.answer.counters),
    }
    work = path.with_name(f".{path.name}.writing")
    try:
        work.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(work, path)
    except OSError as error:
        work.unlink(missing_ok=True)
        raise OutputError(
            f"{path}: the baseline could not be written: {error.strerror}; what was there is kept"
        ) from error


def _short(value: float) -> float:
    return float(f"{value:.9g}")


def load(path: Path) -> Baseline:
    """Read a file that `save` wrote. Raises InputError with all that is wrong."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: there is no baseline; make one: kubedes gate SCENARIO --baseline {path} --update"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    problems = Problems(f"baseline {path}")
    hint = "write it anew with --update"
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        problems.add("format", content.get("format") if isinstance(content, dict) else content, f"must be '{FORMAT}'")
    elif content.get("format_version") != FORMAT_VERSION:
        problems.add("format_version", content.get("format_version"), f"must be {FORMAT_VERSION}", hint)
    problems.raise_if_any()
    try:
        asked = content["question"]
        question = Question(
            str(asked["scenario"]), tuple(map(str, asked["sets"])), asked["seed"], int(asked["replications"]),
            tuple(map(str, asked["levels"])),
        )  # fmt: skip
        answer = Answer(
            {name: tuple(map(float, level["values"])) for name, level in content["levels"].items()},
            {name: int(met) for name, met in content["verdicts"].items()},
            {name: float(value) for name, value in content["stages_s"].items()},
            {name: tuple(map(int, values)) for name, values in content["counters"].items()},
        )
        baseline = Baseline(question, answer, float(content["tolerance"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: is damaged: {type(error).__name__}: {error}; {hint}") from None
    for name in (*question.levels, *answer.levels):
        read_metric(name, "levels", problems, statistic=True)
    for name, values in answer.levels.items():
        if len(values) != question.replications:
            problems.add(
                f"levels.{name}.values", list(values), f"must be {question.replications}, one a replication", hint
            )
    problems.raise_if_any()
    return baseline
