"""What can be asked of a run by name: `pod_startup_p99`, `image_pull_s_mean`.

A name is a row of the run's summary (`pod_startup`) or a column of its pods table that holds durations
(`image_pull_s`), followed by a statistic: `_mean`, `_p50`, `_p99`, `_max`, or of a column any `_pNN`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sim.base.errors import Problems, near_miss
from sim.result.quantiles import quantiles
from sim.result.schema import stage_column
from sim.state.pods import STAGES

Better = Literal["lower", "higher", ""]

SUMMARY: Mapping[str, tuple[str, Better]] = {
    "pod_startup": ("s", "lower"),
    "pod_startup_without_pull": ("s", "lower"),
    "request_to_running": ("s", "lower"),
    "scheduling": ("s", "lower"),
    "binding": ("s", "lower"),
    "image_pull": ("s", "lower"),
    "pods_started": ("pods/s", "higher"),
    "mutating_api_call": ("s", "lower"),
    "read_of_one_object": ("s", "lower"),
    "read_of_many_objects": ("s", "lower"),
    "pods_pending": ("pods", "lower"),
    "pods_starting": ("pods", ""),
    "pods_running": ("pods", ""),
    "node_fill_cpu": ("share", ""),
    "node_fill_memory": ("share", ""),
    "node_imbalance": ("share", "lower"),
}
"""Rows of the summary: unit, and which way is better (empty: neither)."""
COLUMNS = ("startup_s", "startup_without_pull_s", *(stage_column(stage) for stage in STAGES))
"""Columns of the pods table that are durations; of these lower is better."""
STATISTICS = ("mean", "p50", "p99", "max")

_STATISTIC = re.compile(r"_(mean|max|p\d{1,2}(?:\.\d+)?)$")


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a run, or with `statistic` empty three of them (mean, p50, p99)."""

    name: str
    """Row of the summary or column of the pods table."""
    statistic: str = ""
    of_pods: bool = False
    """Whether `name` is a column of the pods table."""

    @property
    def unit(self) -> str:
        return "s" if self.of_pods else SUMMARY[self.name][0]

    @property
    def better(self) -> Better:
        return "lower" if self.of_pods else SUMMARY[self.name][1]

    @property
    def statistics(self) -> tuple[str, ...]:
        return (self.statistic,) if self.statistic else ("mean", "p50", "p99")

    def __str__(self) -> str:
        return f"{self.name}_{self.statistic}" if self.statistic else self.name


def read_metric(text: object, path: str, problems: Problems, statistic: bool = False) -> Metric | None:
    """The metric that a text names, or None after adding to `problems` what is wrong with it.

    statistic: one must be named.
    """
    name, found = str(text), ""
    if name not in SUMMARY and name not in COLUMNS:
        match = _STATISTIC.search(name)
        if match:
            name, found = name[: match.start()], match[1]
    of_pods = name in COLUMNS
    if not of_pods and name not in SUMMARY:
        problems.add(path, text, "is no metric", near_miss(name, [*SUMMARY, *COLUMNS]))
        return None
    if found and not of_pods and found not in STATISTICS:
        problems.add(path, text, f"is not in the summary, which has {', '.join(STATISTICS)}", near_miss(name + "_s", COLUMNS))
        return None
    if statistic and not found:
        problems.add(path, text, "must name a statistic", f"such as {name}_p99 or {name}_mean")
        return None
    return Metric(name, found, of_pods)


def metric(text: str) -> Metric:
    """The metric that a text names; `InputError` if it names none."""
    problems = Problems("metric")
    found = read_metric(text, "metric", problems)
    problems.raise_if_any()
    assert found is not None
    return found


def statistic_of(values: np.ndarray, statistic: str) -> float:
    """`mean`, `max` or a quantile `pNN` of values without NaN; NaN of no values."""
    if len(values) == 0:
        return float("nan")
    if statistic == "mean":
        return float(np.mean(values))
    share = 1.0 if statistic == "max" else float(statistic[1:]) / 100
    return float(quantiles(values, (share,))[0])
