"""etcd alone: closed-loop clients and members on shared cores; the benchmark's rows, and their replay."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from simpy.events import Event

from experiments.validate.beds import LoadGeneratorSpec, bed, calibrated
from experiments.validate.judge import MIDDLE, Metric, Row, latencies, latencies_of, latency_metrics
from experiments.validate.judge import Outcome as Replayed
from experiments.validate.truth import Truth
from sim.base.rand import Distribution, Streams
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.etcd.spec import EtcdSpec
from sim.etcd.store import Etcd

FAMILY = "etcd"
FILE = "etcd.json"

METRICS = {
    "throughput": Metric("1/s", 1.0, MIDDLE),
    **latency_metrics(),
    "etcd CPU an operation": Metric("us", 1e6, MIDDLE),
    "client CPU an operation": Metric("us", 1e6),
    "fsyncs a write": Metric("", 1.0, MIDDLE),
    "fsync mean": Metric("ms", 1e3),
    "cores busy": Metric("cores", 1.0, MIDDLE),
}

FLOORS: dict[tuple[str, int], dict[str, float]] = {
    ("measured-1.20-2core", 1): {"throughput": 19, "latency mean": 19, "latency p50": 19, "latency p99": 31},
    ("measured-1.20-2core", 3): {
        "throughput": 10,
        "latency mean": 10,
        "latency p50": 10,
        "latency p99": 14,
        "etcd CPU an operation": 8,
    },
    ("measured-1.20-2core-noisy", 3): {
        "throughput": 75,
        "latency mean": 79,
        "latency p50": 79,
        "latency p99": 167,
        "etcd CPU an operation": 70,
    },
}
"""How far repetitions of puts differ, in percent, by series and members (our repetitions of the measurements)."""
RATIO_FLOORS = {"latency p50/mean": 10.0, "latency p99/p50": 113.0, "cores busy": 28.0}
"""Worst of all rows with three members and repetitions."""
UNUSABLE = {("measured-1.20-2core-noisy", 1): "puts that met foreign load or a slow disk"}


@dataclass(frozen=True, slots=True)
class Setup:
    """One row of the benchmark."""

    op: str
    """put, getlin or getser."""
    clients: int
    members: int
    value_bytes: int
    everywhere: bool = False
    """Clients are spread over the members; else all are connected to the leader."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a row measures. Times in seconds, CPU in core seconds an operation."""

    latency_s: np.ndarray
    ops_per_s: float
    etcd_cpu_s: float
    client_cpu_s: float
    fsyncs_per_op: float
    """Of the leader."""
    fsync_s: float
    """Mean of the leader, its CPU part included; 0 without writes."""
    cores_busy: float = 0.0


def run(
    setup: Setup,
    etcd_spec: EtcdSpec,
    fsync_s: Distribution,
    load: LoadGeneratorSpec,
    *,
    cores: int = 2,
    seconds: float = 3.0,
    warm_up_s: float = 0.5,
    seed: int = 1,
) -> Outcome:
    """Run one row: all members and the client process on one machine of `cores` cores, each member's log on `fsync_s`."""
    clock = Clock()
    machine = Machine(clock, "test bed", "etcd", cores)
    endpoint = "all" if setup.everywhere else "leader"
    machines = ("test-bed",) * setup.members
    spec = etcd_spec.model_copy(update={"machines": machines, "messages": True, "endpoint": endpoint})
    streams = Streams(seed)
    etcd = Etcd(clock, spec, [machine] * setup.members, [fsync_s] * setup.members, streams)
    program = load.program(clock, machine, streams)
    latencies: list[float] = []

    def client() -> Generator[Event, Any, None]:
        while True:
            begun_s = clock._now
            yield program.work(load.request_cpu_s)
            if setup.op == "put":
                yield etcd.put(size_bytes=setup.value_bytes)
            else:
                yield etcd.range(serializable=setup.op == "getser")
            if clock._now >= warm_up_s:
                latencies.append(clock._now - begun_s)

    for _ in range(setup.clients):
        clock.start(client())
    clock.run_until(warm_up_s)

    def so_far() -> np.ndarray:
        disk = etcd.disks[0]
        return np.array(
            [
                sum(member.cpu_s for member in etcd.programs),
                program.cpu_s,
                disk.fsyncs,
                disk.busy_s,
                machine.meter.read()[0],
            ]
        )

    before = so_far()
    clock.run_until(warm_up_s + seconds)
    used = so_far() - before
    ops = len(latencies)
    return Outcome(
        np.array(latencies),
        ops / seconds,
        used[0] / ops,
        used[1] / ops,
        used[2] / ops,
        used[3] / max(1.0, used[2]),
        used[4] / seconds,
    )


def is_calibration_row(setup: Setup) -> bool:
    """Whether costs were taken from it."""
    return setup.clients == 1 and setup.value_bytes == 256


def recorded(truth: Truth) -> dict[Setup, list[dict[str, Any]]]:
    """The setups of a series with their repetitions."""
    found: dict[Setup, list[dict[str, Any]]] = {}
    for row in truth.rows(FILE):
        everywhere = row.get("target") == "all" and row["members"] > 1
        setup = Setup(row["op"], row["clients"], row["members"], row["value_bytes"], everywhere)
        found.setdefault(setup, []).append(row)
    return found


def rows(truth: Truth) -> list[Row]:
    """The rows of a series."""
    return [_row(setup, repetitions, truth.calibration) for setup, repetitions in recorded(truth).items()]


def _row(setup: Setup, repetitions: list[dict[str, Any]], calibration: str) -> Row:
    measured: dict[str, list[float]] = {}
    for row in repetitions:
        for name, value in _figures(row).items():
            measured.setdefault(name, []).append(value)
    put = setup.op == "put"
    floors = FLOORS.get((calibration, setup.members), {}) if put else {}
    return Row(
        FAMILY,
        f"{setup.op} {setup.value_bytes} B, {setup.clients} clients, {setup.members} members"
        + (", all of them" if setup.everywhere else ""),
        setup,
        measured,
        calibrates=is_calibration_row(setup),
        unusable=UNUSABLE.get((calibration, setup.members), "") if put else "",
        quantiles={"latency": [np.array(row["latency_s"]["q50"]) for row in repetitions if "q50" in row["latency_s"]]},
        floors={**RATIO_FLOORS, **floors},
    )


def _figures(row: dict[str, Any]) -> dict[str, float]:
    cpu = row["cpu_us_per_op"]
    found = {
        "throughput": float(row["ops_per_s"]),
        **latencies(row["latency_s"]),
        "etcd CPU an operation": cpu["etcd"] * 1e-6,
        "client CPU an operation": cpu["loadgen"] * 1e-6,
        "cores busy": cpu.get("machine_busy", cpu["etcd"] + cpu["loadgen"]) * 1e-6 * row["ops_per_s"],
    }
    if row["op"] == "put" and row.get("etcd_histograms"):
        log = row["etcd_histograms"]["etcd_disk_wal_fsync_duration_seconds"]["leader"]
        backend = row["etcd_histograms"]["etcd_disk_backend_commit_duration_seconds"]["leader"]
        covered_s = backend["count"] * (
            0.1 + backend["mean_s"]
        )  # more than the row's window: the backend commits every 0.1 s
        found["fsyncs a write"] = float(log["count"] * row["wall_s"] / covered_s / row["ops"])
        found["fsync mean"] = float(log["mean_s"])
    return found


def replay(setup: Setup, calibration: str, seconds: float, seed: int) -> Replayed:
    """Run one row with a calibration's costs."""
    if setup.op not in ("put", "getlin", "getser"):
        return Replayed({}, failed=f"operation '{setup.op}' is not simulated")
    etcd, fsync_s, cores = calibrated(calibration)
    out = run(setup, etcd, fsync_s, bed(calibration).etcd_client, cores=cores, seconds=seconds, seed=seed)
    return Replayed(
        {
            "throughput": out.ops_per_s,
            **latencies_of(out.latency_s),
            "etcd CPU an operation": out.etcd_cpu_s,
            "client CPU an operation": out.client_cpu_s,
            "fsyncs a write": out.fsyncs_per_op,
            "fsync mean": out.fsync_s,
            "cores busy": out.cores_busy,
        },
        {"latency": out.latency_s},
    )
