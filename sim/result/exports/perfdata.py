"""Data items: the JSON in which Kubernetes' performance tests answer, and their dashboard (perfdash) reads.

ClusterLoader2 writes a file of them for each measurement, scheduler_perf one for all its workloads. Source:
kubernetes/perf-tests, clusterloader2/pkg/measurement (util/perftype.go, common/slos); kubernetes/kubernetes,
test/integration/scheduler_perf/util.go.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sim.base.errors import InputError, Problems
from sim.result.quantiles import quantiles
from sim.result.record import RunRecord
from sim.result.tables import measured_pods

MILLISECONDS = 1000.0


@dataclass(frozen=True)
class DataItem:
    """One measured thing."""

    data: dict[str, float]
    """Value by name: `Perc50`, `Perc99`, `Average`, …"""
    unit: str
    """`ms`, `pods/s`, …"""
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PerfData:
    """A file of data items."""

    version: str
    items: tuple[DataItem, ...]
    labels: dict[str, str] = field(default_factory=dict)

    def dumps(self) -> str:
        """The file's text; keys are sorted, as Go writes maps."""
        content: dict[str, Any] = {"version": self.version, "dataItems": [_written(item) for item in self.items]}
        if self.labels:
            content["labels"] = dict(sorted(self.labels.items()))
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def loads(cls, text: str, subject: str = "data items") -> PerfData:
        """Read a file's text; `InputError` with all that is wrong, in the name of `subject`."""
        try:
            content = json.loads(text)
        except ValueError as error:
            raise InputError(f"{subject}: is not JSON: {error}") from None
        problems = Problems(subject)
        found = content.get("dataItems") if isinstance(content, dict) else None
        if not isinstance(found, list):
            problems.add("dataItems", found, "must be a list of data items")
        items = [_read(item, f"dataItems[{index}]", problems) for index, item in enumerate(found or ())]
        problems.raise_if_any()
        return cls(str(content.get("version", "")), tuple(items), dict(content.get("labels") or {}))

    @classmethod
    def load(cls, path: Path | str) -> PerfData:
        """Read a file. Raises InputError."""
        try:
            return cls.loads(Path(path).read_text(encoding="utf-8"), str(path))
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _written(item: DataItem) -> dict[str, Any]:
    content: dict[str, Any] = {"data": dict(sorted(item.data.items())), "unit": item.unit}
    return {**content, "labels": dict(sorted(item.labels.items()))} if item.labels else content


def _read(item: Any, path: str, problems: Problems) -> DataItem:
    content = item if isinstance(item, dict) else {}
    data, labels = content.get("data"), content.get("labels") or {}
    numbers = isinstance(data, dict) and all(isinstance(value, int | float) for value in data.values())
    if not numbers:
        problems.add(f"{path}.data", data, "must give a number by name")
    if not isinstance(content.get("unit"), str):
        problems.add(f"{path}.unit", content.get("unit"), "must be text")
    texts = isinstance(labels, dict) and all(isinstance(value, str) for value in labels.values())
    if not texts:
        problems.add(f"{path}.labels", labels, "must give text by name")
    return DataItem(dict(data) if numbers and data else {}, str(content.get("unit")), dict(labels) if texts else {})


# --- ClusterLoader2

TRANSITIONS = {
    "create_to_schedule": ("created_s", "bound_s"),
    "schedule_to_run": ("bound_s", "containers_started_s"),
    "run_to_watch": ("containers_started_s", "watched_s"),
    "schedule_to_watch": ("bound_s", "watched_s"),
    "pod_startup": ("created_s", "watched_s"),
}
"""PodStartupLatency's metrics: from one moment of a pod to another. Real ones count some of them in whole seconds."""
POD_STARTUP_FILE = "PodStartupLatency"
RESPONSIVENESS_FILE = "APIResponsivenessPrometheus"
"""What ClusterLoader2 calls the files of its measurements."""


def order_statistics(values: np.ndarray, percents: Iterable[int]) -> dict[str, float]:
    """`Perc50` and so on as the performance tests take them: the smallest value that so many percent do not exceed."""
    ordered = np.sort(values)
    return {f"Perc{percent}": float(ordered[-(-len(ordered) * percent // 100) - 1]) for percent in percents}


def pod_startup_latency(record: RunRecord) -> PerfData:
    """ClusterLoader2's PodStartupLatency of the pods asked for after the warm-up, ms; transitions nobody made are left out."""
    measured = measured_pods(record)
    items = []
    for name, (first, last) in TRANSITIONS.items():
        took_s = (record.pods[last] - record.pods[first])[measured]
        took_s = took_s[~np.isnan(took_s)]
        if len(took_s):
            items.append(DataItem(order_statistics(took_s * MILLISECONDS, (50, 90, 99)), "ms", {"Metric": name}))
    return PerfData("1.0", tuple(items))


SLOW_S = {"LIST cluster": 30.0, "LIST namespace": 5.0}
"""From where on ClusterLoader2 counts a call as slow; other calls from a second."""


def api_responsiveness(record: RunRecord) -> PerfData:
    """ClusterLoader2's APIResponsiveness of the requests answered after the warm-up, ms; the slowest kind first.

    The quantiles are exact where the real ones are estimated from buckets. Watches are left out, as there.
    """
    log = record.requests
    late_enough = log["time_s"] >= record.warm_up_s
    kinds: dict[tuple[str, str, str, str], list[int]] = {}
    for index, kind in enumerate(record.request_kinds):
        resource, _, subresource = kind.resource.partition("/")
        if kind.verb != "WATCH":
            kinds.setdefault((kind.verb, resource, subresource, kind.scope), []).append(index)
    items = []
    for (verb, resource, subresource, scope), indexes in sorted(kinds.items()):
        rows = np.flatnonzero(np.isin(log["kind"], indexes) & late_enough)
        if not len(rows):
            continue
        latency_s, count = np.asarray(log["latency_s"][rows], np.float64), log["count"][rows]
        p50, p90, p99 = (quantiles(latency_s, (0.5, 0.9, 0.99), count) * MILLISECONDS).tolist()
        slow = int(count[latency_s > SLOW_S.get(f"{verb} {scope}", 1.0)].sum())
        labels = {"Verb": verb, "Resource": resource, "Subresource": subresource, "Scope": scope}
        numbers = {"Count": str(int(count.sum())), "SlowCount": str(slow)}
        items.append(DataItem({"Perc50": p50, "Perc90": p90, "Perc99": p99}, "ms", {**labels, **numbers}))
    return PerfData("v1", tuple(sorted(items, key=lambda item: -item.data["Perc99"])))
