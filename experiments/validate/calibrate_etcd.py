"""How the etcd costs of the calibrations were found: `python -m experiments.validate.calibrate_etcd [CALIBRATION]`.

Least squares over the benchmark's rows with one client alone: latency, CPU of members and client, mean fsync, system time. No other
row is read. One client cannot tell cheap requests that are woken dearly from dear ones that are woken cheaply, unless something
ties the programs together: members and client are Go programs on the same kernel, so waking a thread and looking for work before
sleeping cost the same in both, and handling a request costs them alike (loosely, 30 %): the same gRPC and HTTP/2 code reads one
message and writes another. Held near what is known from elsewhere are only the disk's and the CPU's part of a bare fdatasync.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from experiments.validate.beds import LoadGeneratorSpec
from experiments.validate.etcd_bench import Outcome, Setup, is_calibration_row, recorded, run
from experiments.validate.truth import find
from sim.base.rand import Constant, Distribution, Lognormal
from sim.etcd.spec import EtcdSpec

US = 1e-6
VARIATION = Lognormal(median=float(np.exp(-(0.75**2) / 2)), sigma=0.75)
"""Of a piece of work, mean 1: gives the one-client rows' p90/p50 and p99/p50."""
TIGHT, LOOSE = 0.05, 0.3
"""Relative standard errors: of a measured figure, and of what is known from elsewhere."""
NAMES = (
    "wake",
    "spin",
    "request",
    "batch",
    "fsync_cpu",
    "disk",
    "client_request",
    "append",
    "message",
)


@dataclass(frozen=True, slots=True)
class Known:
    """What holds for a series beside its rows."""

    speed: float
    """Cost of the same work against the quieter series, by three-member puts with one client."""
    disk_us: float
    fsync_cpu_us: float
    members_of_puts: tuple[int, ...]
    """Rows of puts that met the normal disk."""


KNOWN = {
    "measured-1.20-2core": Known(1.0, 55.0, 55.0, (1, 3)),
    "measured-1.20-2core-noisy": Known(1.4, 80.0, 110.0, (3,)),
}


def specs(values: dict[str, float]) -> tuple[EtcdSpec, Distribution, LoadGeneratorSpec]:
    """Members, disk and client with costs in microseconds."""
    etcd = EtcdSpec(
        wake_cpu_s=values["wake"] * US,
        spin_s=values["spin"] * US,
        cpu_factor=VARIATION,
        put_cpu_s=values["request"] / 2 * US,
        reply_cpu_s=values["request"] / 2 * US,
        range_cpu_s=values["request"] * US,
        batch_cpu_s=values["batch"] * US,
        fsync_cpu_s=values["fsync_cpu"] * US,
        append_cpu_s=values["append"] * US,
        append_put_cpu_s=0.0,
        message_cpu_s=values["message"] * US,
        log_byte_s=0.0,
        member_rtt_s=50 * US,
        backend_commit_s=Constant(value=1e-3),
    )
    client = LoadGeneratorSpec(
        wake_cpu_s=values["wake"] * US,
        spin_s=values["spin"] * US,
        cpu_factor=VARIATION,
        request_cpu_s=values["client_request"] * US,
    )
    return etcd, Lognormal(median=values["disk"] * US, sigma=0.35), client


def _rows(series: str, members_of_puts: Iterable[int]) -> list[tuple[Setup, dict[str, float]]]:
    """The rows to fit, each with its measured figures, in seconds."""
    found = []
    for setup, repetitions in recorded(find(None, [series])[0]).items():
        if not is_calibration_row(setup) or (setup.op == "put" and setup.members not in members_of_puts):
            continue
        figures = {
            "latency": np.mean([row["latency_s"]["mean"] for row in repetitions]),
            "etcd": np.mean([row["cpu_us_per_op"]["etcd"] for row in repetitions]) * US,
            "client": np.mean([row["cpu_us_per_op"]["loadgen"] for row in repetitions]) * US,
            "system": np.mean([row["cpu_us_per_op"]["etcd.sys"] for row in repetitions]) * US,
        }
        if setup.op == "put":
            name = "etcd_disk_wal_fsync_duration_seconds"
            figures["fsync"] = np.mean([row["etcd_histograms"][name]["leader"]["mean_s"] for row in repetitions])
        found.append((setup, {key: float(value) for key, value in figures.items()}))
    return found


def _misses(outcome: Outcome, setup: Setup, figures: dict[str, float], values: dict[str, float]) -> list[float]:
    pairs = [
        (float(outcome.latency_s.mean()), figures["latency"]),
        (outcome.etcd_cpu_s, figures["etcd"]),
        (outcome.client_cpu_s, figures["client"]),
    ]
    misses = [np.log(simulated / measured) / TIGHT for simulated, measured in pairs]
    if setup.op == "put":
        misses.append(np.log(outcome.fsync_s / figures["fsync"]) / TIGHT)
    if setup.members == 1 and setup.op in ("put", "getser"):  # one or two wake-ups, and the log write's system call
        system_us = 2 * values["wake"] + values["fsync_cpu"] if setup.op == "put" else values["wake"]
        misses.append(np.log(system_us * US / figures["system"]) / (2 * TIGHT))
    return misses


def fit(series: str) -> tuple[float, dict[str, float]]:
    """(cost, values in microseconds) of the best fit."""
    from scipy.optimize import least_squares

    known, rows = KNOWN[series], _rows(series, KNOWN[series].members_of_puts)
    held = {"disk": (known.disk_us, LOOSE), "fsync_cpu": (known.fsync_cpu_us, LOOSE)}

    def misses(logs: np.ndarray) -> np.ndarray:
        values = dict(zip(NAMES, np.exp(logs).tolist(), strict=True))
        etcd, disk, client = specs(values)
        found = [
            miss
            for setup, figures in rows
            for miss in _misses(run(setup, etcd, disk, client, seconds=1.0, warm_up_s=0.02), setup, figures, values)
        ]
        alike = np.log(values["request"] / values["client_request"]) / LOOSE
        return np.array([*found, alike, *(np.log(values[name] / value) / error for name, (value, error) in held.items())])

    start = [60.0, 60.0, 60.0, 60.0, known.fsync_cpu_us, known.disk_us, 40.0, 70.0, 5.0]
    best = least_squares(misses, np.log(start), diff_step=0.05, max_nfev=10)
    return float(best.cost), dict(zip(NAMES, np.exp(best.x).tolist(), strict=True))


def main() -> None:
    """Print the fit of one calibration's series, or of all."""
    for series in sys.argv[1:] or KNOWN:
        cost, values = fit(series)
        print(f"{series}: cost {cost:.1f};", ", ".join(f"{name} {value:.3g} us" for name, value in values.items()))


if __name__ == "__main__":
    main()
