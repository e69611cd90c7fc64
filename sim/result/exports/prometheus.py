"""Simulated metrics as Prometheus reads them: one scrape at a moment, or a history over simulated time.

A scrape is the text format 0.0.4 that Kubernetes' components answer with. A history is OpenMetrics text with
timestamps, which Prometheus' own `promtool tsdb create-blocks-from openmetrics` turns into a data base, so that existing
rules and dashboards run over a simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sim.base.errors import InputError
from sim.result.exports.metrics import Labels, Metric, Observed, metrics_of
from sim.result.record import RunRecord

PERIOD_S = 15.0
"""Between two scrapes of a history: what the usual Prometheus set-ups of Kubernetes take."""
MOST_MOMENTS = 100_000
"""Scrapes of one history; beyond it the period is a slip of the pen."""


class Points(NamedTuple):
    """One series at some moments; `buckets` cumulate, the last is all (a histogram's only)."""

    labels: Labels
    value: np.ndarray
    """float64, one a moment: a counter's total, a gauge's level, a histogram's sum. NaN: a gauge without a level yet."""
    buckets: np.ndarray | None = None
    """int64, (moments, buckets + 1)."""


def points(metric: Metric, observed: Observed, moments_s: np.ndarray) -> Points:
    """A series as scrapes at `moments_s` (rising) would find it: each sees what was observed up to it, inclusive."""
    upto = np.searchsorted(observed.time_s, moments_s, side="right")
    if metric.kind == "gauge":
        levels = np.concatenate([[np.nan], observed.value])
        return Points(observed.labels, levels[upto])
    count = np.ones(len(observed.value), np.int64) if observed.count is None else observed.count
    total = np.concatenate([[0.0], np.cumsum(observed.value * count)])[upto]
    if metric.kind == "counter":
        return Points(observed.labels, total)
    bucket = np.searchsorted(np.array(metric.buckets), observed.value, side="left")
    first = np.searchsorted(moments_s, observed.time_s, side="left")  # the first moment that sees it
    held = np.zeros((len(moments_s) + 1, len(metric.buckets) + 1), np.int64)
    np.add.at(held, (first, bucket), count)
    return Points(observed.labels, total, held[:-1].cumsum(axis=0).cumsum(axis=1))


def scrape(record: RunRecord, at_s: float | None = None) -> str:
    """Prometheus text (0.0.4) of every metric at simulated time `at_s`; none: at the end of the run.

    One text for the whole cluster: the kubelets' metrics are sums over all nodes. Raises InputError for a time that the
    run does not have.
    """
    moment = record.end_s if at_s is None else at_s
    if not 0 <= moment <= record.end_s:
        raise InputError(f"at: {moment:g} is outside the run; it must be from 0 to {record.end_s:g} simulated seconds")
    lines: list[str] = []
    for metric, series in _series(record, np.array([moment])):
        lines += _head(metric.name, metric)
        for each in series:
            if not np.isnan(each.value[0]):
                lines += _lines(metric, metric.name, each, 0, each.labels, "", _plain)
    return "\n".join([*lines, ""])


def history(record: RunRecord, period_s: float = PERIOD_S, start_unix_s: float = 0.0) -> str:
    """OpenMetrics text of every metric each `period_s` of simulated time, and at the end.

    start_unix_s: the time stamp of simulated time 0. Each series carries the label `job` of the component that exports
    it, as a scrape would have given it. Raises InputError for a period that makes no sense.
    """
    moments = moments_of(record.end_s, period_s)
    stamps = [f" {_plain(stamp)}" for stamp in np.round(start_unix_s + moments, 3).tolist()]
    lines: list[str] = []
    for metric, series in _series(record, moments):
        family = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
        name = f"{family}_total" if metric.kind == "counter" else family
        lines += _head(family, metric)
        for each in series:
            labels = (("job", metric.job), *each.labels)
            for index in np.flatnonzero(~np.isnan(each.value)).tolist():
                lines += _lines(metric, name, each, index, labels, stamps[index], _canonical)
    return "\n".join([*lines, "# EOF", ""])


def moments_of(end_s: float, period_s: float) -> np.ndarray:
    """The moments of a history: each whole period after 0, and the end."""
    if not period_s > 0:
        raise InputError(f"period: {period_s:g} must be above 0 seconds")
    if end_s / period_s > MOST_MOMENTS:
        raise InputError(f"period: {period_s:g} s makes more than {MOST_MOMENTS:,} scrapes; give a longer one")
    moments = period_s * np.arange(1, int(end_s / period_s * (1 + 1e-12)) + 1)
    return np.append(moments, end_s) if len(moments) == 0 or end_s - moments[-1] > 1e-9 * end_s else moments


def _series(record: RunRecord, moments_s: np.ndarray) -> Iterator[tuple[Metric, list[Points]]]:
    """Every metric with its series, where anything was observed at all."""
    for metric in metrics_of(record):
        series = [points(metric, each, moments_s) for each in metric.read(record) if len(each.time_s)]
        if series:
            yield metric, series


def _head(family: str, metric: Metric) -> list[str]:
    return [f"# HELP {family} {metric.help}", f"# TYPE {family} {metric.kind}"]


def _lines(
    metric: Metric, name: str, series: Points, index: int, labels: Labels, stamp: str, write: Callable[[float], str]
) -> Iterator[str]:
    """The lines of one series at one moment."""
    value = write(float(series.value[index]))
    if series.buckets is None:
        yield f"{name}{_braces(labels)} {value}{stamp}"
        return
    counts: Sequence[int] = series.buckets[index].tolist()
    for bound, count in zip((*map(write, metric.buckets), "+Inf"), counts, strict=True):
        yield f"{name}_bucket{_braces((*labels, ('le', bound)))} {count}{stamp}"
    yield f"{name}_count{_braces(labels)} {counts[-1]}{stamp}"
    yield f"{name}_sum{_braces(labels)} {value}{stamp}"


def _braces(labels: Labels) -> str:
    """`{a="b",c="d"}`; nothing without labels. Values are ours or names of Kubernetes: escaped all the same."""
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _plain(number: float) -> str:
    """A number as Go prints it: whole ones without a point (`le="1"`)."""
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)


def _canonical(number: float) -> str:
    """A number as OpenMetrics wants it: whole ones with a point (`le="1.0"`)."""
    return repr(float(number))
