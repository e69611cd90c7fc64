"""How far can one number of a scenario go while its service levels hold?

    experiments.find_capacity(cluster, "workload.rate_per_s", ["pod_startup_p99<=5s"])

At each value replications are run until the mean of the service level over them is on one side of its limit beyond doubt:
4, then 8, then 16. The search doubles (or halves) from the scenario's own value until one value meets and another
fails, then bisects. All the looks of a search share the chance of error that `confidence` leaves (Bonferroni), so with that
confidence the answer's two ends are both right. It takes for granted that more of it is never better.

A service level on start-up counts pods that are still starting at the end with their age, once that is beyond the limit: an
overloaded cluster does not look good by never finishing.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.launch import Launcher
from experiments.metrics import Metric, read_metric, statistic_of
from experiments.statistics import CONFIDENCE, Interval, mean_interval
from experiments.store import ExperimentFolder, Runs, identity_of
from experiments.store import open as open_runs
from experiments.sweep import Design, Sweep, scenario_hash
from sim.base.errors import InputError, KubedesError, Problems
from sim.base.paths import parse_path
from sim.base.spec import UNITS
from sim.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd

LOOKS = (4, 8, 16)
"""Replications after which a value is judged."""
MOST_VALUES = 24
"""A search that has tried so many is ended where it is."""
FIGURES = 3
"""Significant figures of values between the ends."""

MEETS, FAILS, UNDECIDED, NO_DATA = "meets", "fails", "undecided", "no data"

_SLO = re.compile(r"\s*(?P<metric>[A-Za-z]\w*(?:\.\d+)?)\s*(?P<sign><=|>=)\s*(?P<limit>\S.*?)\s*")
_SINCE = {
    "pod_startup": "created_s",
    "pod_startup_without_pull": "created_s",
    "request_to_running": "requested_s",
    "startup_s": "created_s",
    "startup_without_pull_s": "created_s",
}
"""Metrics of a pod's start -> the moment from which they count."""
_UNFINISHED = ("Waiting", "Pending", "Scheduled", "Running")


@dataclass(frozen=True, slots=True)
class Slo:
    """A limit on a metric: `pod_startup_p99<=5s`."""

    metric: Metric
    at_most: bool
    limit: float

    def __str__(self) -> str:
        unit = self.metric.unit if self.metric.unit == "s" else ""
        return f"{self.metric}{'<=' if self.at_most else '>='}{self.limit:g}{unit}"

    def judge(self, interval: Interval) -> str:
        """Whether a mean with this interval keeps the limit."""
        if math.isnan(interval.low):
            return UNDECIDED
        if interval.low > self.limit or interval.high < self.limit:
            return MEETS if (interval.value < self.limit) == self.at_most else FAILS
        if interval.low == interval.high == self.limit:
            return MEETS
        return UNDECIDED


@dataclass(frozen=True)
class Capacity:
    """What `find_capacity` found."""

    path: str
    slos: tuple[Slo, ...]
    value: float | None
    """The largest value shown to meet the service levels; None: none was."""
    fails_at: float | None
    """The smallest value above it shown to miss them; None: none was, up to the end of the search."""
    confidence: float
    levels: pd.DataFrame
    """One row a value tried, rising: verdict, replications, and of each service level mean and interval."""
    bound: str = ""
    """Why the search went no further, if not because it was done."""

    def sentence(self) -> str:
        """The answer for a reader in a hurry."""
        what = " and ".join(map(str, self.slos))
        if self.value is None:
            tried = self.levels["value"].min()
            return f"No value of {self.path} was found at which {what} holds; the smallest tried is {tried:g}.{self._because()}"
        head = f"{self.path} can be {self.value:g} while {what} holds"
        if self.fails_at is None:
            return f"{head}; no value was found at which it does not.{self._because()}"
        between = self.levels[(self.levels["verdict"] == UNDECIDED) & (self.levels["value"] > self.value)
                              & (self.levels["value"] < self.fails_at)]["value"]
        doubt = f" At {', '.join(f'{value:g}' for value in between)} it is too close to tell." if len(between) else ""
        return f"{head}; at {self.fails_at:g} it does not ({self.confidence:.0%} confidence).{doubt}{self._because()}"

    def _because(self) -> str:
        return f" {self.bound}" if self.bound else ""

    def __repr__(self) -> str:
        return f"<Capacity: {self.sentence()}>"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.sentence())}</p>{self.levels.to_html(float_format='{:.4g}'.format, index=False)}"


def read_slo(text: str, path: str, problems: Problems) -> Slo | None:
    """The service level that a text names; None after adding to `problems` what is wrong with it."""
    match = _SLO.fullmatch(text)
    if match is None:
        problems.add(path, text, "is no service level", "write METRIC<=LIMIT, such as pod_startup_p99<=5s")
        return None
    found = read_metric(match["metric"], path, problems, statistic=True)
    if found is None:
        return None
    try:
        limit = float(match["limit"])
    except ValueError:
        read = UNITS["_s"].read if found.unit == "s" else None
        try:
            limit = read(match["limit"]) if read else math.nan
        except ValueError:
            limit = math.nan
    if not math.isfinite(limit):
        problems.add(path, text, f"must end in a number of {found.unit}", "such as 5s or 800ms" if found.unit == "s" else "without a unit")
        return None
    return Slo(found, match["sign"] == "<=", limit)


def find_capacity(
    scenario: Scenario,
    path: str,
    slos: str | Sequence[str],
    *,
    low: float | None = None,
    high: float | None = None,
    within: float = 0.05,
    confidence: float = CONFIDENCE,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    on: str | Executor | None = None,
    quiet: bool = False,
) -> Capacity:
    """The largest value at `path` with which every service level holds.

    slos: as `pod_startup_p99<=5s`; metrics are those of `Runs.values`. low, high: search between these; by default from the
    scenario's own value outwards. within: the two ends of the answer differ by at most this share (whole numbers: by 1).
    out: keep the runs in this folder and go on from there the next time, also with other service levels; default: forget them.
    workers, on, quiet: as in `experiments.run`. `InputError` before the first run for what cannot be searched.
    """
    problems = Problems("capacity")
    texts = [slos] if isinstance(slos, str) else list(slos)
    wanted = [slo for number, text in enumerate(texts) if (slo := read_slo(text, f"slo[{number}]", problems))]
    if not texts:
        problems.add("slo", [], "must name at least one service level", "such as pod_startup_p99<=5s")
    start = _number_at(scenario, path, problems)
    for name, value in (("low", low), ("high", high)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            problems.add(name, value, "must be a number above 0")
    if low is not None and high is not None and low >= high:
        problems.add("high", high, f"must be above low ({low:g})")
    for name, value in (("within", within), ("confidence", confidence)):
        if not 0 < value < 1:
            problems.add(name, value, "must be between 0 and 1")
    problems.raise_if_any()
    Sweep(scenario).designs()
    whole = isinstance(start, int)
    about = {
        "kind": "capacity search",
        "identity": identity_of("capacity", [scenario_hash(scenario), path]),
        "name": scenario.name,
        "paths": [path],
        "seed": scenario.seed,
    }
    with ExitStack() as stack:
        if out is None:
            out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kubedes-"))) / "runs"
        folder = stack.enter_context(ExperimentFolder(out, about))
        launcher = stack.enter_context(Launcher(folder, workers, on, quiet))
        search = _Search(scenario, path, tuple(wanted), confidence, folder, launcher, whole)
        first = low if low is not None else min(float(start), high) if high is not None else float(start)
        return search.run(first, low, high, within)


class _Search:
    """One search: tries values, and remembers what came of them."""

    def __init__(
        self, scenario: Scenario, path: str, slos: tuple[Slo, ...], confidence: float, folder: ExperimentFolder,
        launcher: Launcher, whole: bool,
    ) -> None:
        self.scenario = scenario
        self.path = path
        self.slos = slos
        self.confidence = confidence
        self.folder = folder
        self.launcher = launcher
        self.whole = whole
        self.tried: dict[float, dict[str, Any]] = {}
        self.bound = ""

    def run(self, first: float, low: float | None, high: float | None, within: float) -> Capacity:
        value = self._rounded(first)
        if self._try(value) == MEETS:
            self._upwards(value, high)
        else:
            self._downwards(value, low)
            self._upwards(max(self.tried), high)
        for passes in ((MEETS,), (MEETS, UNDECIDED)):  # the end that surely meets, then the one that surely fails
            self._narrow(passes, within)
        return self._answer()

    def _narrow(self, passes: tuple[str, ...], within: float) -> None:
        """Bisect between the largest value that passes and the first above it that does not."""
        while (pair := self._ends(passes)) is not None and len(self.tried) < MOST_VALUES:
            below, above = pair
            if above - below <= (1 if self.whole else within * below):
                return
            middle = self._rounded(math.sqrt(below * above))
            if not below < middle < above:
                middle = self._rounded((below + above) / 2, figures=12)
            if not below < middle < above:
                return
            self._try(middle)

    def _upwards(self, value: float, high: float | None) -> None:
        """Double until a value fails."""
        while len(self.tried) < MOST_VALUES and self._try(value) not in (FAILS, NO_DATA):
            if high is not None and value >= high:
                self.bound = f"The search ended at the upper end given, {high:g}."
                return
            value = self._rounded(min(2 * value, high) if high is not None else 2 * value)
            if self._try(value) == NO_DATA:
                return

    def _downwards(self, value: float, low: float | None) -> None:
        """Halve until a value meets."""
        while len(self.tried) < MOST_VALUES:
            if (low is not None and value <= low) or (self.whole and value <= 1):
                self.bound = f"The search ended at {value:g}, its lower end."
                return
            value = self._rounded(max(value / 2, low or 0.0, 1.0 if self.whole else 0.0))
            if self._try(value) in (MEETS, NO_DATA):
                return

    def _ends(self, passes: tuple[str, ...]) -> tuple[float, float] | None:
        """The largest value that passes below the first that does not, and that one; None when one of them is missing."""
        judged = {value: row["verdict"] for value, row in self.tried.items() if row["verdict"] != NO_DATA}
        above = min((value for value, verdict in judged.items() if verdict not in passes), default=math.inf)
        below = [value for value in judged if value < above]
        return (max(below), above) if below and math.isfinite(above) else None

    def _rounded(self, value: float, figures: int = FIGURES) -> float:
        return float(round(value)) if self.whole else float(f"{value:.{figures}g}")

    def _try(self, value: float) -> str:
        """Replicate at `value` until it is decided; its verdict."""
        if value in self.tried:
            return str(self.tried[value]["verdict"])
        number = int(value) if self.whole else value
        try:
            scenario = self.scenario.replace({self.path: number})
            scenario.check()
        except InputError as error:
            self.bound = f"The scenario takes no {self.path} of {value:g}: {str(error).splitlines()[-1].strip()}."
            self.tried[value] = {"value": value, "verdict": NO_DATA, "replications": 0}
            return NO_DATA
        design = Design(f"{self.path}={number}", {self.path: number}, scenario, scenario_hash(scenario))
        self.folder.expect([design], LOOKS[0])
        row: dict[str, Any] = {}
        for count in LOOKS:
            self.launcher.run((design, rep) for rep in range(count))
            row = self._judged(value, open_runs(self.folder.path), design, count)
            if row["verdict"] != UNDECIDED:
                break
        self.tried[value] = row
        return str(row["verdict"])

    def _judged(self, value: float, runs: Runs, design: Design, count: int) -> dict[str, Any]:
        """One row of the answer's table."""
        runs.table = runs.table[runs.table["rep"] < count]  # more may be there from an earlier search
        mine = runs.table[runs.table["scenario"] == design.hash]
        failed = mine[mine["status"] != "done"]
        if len(failed):
            raise KubedesError(f"capacity: the run with {design.name} failed: {failed['error'].iloc[0]}")
        # each service level of each look at each value has its part of the chance to be wrong, on one side
        sure = 1 - 2 * (1 - self.confidence) / (len(LOOKS) * MOST_VALUES * len(self.slos))
        row: dict[str, Any] = {"value": value, "verdict": MEETS, "replications": count}
        verdicts = []
        for slo in self.slos:
            values = slo_values(runs, slo, design)
            if np.isnan(values).any():
                self.bound = (
                    f"With {design.name} there is nothing to judge {slo} by in {int(np.isnan(values).sum())} of {count} runs: "
                    "take a longer horizon_s, a shorter warm_up_s, or a higher low end."
                )
                return row | {"verdict": NO_DATA}
            interval = mean_interval(values, sure)
            verdicts.append(slo.judge(interval))
            row |= {str(slo.metric): interval.value, f"{slo.metric}_low": interval.low, f"{slo.metric}_high": interval.high}
        row["verdict"] = FAILS if FAILS in verdicts else UNDECIDED if UNDECIDED in verdicts else MEETS
        return row

    def _answer(self) -> Capacity:
        import pandas as pd

        judged = [self.tried[value] for value in sorted(self.tried) if self.tried[value]["replications"]]
        fails = [row["value"] for row in judged if row["verdict"] == FAILS]
        first_miss = min((row["value"] for row in judged if row["verdict"] in (FAILS, UNDECIDED)), default=math.inf)
        meets = [row["value"] for row in judged if row["verdict"] == MEETS and row["value"] < first_miss]
        odd = any(row["verdict"] == MEETS and row["value"] > min(fails, default=math.inf) for row in judged)
        bound = f"{self.bound} A larger value meets again: it is not true that more is never better here.".strip() if odd else self.bound
        if len(self.tried) >= MOST_VALUES:
            bound = f"{bound} The search was ended after {MOST_VALUES} values.".strip()
        return Capacity(
            self.path, self.slos, max(meets, default=None), min(fails, default=None), self.confidence, pd.DataFrame(judged), bound
        )


def slo_values(runs: Runs, slo: Slo, design: Design) -> np.ndarray:
    """float64, one a run of `design`: the metric of the service level, unfinished starts counted (see the module)."""
    since = _SINCE.get(slo.metric.name)
    if since is None or not slo.at_most:
        return runs.values(slo.metric, [design.hash])["value"].to_numpy(np.float64)
    columns = ["measured", "phase", "attempts", "created_s", "requested_s", "scheduled_s", "watched_s", "pull_started_s", "pull_ready_s"]
    pods = runs.read("pods", list(dict.fromkeys(columns)), [design.hash])
    return np.array([_startup_with_unfinished(part, slo, since, design.scenario.horizon_s) for _, part in pods.groupby("rep")])


def _startup_with_unfinished(pods: pd.DataFrame, slo: Slo, since: str, end_s: float) -> float:
    """The metric of one run's pods."""
    pods = pods[pods["measured"].astype(bool) & pods[since].notna()]
    without_pull = "without_pull" in slo.metric.name
    if without_pull:  # Kubernetes' own definition: only pods whose first attempt found a node
        pods = pods[(pods["attempts"] <= 1) & ~(pods["scheduled_s"].isna() & (pods["attempts"] >= 1))]
    age = pods["watched_s"].fillna(end_s) - pods[since]
    if without_pull:
        age = age - (pods["pull_ready_s"].fillna(end_s) - pods["pull_started_s"]).fillna(0.0)
    seen = pods["watched_s"].notna()
    late = ~seen & pods["phase"].isin(_UNFINISHED) & (age > slo.limit)
    return statistic_of(age[seen | late].to_numpy(np.float64), slo.metric.statistic)


def frontier(
    scenario: Scenario, path: str, slos: str | Sequence[str], over: str, values: Iterable[Any],
    out: str | os.PathLike[str] | None = None, **search: Any,
) -> pd.DataFrame:
    """The capacity at each of several values of another field: columns `over`, capacity, fails_at, sentence.

    out: each search keeps its runs in a folder of its own below. search: as for `find_capacity`.
    """
    import pandas as pd

    designs = Sweep(scenario, axes={over: values}).designs()
    rows = []
    for design in designs:
        below = None if out is None else Path(out) / design.hash
        found = find_capacity(design.scenario, path, slos, out=below, **search)
        rows.append((design.values[over], found.value, found.fails_at, found.sentence()))
    return pd.DataFrame(rows, columns=[over, "capacity", "fails_at", "sentence"])


def _number_at(scenario: Scenario, path: str, problems: Problems) -> float | int:
    """The scenario's number at a path; adds to `problems` when there is none."""
    try:
        scenario.replace({path: None})
    except InputError as error:
        lines = str(error).splitlines()
        if "is not a field" in lines[-1] or "is not a path" in lines[-1] or "nothing inside" in lines[-1]:
            problems.add("find", path, re.sub(r"^.*?(?=is not a|is a single)", "", lines[-1].strip()))
            return 1
    value: Any = scenario.model_dump(by_alias=True)
    for key in parse_path(path):
        value = value.get(key) if isinstance(value, dict) else value[int(key)] if isinstance(value, list | tuple) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        problems.add("find", path, f"is {value!r} in this scenario: a search starts from a number above 0")
        return 1
    return value
