"""Two designs side by side: what got better or worse, how surely, and why.

Replications of the same seed and number met the same pods, so they are compared pair by pair; otherwise the means are,
by Welch's t. A metric is called better or worse only if that holds after Holm's correction for all that were looked at.
Why: the difference in start-up time is the sum of the differences of its stages, and the resources whose queueing
changed the same way explain it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.launch import run
from experiments.metrics import SUMMARY, metric
from experiments.statistics import CONFIDENCE, Difference, holm, mean_interval, paired, unpaired
from experiments.store import EXPERIMENT, Runs
from experiments.store import open as open_runs
from experiments.sweep import Sweep
from sim.base.errors import InputError, Problems, near_miss
from sim.result.bottlenecks import seconds_text
from sim.result.quantiles import quantiles
from sim.result.result import Result
from sim.scenario import Scenario
from sim.scenario_file import scenario_files

if TYPE_CHECKING:
    import pandas as pd

STATISTICS = ("mean", "p50", "p99")
REPLICATIONS = 5
"""Of a scenario that is run to be compared."""
MATERIAL_SHARE = 0.02
"""A change of the start-up time below this share of it is not worth an explanation."""

Key = tuple[int, int]
"""Seed and replication: what names a run's random numbers."""


@dataclass(frozen=True)
class Side:
    """The runs of one design: DataFrames by seed and replication."""

    label: str
    summary: Mapping[Key, pd.DataFrame]
    stages: Mapping[Key, pd.DataFrame]
    bottlenecks: Mapping[Key, pd.DataFrame]
    startup_s: Mapping[Key, np.ndarray]
    """Start-up times of the measured pods that were seen running."""


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; B is compared with A."""

    a: str
    b: str
    paired: bool
    """Whether both met the same random numbers."""
    runs: tuple[int, int]
    """Of A, of B; if paired, the pairs, twice."""
    confidence: float
    table: pd.DataFrame
    """One row a metric and statistic: both means with their intervals, the difference with its own, p, verdict."""
    stages: pd.DataFrame
    """One row a stage of a pod's start: means, difference with its interval, share of the whole difference."""
    resources: pd.DataFrame
    """One row a contended thing, the one whose queueing changed the start-up time most first: use, waiting, verdict of both.

    explains_s: what its waiting can explain of the difference at most, see `critical_path_share` of `Result.bottlenecks`.
    """
    startup: pd.DataFrame
    """Start-up times as quantiles: one row a share of pods, both means over the runs with their intervals."""

    def changes(self) -> pd.DataFrame:
        """The rows of `table` that are better, worse or different beyond doubt."""
        return self.table[self.table["verdict"].isin(["better", "worse", "different"])]

    def why(self) -> str:
        """The difference in start-up time, the stages and the queueing that make it, in a few sentences."""
        return " ".join([self._what(), *self._where(), self._limit()])

    @property
    def _start(self) -> pd.Series:
        rows = self.table[(self.table["metric"] == "request_to_running") & (self.table["statistic"] == "mean")]
        return rows.iloc[0]

    def _what(self) -> str:
        start = self._start
        if np.isnan(start["difference"]):
            return "No pod was seen running on one side, so start-up times cannot be compared."
        word = "later" if start["difference"] > 0 else "sooner"
        if abs(start["difference"]) < MATERIAL_SHARE * abs(start["a"]):
            return f"Pods start as fast in {self.b} as in {self.a}, {seconds_text(start['b'])} on average, within {MATERIAL_SHARE:.0%}."
        # asked alone, so without the correction for all the figures of the table
        sure = "" if start["p"] < 1 - self.confidence else (
            "; with one run each, chance is not ruled out" if np.isnan(start["p"]) else "; chance is not ruled out")
        low, high = sorted((abs(start["difference_low"]), abs(start["difference_high"])))
        between = (
            f", between {seconds_text(low)} and {seconds_text(high)}"
            if not np.isnan(low) and start["difference_low"] * start["difference_high"] > 0 else ""
        )
        return (
            f"Pods start {seconds_text(abs(start['difference']))} ({abs(start['percent']):.0f} %) {word} on average in "
            f"{self.b} than in {self.a}{between}{sure}."
        )

    def _where(self) -> list[str]:
        start = self._start
        if np.isnan(start["difference"]) or abs(start["difference"]) < MATERIAL_SHARE * abs(start["a"]):
            return []
        same_way = self.stages[np.sign(self.stages["difference_s"]) == np.sign(start["difference"])]
        most = same_way.reindex(same_way["difference_s"].abs().sort_values(ascending=False, kind="stable").index).head(2)
        parts = [f"‘{row.stage}’ {'adds' if row.difference_s > 0 else 'saves'} {seconds_text(abs(row.difference_s))} of it"
                 for row in most.itertuples() if abs(row.share) >= 0.1]
        sentences = [f"{' and '.join(parts)}." if parts else "No single stage makes a tenth of it."]
        queues = self.resources[np.sign(self.resources["explains_s"]) == np.sign(start["difference"])]
        if len(queues) and abs(queues["explains_s"].iloc[0]) >= 0.1 * abs(start["difference"]):
            top = queues.iloc[0]
            sentences.append(
                f"The queueing that explains it is at the {top['resource']}: the wait there, spread over the pods that started, is "
                f"{seconds_text(top['a_wait_per_pod_s'])} in {self.a} and {seconds_text(top['b_wait_per_pod_s'])} in {self.b}."
            )
        else:
            sentences.append("No queue explains it: the work and the timers themselves differ.")
        return sentences

    def _limit(self) -> str:
        limits = {side: self._first_limit(side) for side in ("a", "b")}
        if limits["a"] == limits["b"]:
            return f"What limits stays the {limits['a']}." if limits["a"] else "Nothing limits either of them."
        before, after = (f"the {name}" if name else "nothing" for name in limits.values())
        return f"What limits shifts from {before} to {after}."

    def _first_limit(self, side: str) -> str:
        limiting = self.resources[self.resources[f"{side}_verdict"] == "limits"]
        return str(limiting["resource"].iloc[int(limiting[f"{side}_rank"].argmin())]) if len(limiting) else ""

    def __repr__(self) -> str:
        pairs = f"{self.runs[0]} pairs of runs" if self.paired else f"{self.runs[0]} and {self.runs[1]} runs"
        return f"<Comparison of {self.b} with {self.a}: {pairs}, {len(self.changes())} of {len(self.table)} figures differ>"

    def _repr_html_(self) -> str:
        shown = self.table[["metric", "statistic", "unit", "a", "b", "difference", "percent", "p_holm", "verdict"]]
        figures = "{:.4g}".format
        return (
            f"<p>{escape(repr(self))}</p><p>{escape(self.why())}</p>{shown.to_html(float_format=figures, index=False)}"
            f"{self.stages.to_html(float_format=figures, index=False)}"
        )


def compare(
    a: Any,
    b: Any,
    confidence: float = CONFIDENCE,
    replications: int = REPLICATIONS,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    on: str | Executor | None = None,
    quiet: bool = False,
) -> Comparison:
    """Compare design B with design A.

    a, b: a results folder (of a run, or of an experiment with one design; `folder@design` picks one of several), `Runs`
    with one design, a `Result`, or several. Or what has not run yet, and runs now `replications` times with the random
    numbers of the other side: a `Scenario`, its name or file, `name@path=value, path=value` with other values. These runs
    are kept in the folder `out` and go on there, or thrown away without one; workers, on, quiet: as of `experiments.run`.
    `InputError` when one of them cannot be used.
    """
    first, second = _sides(a, b, replications, out, workers, on, quiet)
    first, second = _shorter(first, second)
    if first.label == second.label:
        first, second = replace(first, label=f"A ({first.label})"), replace(second, label=f"B ({second.label})")
    common = [key for key in first.summary if key in second.summary]
    in_pairs = len(common) >= 2 or len(common) == max(len(first.summary), len(second.summary))
    keys = (common, common) if in_pairs else (list(first.summary), list(second.summary))
    differ = paired if in_pairs else unpaired
    return Comparison(
        first.label, second.label, in_pairs, (len(keys[0]), len(keys[1])), confidence,
        _metrics(first, second, keys, differ, confidence),
        _stages(first, second, keys, differ, confidence),
        _resources(first, second, keys),
        _startup(first, second, keys, confidence),
    )


def _sides(
    a: Any, b: Any, replications: int, out: str | os.PathLike[str] | None, workers: int | None, on: str | Executor | None, quiet: bool
) -> tuple[Side, Side]:
    """Both sides; the scenarios among them are run."""
    scenarios = _scenario(a), _scenario(b)
    sides = [side(what) if scenario is None else None for what, scenario in zip((a, b), scenarios, strict=True)]
    seeds = [next(iter(found.summary))[0] for found in sides if found is not None] + [
        scenario.seed for scenario in scenarios if scenario is not None]
    sweeps = [None if scenario is None else Sweep(scenario, replications=replications, seed=seeds[0]) for scenario in scenarios]
    for sweep in sweeps:
        if sweep is not None:
            sweep.designs()  # what is wrong with either is said before the first run
    with ExitStack() as temporary:
        for i, (what, sweep) in enumerate(zip((a, b), sweeps, strict=True)):
            if sweep is not None:
                folder = Path(out or temporary.enter_context(TemporaryDirectory(prefix="kubedes-compare-"))) / "AB"[i]
                found = _of_runs(run(sweep, folder, workers, on, quiet=quiet), None)
                sides[i] = replace(found, label=sweep.cluster.name if isinstance(what, Scenario) else str(what))
    first, second = sides
    assert first is not None
    assert second is not None
    return first, second


def _scenario(what: Any) -> Scenario | None:
    """The scenario that is meant, None if it is something that has run."""
    if isinstance(what, Scenario):
        return what
    if not isinstance(what, str | os.PathLike):
        return None
    name, _, sets = os.fspath(what).partition("@")
    if Path(name).is_dir() or not (name in scenario_files() or name.endswith((".yaml", ".yml"))):
        return None
    return Scenario.load(name, sets.split(", ") if sets else ())


def _shorter(first: Side, second: Side) -> tuple[Side, Side]:
    """The same, called by what differs alone: designs of one sweep share most of their names."""
    parts = [given.label.split(", ") for given in (first, second)]
    own = [[part for part in mine if part not in other] for mine, other in (parts, parts[::-1])]
    if not all(own):
        return first, second
    return replace(first, label=", ".join(own[0])), replace(second, label=", ".join(own[1]))


def side(what: Any) -> Side:
    """The runs of one design, from whatever names them."""
    if isinstance(what, Side):
        return what
    if isinstance(what, Result):
        return _of_results([what], str(what.record.scenario.get("name") or "a run"))
    if isinstance(what, Runs):
        return _of_runs(what, None)
    if isinstance(what, str | os.PathLike):
        text = os.fspath(what)
        folder, _, design = text.partition("@") if not Path(text).exists() else (text, "", "")
        if (Path(folder) / EXPERIMENT).exists():
            return _of_runs(open_runs(folder), design or None)
        if design:
            raise InputError(f"{text}: {folder} is not the folder of an experiment, so it has no design '{design}'")
        return _of_results([Result.load(folder)], Path(folder).name)
    if isinstance(what, Sequence) and what and all(isinstance(result, Result) for result in what):
        return _of_results(list(what), str(what[0].record.scenario.get("name") or "runs"))
    raise InputError(f"compare: {type(what).__name__} is neither a results folder nor runs; give a path, Runs, or Results")


def _of_runs(runs: Runs, design: str | None) -> Side:
    names = [str(name) for name in runs.designs["design"]]
    if design is None and len(names) > 1:
        raise InputError(
            f"{runs.path}: has {len(names)} designs; pick one as {runs.path}@DESIGN: {'; '.join(names[:12])}"
            f"{'; …' if len(names) > 12 else ''}"
        )
    wanted = None if design is None else [design]
    summary, stages, bottlenecks = (_by_run(runs, table, wanted) for table in ("summary", "stages", "bottlenecks"))
    if not summary:
        raise InputError(f"{runs.path}: no run of {design or names[0]} ended well; see its errors in experiments.open(…).table")
    label = str(design or (names[0] if names[0] != "as given" else runs.path.name))
    return Side(label, summary, stages, bottlenecks, _startups_of_runs(runs, wanted))


def _startups_of_runs(runs: Runs, designs: list[str] | None) -> dict[Key, np.ndarray]:
    pods = runs.read("pods", ["measured", "startup_s"], designs)
    pods = pods[pods["measured"].astype(bool) & pods["startup_s"].notna()]
    found = {int(str(rep)): part.to_numpy(np.float64) for rep, part in pods.groupby("rep")["startup_s"]}
    seed = int(runs.about["seed"])
    return {(seed, int(rep)): found.get(int(rep), np.zeros(0)) for rep in runs.table["rep"].unique()}


def _by_run(runs: Runs, table: str, designs: list[str] | None) -> dict[Key, pd.DataFrame]:
    frame = runs.read(table, designs=designs)
    seed = int(runs.about["seed"])
    return {(seed, int(str(rep))): part for rep, part in frame.groupby("rep")}


def _of_results(results: Sequence[Result], label: str) -> Side:
    keys: list[Key] = [(result.record.seed, result.record.replication) for result in results]
    if len(set(keys)) < len(keys):
        raise InputError(f"compare: {label}: two of the results have the same seed and replication; give each run once")
    return Side(
        label,
        {key: result.summary().reset_index() for key, result in zip(keys, results, strict=True)},
        {key: result.stages() for key, result in zip(keys, results, strict=True)},
        {key: result.bottlenecks().reset_index() for key, result in zip(keys, results, strict=True)},
        {key: _startup_of(result) for key, result in zip(keys, results, strict=True)},
    )


def _startup_of(result: Result) -> np.ndarray:
    pods = result.pods
    return pods.loc[pods["measured"].astype(bool) & pods["startup_s"].notna(), "startup_s"].to_numpy(np.float64)


def _column(tables: Mapping[Key, pd.DataFrame], keys: Sequence[Key], label: str, row: str, column: str) -> np.ndarray:
    """float64, one a run: a cell of its table; NaN where the row is missing."""
    values = np.full(len(keys), np.nan)
    for i, key in enumerate(keys):
        table = tables[key]
        found = table.loc[(table[label] == row).to_numpy(), column]
        if len(found):
            values[i] = float(found.iloc[0])
    return values


def _rows(a: Mapping[Key, pd.DataFrame], b: Mapping[Key, pd.DataFrame], label: str) -> list[str]:
    """Names of rows in the order of the tables, of any run."""
    return list(dict.fromkeys(str(name) for tables in (a, b) for table in tables.values() for name in table[label]))


def _metrics(a: Side, b: Side, keys: tuple[list[Key], list[Key]], differ: Any, confidence: float) -> pd.DataFrame:
    import pandas as pd

    rows, known = [], []
    for name in _rows(a.summary, b.summary, "metric"):
        unit, better = SUMMARY.get(name, ("", ""))
        for statistic in STATISTICS:
            first = _column(a.summary, keys[0], "metric", name, statistic)
            second = _column(b.summary, keys[1], "metric", name, statistic)
            difference: Difference = differ(first, second, confidence)
            rows.append([name, statistic, unit, *_ends(mean_interval(first, confidence)), *_ends(mean_interval(second, confidence)),
                         *_ends(difference.interval), difference.percent, difference.interval.n,
                         np.nan if _equal(difference) else difference.p_value])
            known.append(better)
    table = pd.DataFrame(rows, columns=["metric", "statistic", "unit", "a", "a_low", "a_high", "b", "b_low", "b_high",
                                        "difference", "difference_low", "difference_high", "percent", "n", "p"])
    table["p_holm"] = holm(table["p"].to_numpy())
    table["verdict"] = [
        "equal" if n > 1 and difference == 0 and np.isnan(p) else _verdict(difference, p, better, 1 - confidence)
        for difference, p, n, better in zip(table["difference"], table["p_holm"], table["n"], known, strict=True)
    ]
    return table


def _equal(difference: Difference) -> bool:
    """No difference in any pair: nothing that chance could have made, so no part of the correction either."""
    return difference.interval.n > 1 and difference.interval.low == difference.interval.high == 0


def _ends(interval: Any) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high


def _verdict(difference: float, p: float, better: str, alpha: float) -> str:
    """`better`, `worse`, `different`; `no clear difference`; `one run each` when nothing can be said of chance."""
    if np.isnan(difference):
        return "no data"
    if np.isnan(p):
        return "one run each"
    if p >= alpha:
        return "no clear difference"
    if not better:
        return "different"
    return "better" if (difference < 0) == (better == "lower") else "worse"


def _stages(a: Side, b: Side, keys: tuple[list[Key], list[Key]], differ: Any, confidence: float) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for name in _rows(a.stages, b.stages, "stage"):
        # a stage that a pod did not pass took it no time: spread over the pods of all stages
        first, second = (_stage_means(tables, of, name) for tables, of in ((a.stages, keys[0]), (b.stages, keys[1])))
        rows.append([name, float(first.mean()), float(second.mean()), *_ends(differ(first, second, confidence).interval)])
    table = pd.DataFrame(rows, columns=["stage", "a_mean_s", "b_mean_s", "difference_s", "difference_low_s", "difference_high_s"])
    total = table["difference_s"].sum()
    table["share"] = table["difference_s"] / total if total else np.nan
    return table


def _stage_means(tables: Mapping[Key, pd.DataFrame], keys: Sequence[Key], stage: str) -> np.ndarray:
    """float64, one a run: mean seconds of a stage over all pods that started."""
    values = np.zeros(len(keys))
    for i, key in enumerate(keys):
        table = tables[key]
        pods = table["pods"].max() if len(table) else 0
        mine = table[(table["stage"] == stage).to_numpy()]
        if len(mine) and pods:
            values[i] = float(np.nan_to_num(mine["mean_s"].iloc[0]) * mine["pods"].iloc[0] / pods)
    return values


def _start_means(tables: Mapping[Key, pd.DataFrame], keys: Sequence[Key]) -> np.ndarray:
    """float64, one a run: mean seconds from a pod's request to its being seen running, over all stages."""
    return np.array([float((tables[key]["mean_s"] * tables[key]["pods"]).sum() / max(tables[key]["pods"].max(), 1)) for key in keys])


def _resources(a: Side, b: Side, keys: tuple[list[Key], list[Key]]) -> pd.DataFrame:
    import pandas as pd

    start = {letter: float(np.nan_to_num(_start_means(tables, of)).mean())
             for letter, tables, of in (("a", a.stages, keys[0]), ("b", b.stages, keys[1]))}
    rows: list[dict[str, Any]] = []
    for name in _rows(a.bottlenecks, b.bottlenecks, "resource"):
        row: dict[str, Any] = {"resource": name}
        for letter, tables, of in (("a", a.bottlenecks, keys[0]), ("b", b.bottlenecks, keys[1])):
            for column, label in _OF_RESOURCES.items():
                known = _column(tables, of, "resource", name, column)
                known = known[~np.isnan(known)]
                row[f"{letter}_{label}"] = float(known.mean()) if len(known) else 0.0
            verdicts = [str(text) for key in of for text in tables[key].loc[(tables[key]["resource"] == name).to_numpy(), "verdict"]]
            row[f"{letter}_verdict"] = max(sorted(set(verdicts)), key=verdicts.count) if verdicts else "absent"
        row["explains_s"] = row["b_share"] * start["b"] - row["a_share"] * start["a"]
        row["_busiest"] = max(row["a_utilisation"], row["b_utilisation"])
        rows.append(row)
    columns = ["resource", *(f"{letter}_{what}" for what in (*_OF_RESOURCES.values(), "verdict") for letter in "ab"), "explains_s"]
    # of two that explain the same the busier comes first: a lock held while its holder waits is only a shadow
    rows.sort(key=lambda row: (-float(f"{abs(row['explains_s']):.3g}"), -row["_busiest"], row["resource"]))
    return pd.DataFrame(rows, columns=columns)


SHARES = (*np.linspace(0, 0.95, 96).round(2).tolist(), *np.linspace(0.955, 1, 10).round(4).tolist())
"""Of the pods, at which start-up times are compared; more of them where few are slow."""


def _startup(a: Side, b: Side, keys: tuple[list[Key], list[Key]], confidence: float) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {"share": SHARES}
    for letter, tables, of in (("a", a.startup_s, keys[0]), ("b", b.startup_s, keys[1])):
        known = [quantiles(tables[key], SHARES) for key in of if len(tables.get(key, ()))]
        intervals = [mean_interval([row[i] for row in known], confidence) for i in range(len(SHARES))]
        columns |= {letter: [i.value for i in intervals], f"{letter}_low": [i.low for i in intervals],
                    f"{letter}_high": [i.high for i in intervals]}
    return pd.DataFrame(columns)


_OF_RESOURCES = {"utilisation": "utilisation", "wait_per_pod_s": "wait_per_pod_s", "critical_path_share": "share", "rank": "rank"}
"""Column of the bottlenecks table -> what it is called here, after the side."""


def by_axis(runs: Runs, name: str, by: str, baseline: Any = None, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """A metric of designs that differ in the axis `by` alone, against its `baseline` (default: its first value), in pairs.

    name: `pod_startup_p99`, `startup_s_mean`; without a statistic mean, p50 and p99. One row a value of the axis, within each
    combination of the other axes, with the means and their intervals; difference, its interval, percent and p_holm (corrected
    over all rows) are against the baseline. `InputError` for a name that is not known.
    """
    import pandas as pd

    wanted = metric(name)
    problems = Problems(f"compare {runs.path}")
    if by not in runs.paths:
        problems.add("by", by, "is no axis of this experiment", near_miss(by, runs.paths))
        problems.raise_if_any()
    levels = list(runs.designs[by].map(_level).drop_duplicates())
    base = levels[0] if baseline is None else _level(baseline)
    if base not in levels:
        problems.add("baseline", baseline, f"is no value of {by}", "known: " + ", ".join(map(str, levels)))
    problems.raise_if_any()
    values = runs.values(wanted).sort_values("rep", kind="stable")
    others = [path for path in runs.paths if path != by]
    designs = runs.designs.copy()
    for path in runs.paths:
        designs[path] = designs[path].map(_level)
    groups = designs.groupby(others, sort=False, dropna=False) if others else [((), designs)]
    rows: list[list[Any]] = []
    for place, group in groups:
        for statistic in wanted.statistics:
            mine = values[values["statistic"] == statistic]
            known = {level: mine[mine["scenario"] == scenario].set_index("rep")["value"]
                     for scenario, level in group[by].items()}
            reference = known.get(base)
            for level, found in known.items():
                interval = mean_interval(found.to_numpy(float), confidence)
                row = [*place, level, statistic, *_ends(interval), interval.n]
                if level == base or reference is None:
                    rows.append([*row, *[np.nan] * 5])
                    continue
                reps = reference.index.intersection(found.index)
                difference = paired(reference[reps].to_numpy(float), found[reps].to_numpy(float), confidence)
                rows.append([*row, *_ends(difference.interval), difference.percent, difference.p_value])
    table = pd.DataFrame(rows, columns=[*others, by, "statistic", "value", "low", "high", "n",
                                        "difference", "difference_low", "difference_high", "percent", "p"])
    table["p_holm"] = holm(table.pop("p").to_numpy())
    table["verdict"] = [
        "baseline" if level == base else _verdict(difference, p, wanted.better, 1 - confidence)
        for level, difference, p in zip(table[by], table["difference"], table["p_holm"], strict=True)
    ]
    return table


def _level(value: Any) -> Any:
    """An axis value that can be told apart and grouped by; mappings and lists as text."""
    return str(value) if isinstance(value, dict | list) else value
