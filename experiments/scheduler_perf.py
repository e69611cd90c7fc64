"""Runs workloads of Kubernetes' scheduler benchmark and answers as it does: scheduler_perf's data items.

What is measured and how follows test/integration/scheduler_perf/util.go of 1.20 and, from 1.23 on, of the later versions:
throughput is sampled each second while a step runs; latencies are the scheduler's own histograms over that time, with
quantiles estimated from their buckets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sim.result.exports.metrics import Metric, as_numbers, metrics_of
from sim.result.exports.perfdata import MILLISECONDS, DataItem, PerfData, order_statistics
from sim.result.exports.prometheus import points
from sim.result.record import RunRecord
from sim.tenancy.script import POLL_S
from workloads.traces.scheduler_perf_plan import Measurement, Plan

BENCHMARK = "BenchmarkPerfScheduling"
"""Begins the names of items, as the benchmark's own function does."""
SAMPLE_S = 1.0
"""Between two looks at how many pods are scheduled."""
SKIPPING_SINCE = (1, 23)
"""From this version on the first sample is left out, and seconds without a pod are spread over the next ones."""
COLLECTED = (
    "scheduler_scheduling_algorithm_duration_seconds",
    "scheduler_binding_duration_seconds",
    "scheduler_e2e_scheduling_duration_seconds",
    "scheduler_scheduling_attempt_duration_seconds",
    "scheduler_pod_scheduling_duration_seconds",
    "scheduler_pod_scheduling_sli_duration_seconds",
)
"""Histograms that the benchmark collects and a run fills; a version has those that it knows."""
PERCENTS = (50, 90, 95, 99)


@dataclass(frozen=True)
class Window:
    """When a measurement was taken, simulated seconds."""

    begin_s: float
    end_s: float


def window_of(record: RunRecord, measurement: Measurement) -> Window | None:
    """From the first post to the look that found enough pods scheduled; None where the run did not come so far."""
    columns = record.pods
    posted = np.isin(columns["app"], measurement.posted)
    counted = np.isin(columns["app"], measurement.counted)
    asked, created = columns["requested_s"][posted], columns["created_s"][posted]
    bound = np.sort(columns["bound_s"][counted])  # those that never were stand last
    if not len(asked) or np.isnan(asked).any() or np.isnan(created).any() or len(bound) < measurement.enough:
        return None
    enough_s = float(bound[measurement.enough - 1]) if measurement.enough else 0.0
    if np.isnan(enough_s):
        return None
    answered_s = float(created.max())
    looks = max(0, int(np.ceil((enough_s - answered_s) / POLL_S - 1e-9)))
    return Window(float(asked.min()), answered_s + looks * POLL_S)


def samples_per_s(bound_s: np.ndarray, window: Window, skipping: bool) -> np.ndarray:
    """Pods scheduled a second, as the benchmark samples them. bound_s: when each counted pod was bound.

    skipping: as later versions do, see `SKIPPING_SINCE`.
    """
    ticks = np.arange(window.begin_s + SAMPLE_S, window.end_s + 1e-9, SAMPLE_S)
    scheduled = np.searchsorted(np.sort(bound_s), ticks, side="right")
    before = int((bound_s <= window.begin_s).sum())
    found: list[float] = []
    started, last, skipped = not skipping, before, 0
    for now in scheduled.tolist():
        if now == 0:
            continue
        if not started:
            started, last = True, now
        elif skipping and now == last:
            skipped += 1
        else:
            found += [(now - last) / (SAMPLE_S * (skipped + 1))] * (skipped + 1)
            last, skipped = now, 0
    return np.array(found, np.float64)


def bucket_quantile(bounds: tuple[float, ...], cumulative: np.ndarray, quantile: float) -> float:
    """Prometheus' estimate of a quantile: linear within the bucket, the last bound for what lies beyond it."""
    rank = quantile * float(cumulative[-1])
    bucket = int(np.searchsorted(cumulative, rank, side="left"))
    if bucket >= len(bounds):
        return bounds[-1]
    low, below = (bounds[bucket - 1], float(cumulative[bucket - 1])) if bucket else (0.0, 0.0)
    return low + (bounds[bucket] - low) * (rank - below) / (float(cumulative[bucket]) - below)


def data_items(record: RunRecord, plan: Plan) -> list[DataItem]:
    """The items of every measurement that the run completed; compare with `unfinished`."""
    items: list[DataItem] = []
    for measurement in plan.measurements:
        window = window_of(record, measurement)
        if window is not None:
            items += _items(record, plan, measurement, window)
    return items


def unfinished(record: RunRecord, plan: Plan) -> list[str]:
    """What each measurement that the run did not complete still waited for, a sentence each."""
    texts = []
    for measurement in plan.measurements:
        if window_of(record, measurement) is None:
            pods = np.isin(record.pods["app"], measurement.counted)
            bound = int((~np.isnan(record.pods["bound_s"][pods])).sum())
            texts.append(
                f"{plan.name}/{measurement.name}: {bound:,} of {int(pods.sum()):,} pods were scheduled at the end"
            )
    return texts


def _items(record: RunRecord, plan: Plan, measurement: Measurement, window: Window) -> Iterator[DataItem]:
    name = "/".join([BENCHMARK, plan.case.name, plan.workload.name, *([measurement.name] if measurement.name else [])])
    bound_s = record.pods["bound_s"][np.isin(record.pods["app"], measurement.counted)]
    skipping = as_numbers(str(record.scenario.get("kubernetes", "1.20"))) >= SKIPPING_SINCE
    throughput = samples_per_s(bound_s, window, skipping)
    if len(throughput):
        data = {"Average": float(throughput.mean()), **order_statistics(throughput, PERCENTS)}
        item = DataItem(data, "pods/s", {"Name": name, "Metric": "SchedulingThroughput"})
        yield _with_threshold(item, plan)
    for metric in metrics_of(record):
        if metric.name in COLLECTED:
            yield from _histogram_items(record, plan, metric, window, name)


def _histogram_items(record: RunRecord, plan: Plan, metric: Metric, window: Window, name: str) -> Iterator[DataItem]:
    """One item for each result; other labels are added up."""
    edges = np.array([window.begin_s, window.end_s])
    sums: dict[str, float] = {}
    counts: dict[str, np.ndarray] = {}
    for observed in metric.read(record):
        found = points(metric, observed, edges)
        assert found.buckets is not None  # a histogram
        result = dict(observed.labels).get("result", "")
        sums[result] = sums.get(result, 0.0) + float(found.value[1] - found.value[0])
        counts[result] = counts.get(result, np.zeros(len(metric.buckets) + 1)) + found.buckets[1] - found.buckets[0]
    for result, cumulative in counts.items():
        if cumulative[-1]:
            data = {f"Perc{p}": bucket_quantile(metric.buckets, cumulative, p / 100) * MILLISECONDS for p in PERCENTS}
            data["Average"] = sums[result] / float(cumulative[-1]) * MILLISECONDS
            labels = {"Name": name, "Metric": metric.name, **({"result": result} if result else {})}
            yield _with_threshold(DataItem(data, "ms", labels), plan)


def _with_threshold(item: DataItem, plan: Plan) -> DataItem:
    """The item with the workload's threshold where it is the metric that it is about."""
    selector = plan.workload.threshold_metric
    mine = (
        selector.get("name") == item.labels["Metric"]
        and dict(selector.get("labels") or {}).items() <= item.labels.items()
    )
    if not plan.workload.threshold or not mine:
        return item
    bucket = str(selector.get("dataBucket", "Average"))
    return DataItem({**item.data, f"{bucket}Threshold": plan.workload.threshold}, item.unit, item.labels)


def as_perf_data(items: list[DataItem]) -> PerfData:
    """The file that the benchmark writes for all its workloads."""
    return PerfData("v1", tuple(items))
