"""Watch fan-out: pods are patched at a fixed rate, and so many clients watch them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from simpy.events import Event

from experiments.validate import api_requests, beds
from experiments.validate.judge import EXACT, MIDDLE, Metric, Outcome, Row, latencies, latencies_of, latency_metrics
from experiments.validate.truth import Truth
from sim.apiserver.request import PATCH_POD_STATUS

FAMILY = "watch fan-out"
FILE = api_requests.FILE

METRICS = {
    "events delivered a patch": Metric("", 1.0, EXACT),
    **latency_metrics("patch"),
    **latency_metrics("send to delivery"),
    "API server CPU a patch": Metric("ms", 1e3, MIDDLE),
    "etcd CPU a patch": Metric("ms", 1e3, MIDDLE),
    "client CPU a patch": Metric("ms", 1e3),
}
FLOORS = {
    "patch mean": 46.0,
    "patch p50": 46.0,
    "patch p99": 95.0,
    "send to delivery mean": 46.0,
    "send to delivery p50": 46.0,
    "send to delivery p99": 95.0,
    "API server CPU a patch": 87.0,
    "etcd CPU a patch": 87.0,
    "patch p50/mean": 10.0,
    "patch p99/p50": 82.0,
    "send to delivery p50/mean": 10.0,
    "send to delivery p99/p50": 82.0,
}
"""How far repetitions of status patches differ, percent (our repetitions of the measurements); fan-out itself was measured once."""


@dataclass(frozen=True, slots=True)
class Setup:
    """One row."""

    watchers: int
    rate: float
    patches: int
    protobuf: bool


def rows(truth: Truth) -> list[Row]:
    """The rows of a series."""
    found = []
    for row in truth.rows(FILE, "watch_fanout"):
        setup = Setup(int(row["watchers"]), float(row["rate"]), int(row["patches"]), row.get("accept") == "pb")
        cpu = row["cpu_ms_per_patch"]
        figures = {
            "events delivered a patch": row["events_delivered"] / row["patches"],
            **latencies(row["patch_latency_s"], "patch"),
            **latencies(row["send_to_delivery_s"], "send to delivery"),
            "API server CPU a patch": cpu["apiserver"] * 1e-3,
            "etcd CPU a patch": cpu["etcd"] * 1e-3,
            "client CPU a patch": cpu["loadgen"] * 1e-3,
        }
        found.append(
            Row(
                FAMILY,
                f"{setup.watchers} watchers, {setup.rate:g} patches/s, {'pb' if setup.protobuf else 'json'}",
                setup,
                {name: [float(value)] for name, value in figures.items()},
                calibrates=setup.watchers == 1,
                floors=FLOORS,
                quantiles={
                    "patch": [np.array(row["patch_latency_s"]["q50"])],
                    "send to delivery": [np.array(row["send_to_delivery_s"]["q50"])],
                },
            )
        )
    return found


def replay(setup: Setup, calibration: str, seconds: float, seed: int) -> Outcome:
    """Run one row; its length is the recorded one, not `seconds`."""
    del seconds
    row = api_requests.Setup("patchstatus", 1, "cert", setup.protobuf, 100, 2310, False, 0, 0)
    bed = beds.bed(calibration)
    bench = api_requests.Bench(api_requests.scenario_of(row, calibration), api_requests.load_of(row), bed, seed)
    clock = bench.clock
    sent_s: list[float] = []
    patch_s: list[float] = []
    delivered_s: list[float] = []

    def hear(number: int) -> None:
        bench.client.load(bed.api_client.event_cpu_s)
        if number >= 0:
            delivered_s.append(clock._now - sent_s[number])

    for watcher in range(setup.watchers):
        bench.cluster.watch.watch("bench", f"watcher-{watcher}", {"changed": hear})
    connection = bench.connect(api_requests.user_of(row))

    def patch() -> Generator[Event, Any, None]:
        number = len(sent_s)
        sent_s.append(clock._now)
        yield bench.client.work(bed.api_client.request_cpu_s)
        yield from connection.send(PATCH_POD_STATUS, api_requests.NAMESPACE)
        patch_s.append(clock._now - sent_s[number])
        bench.cluster.watch.publish("bench", "changed", number)

    def patches() -> Generator[Event, Any, None]:
        for _ in range(setup.patches):
            clock.start(patch())
            yield clock.timeout(1.0 / setup.rate)

    before = bench.used()
    clock.start(patches())
    clock.run_until(setup.patches / setup.rate + 1.0)
    used = bench.used() - before
    return Outcome(
        {
            "events delivered a patch": len(delivered_s) / setup.patches,
            **latencies_of(np.array(patch_s), "patch"),
            **latencies_of(np.array(delivered_s), "send to delivery"),
            "API server CPU a patch": used[0] / setup.patches,
            "etcd CPU a patch": used[1] / setup.patches,
            "client CPU a patch": used[3] / setup.patches,
        },
        {"patch": np.array(patch_s), "send to delivery": np.array(delivered_s)},
    )
