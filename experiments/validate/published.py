"""Published figures of control planes, beside what the simulator says of a cluster set up as stated.

All costs are those of measured-1.20-2core: other machines, versions and disks than the published ones, so this shows the order of
size and the mechanism, not accuracy. What a set-up assumes beyond what was published stands in its note.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from simpy.events import Event

from experiments.validate import api_requests, beds
from experiments.validate.truth import shared_folder
from sim.apiserver.request import list_operation
from sim.base.rand import Lognormal, Streams
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.etcd.store import Etcd
from sim.kubelet.spec import KubeletSpec

if TYPE_CHECKING:
    import pandas as pd

NAME = "published"
FILE = "reference/validation_targets.csv"
COSTS = "measured-1.20-2core"
CLOUD_RTT_S = 2.5e-4
"""Between virtual machines of one zone: our estimate."""
CLOUD_FLUSH_S = 1.0e-3
"""A flush of a cloud's replicated SSD: our estimate."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """How one published figure is predicted."""

    value: Callable[[int], float]
    """Of a seed, in the unit of the published figure."""
    note: str


# --- etcd on three machines of its own


@cache
def _etcd(op: str, clients: int, everywhere: bool, seed: int) -> tuple[float, float]:
    """(operations a second, mean latency in ms) of 8-core members and a client machine."""
    costs, _, _ = beds.calibrated(COSTS)
    load = beds.bed(COSTS).etcd_client
    clock, streams = Clock(), Streams(seed)
    members = [Machine(clock, f"member {number}", "etcd", 8) for number in range(3)]
    disk = Lognormal(median=CLOUD_FLUSH_S, sigma=0.35, maximum=1.0)
    spec = costs.model_copy(
        update={"machines": ("a", "b", "c"), "member_rtt_s": CLOUD_RTT_S, "endpoint": "all" if everywhere else "leader"}
    )
    etcd = Etcd(clock, spec, members, [disk] * 3, streams)
    program = load.program(clock, Machine(clock, "client", "etcd", 16), streams)
    warm_up_s, seconds = (0.5, 2.0) if clients == 1 else (0.1, 0.3)
    latency_s: list[float] = []

    def client() -> Generator[Event, Any, None]:
        while True:
            begun_s = clock._now
            yield program.work(load.request_cpu_s)
            yield clock.timeout(CLOUD_RTT_S / 2)
            yield etcd.put(size_bytes=256) if op == "put" else etcd.range(serializable=op == "getser")
            yield clock.timeout(CLOUD_RTT_S / 2)
            if clock._now > warm_up_s:
                latency_s.append(clock._now - begun_s)

    for _ in range(clients):
        clock.start(client())
    clock.run_until(warm_up_s + seconds)
    return len(latency_s) / seconds, float(np.mean(latency_s)) * 1e3


def _throughput(op: str, clients: int, everywhere: bool = False) -> Prediction:
    return Prediction(lambda seed: _etcd(op, clients, everywhere, seed)[0], ETCD_NOTE)


def _latency(op: str, clients: int, everywhere: bool = False) -> Prediction:
    return Prediction(lambda seed: _etcd(op, clients, everywhere, seed)[1], ETCD_NOTE)


ETCD_NOTE = (
    f"8 cores a member, 16 for the clients; assumed: {CLOUD_RTT_S * 1e3:g} ms between machines, {CLOUD_FLUSH_S * 1e3:g} ms a flush; "
    "etcd 3.4's costs"
)


# --- LISTs that select nothing


@cache
def _lists(objects: int, object_bytes: int, from_cache: bool, seed: int) -> tuple[np.ndarray, float]:
    """(latencies in ms, cores of the API server) of a LIST a second over `objects` that returns none, for a minute."""
    row = api_requests.Setup("list", 1, "cert", True, 0, 1000, False, 0, 0)
    scenario = api_requests.scenario_of(row, COSTS).replace(
        {
            "machines.control-plane.cores": 8,
            "etcd.object_bytes.configmaps": object_bytes,
            "apiserver.lists.consistent_from_cache": from_cache,
            "apiserver.encoding.encode_protobuf_byte_cpu_s": 0.0,
            "apiserver.encoding.gzip_threshold_bytes": None,
        }
    )
    bench = api_requests.Bench(scenario, api_requests.load_of(row), beds.bed(COSTS), seed)
    bench.cluster.storage.add("configmaps", "", objects)
    operation = list_operation("configmaps", selects="one") if from_cache else list_operation("configmaps")
    client = bench.connect(api_requests.user_of(row))
    latency_s: list[float] = []

    def one() -> Generator[Event, Any, None]:
        begun_s = bench.clock._now
        yield from client.send(operation, "")
        latency_s.append(bench.clock._now - begun_s)

    def play() -> Generator[Event, Any, None]:
        for _ in range(60):
            bench.clock.start(one())
            yield bench.clock.timeout(1.0)

    bench.clock.start(play())
    bench.clock.run_until(60.0)
    return np.array(latency_s) * 1e3, float(bench.used()[0] / 60.0)


def _list_latency(objects: int, object_bytes: int, from_cache: bool, quantile: float) -> Prediction:
    return Prediction(
        lambda seed: float(np.quantile(_lists(objects, object_bytes, from_cache, seed)[0], quantile)), LIST_NOTE
    )


def _list_cores(objects: int, object_bytes: int, from_cache: bool) -> Prediction:
    return Prediction(lambda seed: _lists(objects, object_bytes, from_cache, seed)[1], LIST_NOTE)


LIST_NOTE = "assumed: 8 cores for API server and etcd together; nothing is returned, so nothing is encoded"


# --- arithmetic that a cluster's parameters settle


def _leases_mb_per_min(seed: int) -> float:
    del seed  # nothing is drawn
    nodes, node_bytes, status_period_s = 5000, 25_000, 300.0
    etcd, *_ = beds.calibrated(COSTS)
    leases = nodes / KubeletSpec().lease_period_s * etcd.object_bytes["leases"]
    return (leases + nodes / status_period_s * node_bytes) * 60 / 1e6


def _renewals(nodes: int) -> Prediction:
    return Prediction(lambda _: nodes / KubeletSpec().lease_period_s, "one renewal a node and lease period")


SMALL, LARGE = (300_000, 1_000), (300, 1_000_000)
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
PREDICTIONS: dict[str, Prediction] = {
    "etcd32_put_1c_qps": _throughput("put", 1),
    "etcd32_put_1000c_leader_qps": _throughput("put", 1000),
    "etcd32_put_1000c_leader_lat": _latency("put", 1000),
    "etcd32_put_1000c_all_qps": _throughput("put", 1000, everywhere=True),
    "etcd32_put_1000c_all_lat": _latency("put", 1000, everywhere=True),
    "etcd32_get_lin_1c_qps": _throughput("getlin", 1),
    "etcd32_get_lin_1c_lat": _latency("getlin", 1),
    "etcd32_get_ser_1c_qps": _throughput("getser", 1),
    "etcd32_get_lin_1000c_qps": _throughput("getlin", 1000),
    "etcd32_get_lin_1000c_lat": _latency("getlin", 1000),
    **{
        f"list_{'on' if cached else 'off'}_{size}_{name}": _list_latency(*objects, cached, quantile)
        for cached in (True, False)
        for size, objects in (("small", SMALL), ("large", LARGE))
        for name, quantile in QUANTILES.items()
    },
    "list_on_small_cpu": _list_cores(*SMALL, True),
    "list_off_large_cpu": _list_cores(*LARGE, False),
    "lease_after": Prediction(_leases_mb_per_min, "Leases as stored, and a 25 kB node object each 5 minutes"),
    "k1m_lease_rate": _renewals(1_000_000),
    "gke130k_lease": _renewals(130_000),
}
NOT_PREDICTED: dict[str, str] = {
    "pod_start_k8s12": "an upper bound of a version before 1.12: `kubedes run density --set nodes.count=1000` shows today's",
    "api_k8s16": "an upper bound: `kubedes run density` judges it as a service level",
    "watch_need": "a need, not a measurement",
    "k1m_etcd_ram": "a ramdisk and 192 cores: no cost of this kind was measured",
    "k1m_watchcache": "a custom store, or a lock inside the watch cache that is not simulated",
    "k1m_watches": "a count of a real kubelet's watches, taken as a parameter",
    "etcd22": "etcd 2: another store and protocol",
    "openai_etcd": "a property of one disk, taken as a parameter",
    "watchlist": "streaming lists are not simulated",
    "lease_before": "heartbeats in node objects are not simulated",
    "eps_": "an analysis of bytes: how large an EndpointSlice is, and not what a cluster did with it",
    "netprog": "rules on nodes: see `kubedes validate network`",
}
"""Figures of the same subjects without a prediction, by how their names begin."""


def compare(seed: int = 1) -> pd.DataFrame | None:
    """One line a published figure; None where the file of them is not here."""
    import pandas as pd

    folder = shared_folder()
    path = (folder or Path("shared")) / FILE
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return pd.DataFrame([line for row in rows if (line := _line(row, seed)) is not None])


def _line(row: dict[str, str], seed: int) -> dict[str, Any] | None:
    name = row["name"]
    prediction = PREDICTIONS.get(name)
    reason = next((text for head, text in NOT_PREDICTED.items() if name.startswith(head)), "")
    if prediction is None and not reason:
        return None
    published = float(row["value"])
    simulated = prediction.value(seed) if prediction is not None else None
    return {
        "figure": name,
        "workload": row["workload"],
        "metric": row["metric"],
        "unit": row["unit"],
        "published": published,
        "simulated": simulated,
        "ratio": simulated / published if simulated is not None else None,
        "note": prediction.note if prediction is not None else f"not predicted: {reason}",
    }
