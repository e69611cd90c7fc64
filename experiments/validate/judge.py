"""What a row of measurements is compared by: metrics, aims, how far repetitions differ, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

CALIBRATED, SHOWN, WITHIN, MISSED = "calibrated", "not judged", "within", "MISSED"


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a row, and how close it should be."""

    unit: str
    scale: float = 1.0
    """From base units to those that are shown."""
    aim_percent: float | None = None
    """None: shown, not judged."""


EXACT, SHAPE, MIDDLE, TAIL = 1.0, 10.0, 15.0, 30.0
"""Aims in percent: counts (1 %: what falls on the window's edge), shapes and timer-driven stages, means and throughput, p99."""


@dataclass(frozen=True)
class Row:
    """One measured setup with its repetitions."""

    family: str
    name: str
    setup: Any
    """What the family's simulation needs; can be pickled."""
    measured: dict[str, list[float]]
    """Metric -> one value a repetition, in base units."""
    calibrates: bool = False
    """Costs were taken from it."""
    unusable: str = ""
    """Why it is shown and not judged; empty: it is judged."""
    quantiles: dict[str, list[np.ndarray]] = field(default_factory=dict)
    """Distribution -> evenly spaced quantiles of each repetition."""
    floors: Mapping[str, float] = field(default_factory=dict)
    """Metric -> percent by which repetitions of such rows are known to differ."""
    shown: frozenset[str] = frozenset()
    """Metrics that are not judged, though the row is."""
    timed: frozenset[str] = frozenset()
    """Metrics that timers make, judged by the tighter aim."""


@dataclass(frozen=True)
class Outcome:
    """What the simulation of a setup says."""

    values: dict[str, float]
    samples: dict[str, np.ndarray] = field(default_factory=dict)
    """Distribution -> what was drawn."""
    failed: str = ""
    """Why it could not be replayed."""


def latencies(values: dict[str, Any], prefix: str = "latency") -> dict[str, float]:
    """Mean, p50, p99 and their ratios, of a recorded summary."""
    mean, p50, p99 = (float(values[name]) for name in ("mean", "p50", "p99"))
    return _figures(prefix, mean, p50, p99)


def latencies_of(sample: np.ndarray, prefix: str = "latency") -> dict[str, float]:
    """The same, of a sample."""
    if not len(sample):
        return {}
    p50, p99 = np.quantile(sample, (0.5, 0.99))
    return _figures(prefix, float(sample.mean()), float(p50), float(p99))


def _figures(prefix: str, mean: float, p50: float, p99: float) -> dict[str, float]:
    return {
        f"{prefix} mean": mean,
        f"{prefix} p50": p50,
        f"{prefix} p99": p99,
        f"{prefix} p50/mean": p50 / mean,
        f"{prefix} p99/p50": p99 / p50,
    }


def latency_metrics(prefix: str = "latency") -> dict[str, Metric]:
    """How the figures of `latencies` are judged."""
    return {
        f"{prefix} mean": Metric("ms", 1e3, MIDDLE),
        f"{prefix} p50": Metric("ms", 1e3, MIDDLE),
        f"{prefix} p99": Metric("ms", 1e3, TAIL),
        f"{prefix} p50/mean": Metric("", 1.0, SHAPE),
        f"{prefix} p99/p50": Metric("", 1.0, SHAPE),
    }


def spread_percent(values: Iterable[float]) -> float:
    """(largest - smallest) / mean, in percent."""
    array = np.array(list(values))
    mean = float(array.mean())
    return float(array.max() - array.min()) / abs(mean) * 100 if mean else 0.0


def lines(row: Row, outcome: Outcome, metrics: Mapping[str, Metric]) -> list[dict[str, Any]]:
    """One line a metric that both have: measured (middle of the repetitions), floor, simulated, error, verdict."""
    found = []
    for name, metric in metrics.items():
        measured = row.measured.get(name)
        if measured:
            found.append(_line(row, outcome, name, metric, measured))
    return found


def _line(row: Row, outcome: Outcome, name: str, metric: Metric, values: list[float]) -> dict[str, Any]:
    measured = float(np.mean(values))
    floor = max(row.floors.get(name, 0.0), spread_percent(values))
    simulated = outcome.values.get(name)
    error = (simulated / measured - 1) * 100 if simulated is not None and measured else None
    if simulated is not None and measured == 0:
        error = 0.0 if simulated == 0 else float("inf")
    aim = SHAPE if name in row.timed and metric.aim_percent is not None else metric.aim_percent
    if name in row.shown:
        aim = None
    return {
        "row": row.name,
        "metric": name,
        "unit": metric.unit,
        "measured": measured * metric.scale,
        "floor_percent": round(floor, 1) or None,
        "simulated": None if simulated is None else simulated * metric.scale,
        "error_percent": error,
        "verdict": _verdict(row, outcome, aim, floor, error),
    }


def _verdict(row: Row, outcome: Outcome, aim: float | None, floor: float, error: float | None) -> str:
    if outcome.failed or error is None:
        return "not replayed"
    if row.calibrates:
        return CALIBRATED
    if aim is None or row.unusable:
        return SHOWN
    return WITHIN if abs(error) <= max(aim, floor) else MISSED
