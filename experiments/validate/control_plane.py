"""Simulated against measured: etcd's benchmark, and how long the control plane is without a leader.

Costs come from the calibration, which was found from rows with one client of the same series; the other rows are
predicted. Each row says how far repetitions of the measurement itself differ: no error below that means anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.validate.etcd_bench import LoadGeneratorSpec, Outcome, Setup, run
from experiments.validate.outages import etcd_outages_s, scheduler_outages_s
from experiments.validate.truth import truth
from sim.base.rand import Distribution
from sim.controllers.leader_election import LeaderElectionSpec
from sim.etcd.spec import EtcdSpec

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TEST_BEDS = Path(__file__).parent / "test_beds"
SERIES = {"measured-1.20-2core": "series_2/etcd.json", "measured-1.20-2core-noisy": "etcd.json"}
"""Calibration -> the file of the series that it was found from and is compared with."""
KILLS = 300
"""Simulated kills of each kind."""
SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a row: how it is read from the measurement and from the simulation, and how close it should be."""

    unit: str
    scale: float
    measured: Callable[[dict[str, Any]], float | None]
    simulated: Callable[[Outcome], float]
    aim_percent: float | None
    """None: shown, not judged."""


def _fsyncs_per_op(row: dict[str, Any]) -> float | None:
    """The histograms cover more than the row's window: by how much, the backend's commits every 0.1 s tell."""
    if row["op"] != "put":
        return None
    log = row["etcd_histograms"]["etcd_disk_wal_fsync_duration_seconds"]["leader"]
    backend = row["etcd_histograms"]["etcd_disk_backend_commit_duration_seconds"]["leader"]
    covered_s = backend["count"] * (0.1 + backend["mean_s"])
    return float(log["count"] * row["wall_s"] / covered_s / row["ops"])


def _fsync_s(row: dict[str, Any]) -> float | None:
    if row["op"] != "put":
        return None
    return float(row["etcd_histograms"]["etcd_disk_wal_fsync_duration_seconds"]["leader"]["mean_s"])


METRICS = {
    "throughput": Metric("1/s", 1.0, lambda row: row["ops_per_s"], lambda out: out.ops_per_s, 15.0),
    "latency mean": Metric("ms", 1e3, lambda row: row["latency_s"]["mean"], lambda out: float(out.latency_s.mean()), 15.0),
    "latency p50": Metric("ms", 1e3, lambda row: row["latency_s"]["p50"], lambda out: float(np.median(out.latency_s)), 15.0),
    "latency p99": Metric("ms", 1e3, lambda row: row["latency_s"]["p99"], lambda out: float(np.quantile(out.latency_s, 0.99)), 30.0),
    "p99/p50": Metric("", 1.0, lambda row: row["latency_s"]["p99"] / row["latency_s"]["p50"],
                      lambda out: float(np.quantile(out.latency_s, 0.99) / np.median(out.latency_s)), None),
    "etcd CPU an operation": Metric("us", 1e6, lambda row: row["cpu_us_per_op"]["etcd"] * 1e-6, lambda out: out.etcd_cpu_s, 15.0),
    "client CPU an operation": Metric("us", 1e6, lambda row: row["cpu_us_per_op"]["loadgen"] * 1e-6, lambda out: out.client_cpu_s, None),
    "fsyncs a write": Metric("", 1.0, _fsyncs_per_op, lambda out: out.fsyncs_per_op, 15.0),
    "fsync mean": Metric("ms", 1e3, _fsync_s, lambda out: out.fsync_s, None),
}

FLOORS_PERCENT: dict[tuple[str, int], dict[str, float]] = {
    ("measured-1.20-2core", 1): {"throughput": 19, "latency mean": 19, "latency p50": 19, "latency p99": 31},
    ("measured-1.20-2core", 3): {"throughput": 10, "latency mean": 10, "latency p50": 10, "latency p99": 14, "etcd CPU an operation": 8},
    ("measured-1.20-2core-noisy", 3): {"throughput": 75, "latency mean": 79, "latency p50": 79, "latency p99": 167,
                                       "etcd CPU an operation": 70},
}
"""How far repetitions of puts differ, in percent, by series and members (our repetitions of the measurements)."""
UNUSABLE = {("measured-1.20-2core-noisy", 1)}
"""Puts that met foreign load or a slow disk in every row."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a validation needs of a calibration."""

    name: str
    etcd: EtcdSpec
    fsync_s: Distribution
    client: LoadGeneratorSpec
    cores: int


@cache
def calibration(name: str) -> Calibration:
    """A calibration by name, with the test bed that belongs to it."""
    from sim.scenario_file import preset_files, read_values

    values = read_values(preset_files()[name], name)
    bed = read_values(TEST_BEDS / f"{name}.yaml", name)
    from sim.engine.spec import MachineSpec

    machine = MachineSpec.model_validate(values["machines"]["control-plane"])
    return Calibration(name, EtcdSpec.model_validate(values["etcd"]), machine.fsync_s,
                       LoadGeneratorSpec.model_validate(bed["etcd_client"]), machine.cores)


def etcd_rows(series: str) -> Iterator[tuple[Setup, list[dict[str, Any]]]]:
    """The setups of a series with their repetitions."""
    found: dict[Setup, list[dict[str, Any]]] = {}
    for row in truth(f"ground_truth/{SERIES[series]}")["rows"]:
        found.setdefault(Setup(row["op"], row["clients"], row["members"], row["value_bytes"]), []).append(row)
    yield from found.items()


def is_calibration_row(setup: Setup) -> bool:
    """Whether costs were taken from it."""
    return setup.clients == 1 and setup.value_bytes == 256


def compare_etcd(series: str, seconds: float = 3.0, seed: int = 1) -> tuple[pd.DataFrame, dict[Setup, Outcome]]:
    """One line a row and metric: measured (middle of the repetitions), floor, simulated, error, verdict."""
    import pandas as pd

    costs = calibration(series)
    lines, outcomes = [], {}
    for setup, repetitions in etcd_rows(series):
        outcome = outcomes[setup] = run(setup, costs.etcd, costs.fsync_s, costs.client, cores=costs.cores, seconds=seconds, seed=seed)
        for name, metric in METRICS.items():
            values = [value for value in map(metric.measured, repetitions) if value is not None]
            if values:
                lines.append(_line(series, setup, name, metric, values, metric.simulated(outcome)))
    return pd.DataFrame(lines), outcomes


def _line(series: str, setup: Setup, name: str, metric: Metric, values: list[float], simulated: float) -> dict[str, Any]:
    measured = float(np.mean(values))
    known = FLOORS_PERCENT.get((series, setup.members), {}) if setup.op == "put" else {}
    seen = (max(values) - min(values)) / measured * 100
    floor = max(known.get(name, 0.0), seen)
    error = (simulated / measured - 1) * 100
    if is_calibration_row(setup):
        verdict = "calibrated"
    elif metric.aim_percent is None or (setup.op == "put" and (series, setup.members) in UNUSABLE):
        verdict = "not judged"
    else:
        verdict = "within" if abs(error) <= max(metric.aim_percent, floor) else "MISSED"
    return {
        "row": f"{setup.op} {setup.value_bytes} B, {setup.clients} clients, {setup.members} members", "metric": name,
        "unit": metric.unit, "measured": measured * metric.scale, "floor_percent": floor or None,
        "simulated": simulated * metric.scale, "error_percent": error, "verdict": verdict,
    }


@dataclass(frozen=True, slots=True)
class Outage:
    """Two samples of how long nothing could be done, in seconds, and whether they can be told apart."""

    name: str
    measured_s: np.ndarray
    simulated_s: np.ndarray
    p_value: float
    """Two-sample Kolmogorov-Smirnov."""


def compare_outages(series: str = "measured-1.20-2core-noisy", seed: int = 1, kills: int = KILLS) -> list[Outage]:
    """etcd leader kills and scheduler kills, both measured together with the first series."""
    from scipy.stats import ks_2samp

    costs = calibration(series)
    etcd = truth("ground_truth/etcd.json")["leader_failover"]["set1_client_timeout_1_5s"]
    scheduler = truth("ground_truth/scheduler_leader_election.json")["rows"]
    pairs = [
        ("etcd leader kill, to the first successful write", [row["to_first_successful_write_s"] for row in etcd],
         etcd_outages_s(costs.etcd, costs.fsync_s, seed, kills)),
        ("scheduler leader kill, to the next binding", [row["to_next_bind_s"] for row in scheduler],
         scheduler_outages_s(LeaderElectionSpec(), seed, kills)),
    ]
    return [Outage(name, np.array(measured), simulated, float(ks_2samp(measured, simulated).pvalue))
            for name, measured, simulated in pairs]


def outage_table(outages: list[Outage]) -> pd.DataFrame:
    """One line an outage."""
    import pandas as pd

    return pd.DataFrame([{
        "outage": outage.name, "measured_kills": len(outage.measured_s), "measured_mean_s": outage.measured_s.mean(),
        "simulated_mean_s": outage.simulated_s.mean(), "measured_p50_s": np.median(outage.measured_s),
        "simulated_p50_s": np.median(outage.simulated_s), "ks_p_value": outage.p_value,
        "verdict": "not to be told apart" if outage.p_value > SIGNIFICANCE else "MISSED",
    } for outage in outages])


def plot_etcd(series: str, outcomes: dict[Setup, Outcome]) -> Figure:
    """Both CDFs of the latency of each row of puts."""
    import matplotlib.pyplot as plt

    rows = [(setup, rows) for setup, rows in etcd_rows(series) if setup.op == "put" and setup in outcomes]
    figure, axes = plt.subplots(-(-len(rows) // 3), 3, figsize=(12, 3 * -(-len(rows) // 3)), squeeze=False, layout="constrained")
    for axis, (setup, repetitions) in zip(axes.flat, rows, strict=False):
        for row in repetitions:
            quantiles = np.array(row["latency_s"]["q50"]) * 1e3
            axis.plot(quantiles, np.linspace(0, 1, len(quantiles)), color="#888888", lw=1, label=f"measured, {row['repetition']}")
        _cdf(axis, outcomes[setup].latency_s * 1e3)
        axis.set(xscale="log", xlabel="latency (ms)", ylabel="share of writes",
                 title=f"{setup.value_bytes} B, {setup.clients} clients, {setup.members} members")
        axis.legend(fontsize=7)
    for axis in axes.flat[len(rows):]:
        axis.set_visible(False)
    return figure


def plot_outages(outages: list[Outage]) -> Figure:
    """Both CDFs of each kind of outage."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(outages), figsize=(6 * len(outages), 3.6), squeeze=False, layout="constrained")
    for axis, outage in zip(axes.flat, outages, strict=True):
        measured = np.sort(outage.measured_s)
        axis.step(measured, np.arange(1, len(measured) + 1) / len(measured), where="post", color="#888888", label="measured")
        _cdf(axis, outage.simulated_s)
        axis.set(xlabel="outage (s)", ylabel="share of kills", title=f"{outage.name} (p = {outage.p_value:.2f})")
        axis.legend()
    return figure


def _cdf(axis: Any, values: np.ndarray) -> None:
    probabilities = np.linspace(0, 1, 400)
    axis.plot(np.quantile(values, probabilities), probabilities, color="#1f6fb4", lw=1.5, label="simulated")
