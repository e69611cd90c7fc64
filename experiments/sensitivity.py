"""Which numbers of a scenario matter: one at a time, Morris screening, Sobol indices.

    found = experiments.sensitivity("quick", {"scheduler.qps": {"from": 25, "to": 100}, "apiserver.*": 2}, "pod_startup_p99",
                                    out="results/what-matters")
    found.table, found.tornado()

A factor is a number of the scenario, or a distribution, which is scaled as a whole. It is given as a range
`{from, to}` or as one number k above 1: from the scenario's value / k to its value x k, within the field's bounds. A path
may hold `*`, or be `unverified`: every number that nobody has measured.

one-at-a-time: each factor at both ends, the others as the scenario has them: two designs a factor. What it finds holds near
the scenario only.
morris: the elementary effects along random paths through the whole box: mu* says how much a factor matters, sigma how much that
depends on the others. (factors + 1) designs a trajectory.
sobol: which share of the metric's variance over the box is due to a factor alone (S1) and with all it meets (ST): samples x
(factors + 2) designs.

The designs are a sweep: they run on all cores, meet the same random numbers, and go on where they were stopped. Sources: M. D.
Morris, Factorial sampling plans for preliminary computational experiments, 1991; A. Saltelli et al., Variance based
sensitivity analysis of model output, 2010; the sampling and the estimators are SALib's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from experiments.launch import run
from experiments.metrics import Metric, read_metric
from experiments.statistics import CONFIDENCE, holm, paired
from experiments.sweep import Sweep
from sim.base.errors import InputError, Problems, near_miss
from sim.base.paths import format_path
from sim.base.spec_tree import Parameter, parameters
from sim.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from experiments.store import Runs

Method = Literal["one-at-a-time", "morris", "sobol"]

UNVERIFIED = "unverified"
"""In place of a path: every parameter without a measurement."""
MOST_FACTORS = 500
MOST_SHOWN = 20
"""Bars of a tornado."""
LEVELS = 4
"""Of a Morris grid, as Morris recommends."""
_NOT_A_FACTOR = ("seed", "warm_up_s", "sample_period_s")
"""They change what is looked at, not what happens."""
_SHAPE = ("dist", "sigma", "scv", "shape", "alpha", "weights")
"""Fields of distributions that a scaling of their values leaves alone."""


@dataclass(frozen=True)
class Factor:
    """One number that is varied. A distribution's coordinate is the factor by which it is scaled."""

    path: str
    low: float
    high: float
    base: float
    """The scenario's own."""
    whole: bool = False
    distribution: Mapping[str, Any] | None = None
    unit: str = ""

    def at(self, coordinate: float) -> Any:
        """The scenario's value there."""
        if self.distribution is not None:
            return scaled(self.distribution, coordinate)
        return round(coordinate) if self.whole else float(f"{coordinate:.12g}")


@dataclass(frozen=True)
class Sensitivity:
    """What was found."""

    scenario: str
    metric: Metric
    method: Method
    confidence: float
    replications: int
    factors: tuple[Factor, ...]
    table: pd.DataFrame
    """One row a factor, the one that matters most first.

    one-at-a-time: at_low, base, at_high, the swing (at_high - at_low) with its interval and p after Holm's correction; morris:
    mu, mu_star with its half width, sigma; sobol: S1 and ST with their half widths.
    """
    runs: Runs

    def tornado(self) -> Figure:
        """Bars by factor, the largest on top: between both ends one at a time, mu* or the Sobol indices otherwise."""
        from experiments.report.drawings import sensitivity_indices, tornado

        shown = self.table.head(MOST_SHOWN)
        if self.method == "one-at-a-time":
            return tornado(shown, str(self.metric), self.metric.unit)
        return sensitivity_indices(shown, self.method, str(self.metric), self.metric.unit)

    def sentence(self) -> str:
        """What matters most, in words."""
        ranked = self.table[self.table["weight"] > 0]
        if not len(ranked):
            return f"None of the {len(self.factors)} factors changes {self.metric}."
        if self.method == "one-at-a-time":
            sure = ranked[ranked["p_holm"] < 1 - self.confidence]
            if not len(sure):
                return (f"No factor moves {self.metric} beyond chance with {self.replications} replications; the largest swing seen is "
                        f"that of {ranked['path'].iloc[0]} ({_amount(float(ranked['weight'].iloc[0]), self)}).")
            ranked = sure
        top = ranked.head(3)
        names = [f"{path} ({_amount(float(weight), self)})" for path, weight in zip(top["path"], top["weight"], strict=True)]
        small = int((self.table["weight"] < 0.05 * ranked["weight"].max()).sum())
        tail = f"; {small} of {len(self.factors)} matter less than a twentieth of the first" if small else ""
        return f"{self.metric} depends most on {', '.join(names)}{tail}."

    def __repr__(self) -> str:
        return f"<Sensitivity of {self.metric} in {self.scenario}, {self.method}: {len(self.factors)} factors>"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.sentence())}</p>{self.table.to_html(float_format='{:.4g}'.format, index=False)}"


def sensitivity(
    cluster: Scenario | str,
    factors: Mapping[str, Any],
    metric: str,
    out: str | os.PathLike[str],
    *,
    method: Method = "one-at-a-time",
    replications: int = 3,
    trajectories: int = 10,
    samples: int = 64,
    confidence: float = CONFIDENCE,
    workers: int | None = None,
    on: str | Executor | None = None,
    quiet: bool = False,
) -> Sensitivity:
    """Find which factors move `metric`.

    factors: path -> range, see the module. metric: with its statistic, `pod_startup_p99`. out: the folder of the runs, one of
    the same question goes on. trajectories: of morris; samples: of sobol, a power of two. `InputError` before the first run for
    what cannot be varied.
    """
    scenario = Scenario.load(cluster) if isinstance(cluster, str) else cluster
    problems = Problems("sensitivity")
    wanted = read_metric(metric, "metric", problems, statistic=True)
    if method not in get_args(Method):
        problems.add("method", method, "is no method", near_miss(str(method), get_args(Method)))
    if isinstance(samples, bool) or samples < 2 or samples & (samples - 1):
        problems.add("samples", samples, "must be a power of two from 2", "the Sobol sequence is balanced only there")
    if isinstance(trajectories, bool) or trajectories < 2:
        problems.add("trajectories", trajectories, "must be at least 2")
    chosen = factors_of(scenario, factors, problems)
    problems.raise_if_any()
    assert wanted is not None
    points = _points(chosen, method, trajectories, samples, scenario.seed)
    unique = np.unique(points, axis=0)
    axes = [{factor.path: factor.at(x) for factor, x in zip(chosen, row, strict=True)} for row in unique]
    named = [{"name": f"{method} {number}", **values} for number, values in enumerate(_distinct(axes))]
    runs = run(
        Sweep(scenario, axes=named, mode="list", replications=replications, name=f"sensitivity of {metric}"),
        out, workers, on, quiet=quiet,
    )
    answers = _answers(runs, wanted, named, chosen, points)
    table = {"one-at-a-time": _one_at_a_time, "morris": _morris, "sobol": _sobol}[method](
        chosen, points, answers, confidence, scenario.seed
    )
    table = table.sort_values("weight", ascending=False, kind="stable", na_position="last").reset_index(drop=True)
    return Sensitivity(scenario.name, wanted, method, confidence, replications, tuple(chosen), table, runs)


# --- the factors


def factors_of(scenario: Scenario, asked: Mapping[str, Any], problems: Problems) -> list[Factor]:
    """The factors that `asked` names, in the scenario's order; `problems` gets what cannot be varied."""
    known = {format_path(parameter.path): parameter for parameter in parameters(scenario)}
    numeric = {path: p for path, p in known.items() if _coordinate(p) is not None and path not in _NOT_A_FACTOR}
    found: dict[str, Factor] = {}
    if not asked:
        problems.add("factors", dict(asked), "is empty", "name at least one, such as {scheduler.qps: 2}")
    for name, given in asked.items():
        pattern = "*" in name or name == UNVERIFIED
        paths = [path for path, p in numeric.items() if (p.unverified if name == UNVERIFIED else fnmatchcase(path, name))]
        if not paths:
            if name in known:
                problems.add(f"factors.{name}", known[name].value, "is no number that can be varied")
            else:
                problems.add(f"factors.{name}", given, "matches nothing" if pattern else "is no parameter of the scenario",
                             near_miss(name, numeric))
        for path in paths:
            factor = _factor(path, numeric[path], given, f"factors.{name}", problems, pattern)
            if factor is not None:
                found.setdefault(path, factor)
    if len(found) > MOST_FACTORS:
        problems.add("factors", len(found), f"are more than {MOST_FACTORS}", "narrow the paths")
    if asked and not found and not problems:
        problems.add("factors", list(asked), "leave nothing to vary", "what they name is 0, which a factor cannot scale; give {from, to}")
    return [found[path] for path in known if path in found]


def _coordinate(parameter: Parameter) -> float | None:
    value = parameter.value
    if isinstance(value, Mapping) and "dist" in value:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _factor(
    path: str, parameter: Parameter, given: Any, where: str, problems: Problems, pattern: bool
) -> Factor | None:
    """The factor, or None: what a pattern meets and cannot scale (a 0) is passed over."""
    base = _coordinate(parameter)
    assert base is not None
    distribution = parameter.value if isinstance(parameter.value, Mapping) else None
    whole = isinstance(parameter.value, int) and distribution is None
    if isinstance(given, Mapping):
        numbers = [given.get("from"), given.get("to")]
        if set(given) != {"from", "to"} or any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
            problems.add(where, dict(given), "is no range", "write {from: 25, to: 100}, or one number: 2 is from half to twice")
            return None
        low, high = float(given["from"]), float(given["to"])
    elif isinstance(given, bool) or not isinstance(given, int | float) or not given > 1:
        problems.add(where, given, "must be a number above 1, or a range", "2 is from half to twice the scenario's value")
        return None
    elif base == 0:
        if not pattern:
            problems.add(where, base, "is 0, which no factor changes", "give {from, to}")
        return None
    else:
        least, most = _bounds(parameter) if distribution is None else (0.0, math.inf)
        low, high = sorted((max(least, min(most, base / given)), max(least, min(most, base * given))))
    if whole:
        low, high = float(round(low)), float(round(high))
    if not low < high:
        if not pattern:
            problems.add(where, [low, high], "leaves no room to vary", "the first end must be below the second")
        return None
    return Factor(path, low, high, base, whole, distribution, "x" if distribution is not None else parameter.unit)


def _bounds(parameter: Parameter) -> tuple[float, float]:
    least, most = -math.inf, math.inf
    for bound in filter(None, parameter.bounds.split(", ")):
        sign, number = bound.split(" ")
        if sign.startswith(">"):
            least = float(number)
        else:
            most = float(number)
    return least, most


def scaled(distribution: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """A distribution whose draws are `factor` times as large."""

    def scale(value: Any) -> Any:
        if isinstance(value, Mapping):
            return scaled(value, factor)
        if isinstance(value, list | tuple):
            return [scale(item) for item in value]
        return value if value is None else float(f"{value * factor:.12g}")

    return {key: value if key in _SHAPE else scale(value) for key, value in distribution.items()}


# --- the designs


def _points(factors: Sequence[Factor], method: Method, trajectories: int, samples: int, seed: int) -> np.ndarray:
    """float64 (designs, factors): coordinates, repeated rows included."""
    if method == "one-at-a-time":
        base = np.array([factor.base for factor in factors])
        rows = [base]
        for number, factor in enumerate(factors):
            for end in (factor.low, factor.high):
                rows.append(base.copy())
                rows[-1][number] = end
        return np.array(rows)
    if method == "morris":
        from SALib.sample import morris

        drawn = morris.sample(_problem(factors), trajectories, num_levels=LEVELS, seed=seed)
    else:
        from SALib.sample import sobol

        drawn = sobol.sample(_problem(factors), samples, calc_second_order=False, seed=seed)
    return np.asarray(drawn, np.float64)


def _problem(factors: Sequence[Factor]) -> dict[str, Any]:
    return {
        "num_vars": len(factors),
        "names": [factor.path for factor in factors],
        "bounds": [[factor.low, factor.high] for factor in factors],
    }


def _distinct(designs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each design once: rounding to whole numbers makes some equal."""
    return list({_key(values): values for values in designs}.values())


def _key(values: Mapping[str, Any]) -> str:
    return repr(sorted((path, value) for path, value in values.items() if path != "name"))


def _answers(
    runs: Runs, metric: Metric, designs: Sequence[Mapping[str, Any]], factors: Sequence[Factor], points: np.ndarray
) -> np.ndarray:
    """float64 (points, replications): the metric at each point; `InputError` when one has no value."""
    frame = runs.values(metric)
    by_name = {
        str(name): group.sort_values("rep")["value"].to_numpy(np.float64)
        for name, group in frame.groupby("design", observed=True)
    }
    failed = runs.table[runs.table["status"] != "done"]
    name_of = {_key(values): str(values["name"]) for values in designs}
    found = [by_name.get(name_of[_key({f.path: f.at(x) for f, x in zip(factors, row, strict=True)})]) for row in points]
    if len(failed) or any(values is None or np.isnan(values).any() for values in found):
        why = str(failed["error"].iloc[0]).splitlines()[0] if len(failed) else f"{metric} has no value in some runs"
        raise InputError(f"{runs.path}: the sensitivity needs {metric} of every run: {why}; narrow the ranges")
    return np.array(found)


# --- what they say


def _one_at_a_time(
    factors: Sequence[Factor], points: np.ndarray, answers: np.ndarray, confidence: float, seed: int
) -> pd.DataFrame:
    import pandas as pd

    base = answers[0]
    rows = []
    for number, factor in enumerate(factors):
        low, high = answers[1 + 2 * number], answers[2 + 2 * number]
        swing = paired(low, high, confidence)
        values = [float(side.mean()) for side in (low, base, high)]
        rows.append([
            factor.path, factor.unit, factor.low, factor.base, factor.high, *values,
            swing.interval.value, swing.interval.low, swing.interval.high, swing.p_value,
            max(values) - min(values),
        ])
    table = pd.DataFrame(rows, columns=[
        "path", "unit", "low", "value", "high", "at_low", "base", "at_high", "swing", "swing_low", "swing_high", "p", "weight",
    ])
    table["p_holm"] = holm(table.pop("p").to_numpy())
    return table


def _morris(
    factors: Sequence[Factor], points: np.ndarray, answers: np.ndarray, confidence: float, seed: int
) -> pd.DataFrame:
    import pandas as pd
    from SALib.analyze import morris

    found = morris.analyze(_problem(factors), points, answers.mean(axis=1), num_levels=LEVELS, conf_level=confidence, seed=seed)
    table = pd.DataFrame({
        **_ranges(factors), "mu": found["mu"], "mu_star": found["mu_star"], "mu_star_half_width": found["mu_star_conf"],
        "sigma": found["sigma"],
    })
    return table.assign(weight=table["mu_star"])


def _sobol(
    factors: Sequence[Factor], points: np.ndarray, answers: np.ndarray, confidence: float, seed: int
) -> pd.DataFrame:
    import pandas as pd
    from SALib.analyze import sobol

    values = answers.mean(axis=1)
    if np.ptp(values) == 0:  # no variance to divide
        zero = np.zeros(len(factors))
        found = dict.fromkeys(("S1", "S1_conf", "ST", "ST_conf"), zero)
    else:
        found = sobol.analyze(_problem(factors), values, calc_second_order=False, conf_level=confidence, seed=seed)
    table = pd.DataFrame({
        **_ranges(factors), "s1": found["S1"], "s1_half_width": found["S1_conf"], "st": found["ST"], "st_half_width": found["ST_conf"],
    })
    return table.assign(weight=table["st"])


def _ranges(factors: Sequence[Factor]) -> dict[str, list[Any]]:
    return {name: [getattr(factor, field) for factor in factors]
            for name, field in (("path", "path"), ("unit", "unit"), ("low", "low"), ("value", "base"), ("high", "high"))}


def _amount(weight: float, found: Sensitivity) -> str:
    if found.method == "sobol":
        return f"{weight:.0%} of the variance"
    return f"{weight:.3g} {found.metric.unit}"


def read_factors(texts: Sequence[str]) -> dict[str, Any]:
    """`PATH=25..100` and `PATH=x2`, as the command line has them; `InputError` for anything else."""
    problems = Problems("--vary")
    found: dict[str, Any] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        low, dots, high = value.partition("..")
        try:
            found[path] = {"from": float(low), "to": float(high)} if dots else float(value.removeprefix("x"))
            if not equals or not (dots or value.startswith("x")):
                raise ValueError
        except ValueError:
            problems.add(text, value, "must be PATH=LOW..HIGH or PATH=xK", "scheduler.qps=25..100, or 'apiserver.*=x2'")
    problems.raise_if_any()
    return found


def folder_for(scenario: str, metric: str) -> Path:
    """Where the command keeps the runs unless told."""
    return Path("results") / f"sensitivity-{Path(scenario).stem}-{metric}"
