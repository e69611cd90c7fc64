"""Simulated against measured: the control plane of a real Kubernetes 1.20.2 with etcd 3.4.23 on two cores, family by family.

Each family of rows has a file beside this one that reads the recorded rows and replays their setups: whatever rows a folder in that
format holds. Costs come from the calibration of the series, which was found from rows with one client, or 5 pods a second; all other
rows are predicted. Each line says how far repetitions of the measurement itself differ: no error below that means anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.validate import api_requests, etcd_bench, fan_out, life_cycle, scheduler_bench
from experiments.validate.beds import calibrated
from experiments.validate.judge import CALIBRATED, MISSED, WITHIN, Metric, Outcome, Row, lines
from experiments.validate.outages import etcd_outages_s, scheduler_outages_s
from experiments.validate.truth import Truth
from sim.controllers.leader_election import LeaderElectionSpec

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

KILLS = 300
"""Simulated kills of each kind."""
SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True)
class Family:
    """Rows that are read, replayed and judged alike."""

    rows: Callable[[Truth], list[Row]]
    replay: Callable[[Any, str, float, int], Outcome]
    """(setup, calibration, simulated seconds, seed)"""
    metrics: Mapping[str, Metric]


FAMILIES: dict[str, Family] = {
    "etcd": Family(etcd_bench.rows, etcd_bench.replay, etcd_bench.METRICS),
    "requests": Family(api_requests.rows, api_requests.replay, api_requests.METRICS),
    "fan-out": Family(fan_out.rows, fan_out.replay, fan_out.METRICS),
    "life-cycle": Family(life_cycle.rows, life_cycle.replay, life_cycle.METRICS),
    "scheduler": Family(scheduler_bench.rows, scheduler_bench.replay, scheduler_bench.METRICS),
}
"""By the name on the command line."""
OUTAGES = "outages"
"""The kill tests, which compare two samples in place of rows."""


@dataclass(frozen=True)
class Compared:
    """One series and family: rows, what the simulation says of each, and the judged lines."""

    calibration: str
    family: str
    rows: list[Row]
    outcomes: list[Outcome]
    table: pd.DataFrame

    @property
    def predicted(self) -> int:
        """Figures that were judged."""
        return int(self.table.verdict.isin([WITHIN, MISSED]).sum()) if len(self.table) else 0

    @property
    def within(self) -> int:
        return int((self.table.verdict == WITHIN).sum()) if len(self.table) else 0

    @property
    def not_replayed(self) -> list[str]:
        """Rows without a counterpart, and why."""
        return [
            f"{row.name}: {outcome.failed}"
            for row, outcome in zip(self.rows, self.outcomes, strict=True)
            if outcome.failed
        ]


def _replay(job: tuple[str, Any, str, float, int]) -> Outcome:
    family, setup, calibration, seconds, seed = job
    return FAMILIES[family].replay(setup, calibration, seconds, seed)


def compare(
    truths: Sequence[Truth], families: Iterable[str] = FAMILIES, seconds: float = 2.0, seed: int = 1, workers: int = 0
) -> list[Compared]:
    """Replay every row of these families of these series. seconds: simulated length of a closed-loop row; workers: 0: one a core."""
    import pandas as pd

    found = [(truth, family, FAMILIES[family].rows(truth)) for truth in truths for family in families]
    jobs = [(family, row.setup, truth.calibration, seconds, seed) for truth, family, rows in found for row in rows]
    workers = min(workers or os.cpu_count() or 1, max(1, len(jobs)))
    if workers == 1:
        outcomes = iter([_replay(job) for job in jobs])
    else:
        with ProcessPoolExecutor(workers) as pool:
            outcomes = iter(list(pool.map(_replay, jobs)))
    compared = []
    for truth, family, rows in found:
        mine = [next(outcomes) for _ in rows]
        judged = [
            line
            for row, outcome in zip(rows, mine, strict=True)
            for line in lines(row, outcome, FAMILIES[family].metrics)
        ]
        if rows:
            compared.append(Compared(truth.calibration, family, rows, mine, pd.DataFrame(judged)))
    return compared


@dataclass(frozen=True, slots=True)
class Outage:
    """Two samples of how long nothing could be done, in seconds, and whether they can be told apart."""

    name: str
    measured_s: np.ndarray
    simulated_s: np.ndarray
    p_value: float
    """Two-sample Kolmogorov-Smirnov."""


def compare_outages(truth: Truth, seed: int = 1, trials: int = KILLS) -> list[Outage]:
    """etcd leader kills and scheduler kills, as far as the folder holds them."""
    from scipy.stats import ks_2samp

    etcd, fsync_s, _ = calibrated(truth.calibration)
    failover = truth.read("etcd.json").get("leader_failover") or {}
    kills = [trial for trials in failover.values() if isinstance(trials, list) for trial in trials]
    pairs = [
        (
            "etcd leader kill, to the first successful write",
            [kill["to_first_successful_write_s"] for kill in kills],
            lambda: etcd_outages_s(etcd, fsync_s, seed, trials),
        ),
        (
            "scheduler leader kill, to the next binding",
            [row["to_next_bind_s"] for row in truth.rows("scheduler_leader_election.json")],
            lambda: scheduler_outages_s(LeaderElectionSpec(), seed, trials),
        ),
    ]
    found = []
    for name, measured, simulate in pairs:
        if measured:
            simulated = simulate()
            found.append(Outage(name, np.array(measured), simulated, float(ks_2samp(measured, simulated).pvalue)))
    return found


def outage_table(outages: list[Outage]) -> pd.DataFrame:
    """One line an outage."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "outage": outage.name,
                "measured_kills": len(outage.measured_s),
                "measured_mean_s": outage.measured_s.mean(),
                "simulated_mean_s": outage.simulated_s.mean(),
                "measured_p50_s": np.median(outage.measured_s),
                "simulated_p50_s": np.median(outage.simulated_s),
                "ks_p_value": outage.p_value,
                "verdict": "not to be told apart" if outage.p_value > SIGNIFICANCE else MISSED,
            }
            for outage in outages
        ]
    )


def plot(compared: Compared) -> Figure | None:
    """Both CDFs of every distribution of every predicted or calibrated row; None where there is none."""
    import matplotlib.pyplot as plt

    pairs = [
        (row, outcome, name)
        for row, outcome in zip(compared.rows, compared.outcomes, strict=True)
        for name in row.quantiles
        if len(outcome.samples.get(name, ()))
    ]
    if not pairs:
        return None
    columns = 4
    height = -(-len(pairs) // columns)
    figure, axes = plt.subplots(height, columns, figsize=(16, 2.6 * height), squeeze=False, layout="constrained")
    for axis, (row, outcome, name) in zip(axes.flat, pairs, strict=False):
        for number, quantiles in enumerate(row.quantiles[name]):
            axis.plot(
                quantiles * 1e3,
                np.linspace(0, 1, len(quantiles)),
                color="#888888",
                lw=1,
                label="measured" if not number else None,
            )
        _cdf(axis, outcome.samples[name] * 1e3, "#1f6fb4" if not row.calibrates else "#5a9e6f")
        axis.set(xscale="log", title=row.name if name == "latency" else f"{row.name}: {name}")
        axis.title.set_fontsize(7)
        axis.tick_params(labelsize=6)
    axes.flat[0].legend(fontsize=7)
    for axis in axes.flat[len(pairs) :]:
        axis.set_visible(False)
    figure.supxlabel("milliseconds", fontsize=9)
    figure.supylabel("share", fontsize=9)
    return figure


def plot_outages(outages: list[Outage]) -> Figure:
    """Both CDFs of each kind of outage."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(outages), figsize=(6 * len(outages), 3.6), squeeze=False, layout="constrained")
    for axis, outage in zip(axes.flat, outages, strict=True):
        measured = np.sort(outage.measured_s)
        axis.step(
            measured, np.arange(1, len(measured) + 1) / len(measured), where="post", color="#888888", label="measured"
        )
        _cdf(axis, outage.simulated_s, "#1f6fb4")
        axis.set(xlabel="outage (s)", ylabel="share of kills", title=f"{outage.name} (p = {outage.p_value:.2f})")
        axis.legend()
    return figure


def _cdf(axis: Any, values: np.ndarray, colour: str) -> None:
    probabilities = np.linspace(0, 1, 200)
    axis.plot(np.quantile(values, probabilities), probabilities, color=colour, lw=1.5, label="simulated")


def summary(compared: Sequence[Compared]) -> pd.DataFrame:
    """One line a series and family: rows, judged figures, how many were within their aim or the floor."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "series": one.calibration,
                "family": one.family,
                "rows": len(one.rows),
                "not_replayed": len(one.not_replayed),
                "calibrated": sum(row.calibrates for row in one.rows),
                "predicted_figures": one.predicted,
                "within": one.within,
                "median_error_percent": _median_error(one.table),
            }
            for one in compared
        ]
    )


def _median_error(table: pd.DataFrame) -> float:
    judged = table[table.verdict.isin([WITHIN, MISSED])]
    return float(judged.error_percent.abs().median()) if len(judged) else float("nan")


__all__ = [
    "CALIBRATED",
    "FAMILIES",
    "OUTAGES",
    "Compared",
    "compare",
    "compare_outages",
    "outage_table",
    "plot",
    "plot_outages",
    "summary",
]
