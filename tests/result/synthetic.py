"""Run records made by hand, without a simulation: plausible columns, the same ones for the same arguments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sim.result.record import RequestKind, ResourceStat, RunRecord
from sim.state.pods import POD_TIMES, STAGES, Column, Phase

MEDIANS_S = {
    "controller": 0.02,
    "create request": 0.006,
    "watch to scheduler": 0.002,
    "scheduling queue": 0.05,
    "scheduling cycle": 0.003,
    "bind rate limit": 0.2,
    "bind request": 0.006,
    "watch to kubelet": 0.002,
    "pod worker": 0.01,
    "volumes": 0.3,
    "sandbox before network": 0.05,
    "sandbox after network": 0.2,
    "network set-up": 0.08,
    "init containers": 1e-6,
    "image pull": 0.4,
    "containers": 0.15,
    "PLEG relist": 0.5,
    "status update": 0.3,
    "watch to client": 0.002,
}
KINDS = (
    RequestKind("POST", "pods", "resource", "replicaset-controller", 201),
    RequestKind("POST", "pods/binding", "resource", "scheduler", 201),
    RequestKind("PATCH", "pods/status", "resource", "kubelet", 200),
    RequestKind("PUT", "leases", "resource", "kubelet", 200),
    RequestKind("GET", "nodes", "resource", "kubelet", 200),
    RequestKind("LIST", "pods", "cluster", "user", 200),
    RequestKind("WATCH", "pods", "cluster", "user", 200),
    RequestKind("POST", "pods", "resource", "user", 429),
    RequestKind("DELETE", "pods", "resource", "user", 200),
)
LEVELS = (
    Column("control_plane_cores_utilisation", "share", "share of the control plane's cores in use"),
    Column("etcd_log_utilisation", "share", "share of time etcd's log was being written"),
    Column("scheduler_client_utilisation", "share", "share of the scheduler's request rate in use"),
    Column("registry_uplink_utilisation", "share", "share of the registry's uplink in use"),
    Column("scheduling_queue", "pods", "pods in the scheduler's active queue"),
    Column("bind_rate_limit_waiting", "pods", "pods waiting for the scheduler's client"),
    Column("apiserver_waiting", "requests", "requests waiting for a core"),
    Column("pods_running", "pods", "pods running"),
)
TEMPLATES: list[dict[str, Any]] = [
    {"namespace": "shop", "cpu_millicores": 250, "memory_bytes": 256 << 20, "images": ["shop/web:1", "mesh/proxy:2"]},
    {"namespace": "shop", "cpu_millicores": 1000, "memory_bytes": 2 << 30, "images": ["shop/db:1"]},
    {"namespace": "batch", "cpu_millicores": 500, "memory_bytes": 512 << 20, "images": ["batch/job:3"]},
]


def empty_pods(count: int) -> dict[str, np.ndarray]:
    """`count` pods to which nothing has happened yet."""
    ids = {name: np.zeros(count, np.int32) for name in ("app", "template", "tenant", "phase", "attempts", "restarts", "address")}
    return {
        **ids,
        "node": np.full(count, -1, np.int32),
        **{column.name: np.full(count, np.nan) for column in POD_TIMES},
    }


def log_of(rows: list[tuple[float, float, int, int]]) -> dict[str, np.ndarray]:
    """A request log from (time_s, latency_s, kind, count) rows."""
    table = np.array(rows, np.float64).reshape(-1, 4)
    return {
        "time_s": table[:, 0].copy(),
        "latency_s": table[:, 1].astype(np.float32),
        "kind": table[:, 2].astype(np.int16),
        "count": table[:, 3].astype(np.int32),
    }


def bare_record(pods: dict[str, np.ndarray] | None = None, **changes: Any) -> RunRecord:
    """A record with nothing in it but `pods`; other fields by name."""
    record = RunRecord(
        scenario={"name": "bare"},
        seed=1,
        replication=0,
        end_s=600.0,
        warm_up_s=0.0,
        complete=True,
        pods=pods if pods is not None else empty_pods(0),
        templates=[{"namespace": "default"}],
        tenants=["tenant-0"],
        requests=log_of([]),
        request_kinds=[],
        nodes={"name": []},
        series={"time_s": np.zeros(0)},
        series_columns=[],
        resources=[],
    )
    return replace(record, **changes)


def started_pods(
    created_s: np.ndarray, startup_s: np.ndarray, pull_s: float | np.ndarray = 0.0
) -> dict[str, np.ndarray]:
    """Pods on node 0 that were seen running `startup_s` after their creation, of which `pull_s` was the image pull."""
    pods = empty_pods(len(created_s))
    for name in ("requested_s", "post_sent_s", "created_s", "queued_s", "popped_s", "scheduled_s", "pull_started_s"):
        pods[name][:] = created_s
    pods["pull_ready_s"][:] = created_s + pull_s
    pods["watched_s"][:] = created_s + startup_s
    pods["phase"][:] = Phase.RUNNING
    pods["attempts"][:] = 1
    pods["node"][:] = 0
    return pods


def make_record(
    pods: int = 2000, nodes: int = 100, end_s: float = 600.0, seed: int = 1, partial: bool = False
) -> RunRecord:
    """A whole run: pods arrive evenly in random order, some never fit, some are still starting when the run ends."""
    rng = np.random.default_rng(seed)
    table = empty_pods(pods)
    table["template"] = rng.integers(len(TEMPLATES), size=pods).astype(np.int32)
    table["tenant"] = np.minimum(rng.geometric(0.25, size=pods) - 1, 11).astype(np.int32)
    table["app"] = np.arange(pods, dtype=np.int32) // 4
    clock = np.sort(rng.uniform(0, end_s, pods))
    table["requested_s"][:] = clock
    for stage in STAGES:
        clock = clock + rng.lognormal(np.log(MEDIANS_S[stage.name]), 0.7, pods)
        if stage.name == "sandbox after network":
            table["sandbox_started_s"][:] = table["volumes_ready_s"]
        if stage.name == "image pull":
            table["sandbox_ready_s"][:] = table["network_ready_s"]
            table["initialized_s"][:] = table["pull_started_s"][:] = table["network_ready_s"]
            clock = np.where(rng.random(pods) < 0.6, table["pull_started_s"], clock)
        table[stage.end][:] = clock
    unfit = rng.random(pods) < 0.03
    table["attempts"][:] = np.where(unfit, 3, 1)
    table["node"] = np.where(unfit, -1, rng.integers(nodes, size=pods)).astype(np.int32)
    after_refusal = [
        column.name for column in POD_TIMES[POD_TIMES.index(next(c for c in POD_TIMES if c.name == "scheduled_s")) :]
    ]
    for name in after_refusal:
        table[name][unfit] = np.nan
    finished = rng.random(pods) < 0.3
    table["finished_s"][finished] = table["watched_s"][finished] + rng.exponential(60.0, int(finished.sum()))
    table["gone_s"][finished] = table["finished_s"][finished] + 0.5
    for column in POD_TIMES:  # what lies beyond the end has not happened
        table[column.name][table[column.name] > end_s] = np.nan
    unbound = np.isnan(table["bound_s"])
    table["node"][unbound] = -1
    phase = np.full(pods, Phase.PENDING)
    phase[~unbound] = Phase.SCHEDULED
    phase[~np.isnan(table["running_s"])] = Phase.RUNNING
    phase[~np.isnan(table["gone_s"])] = Phase.SUCCEEDED
    table["phase"] = phase.astype(np.int32)
    return RunRecord(
        scenario={
            "name": "synthetic",
            "kubernetes": "1.20",
            "nodes": {"count": nodes},
            "horizon_s": end_s,
            "network": {"cni": {"type": "bridge"}},
        },
        seed=seed,
        replication=0,
        end_s=end_s if not partial else end_s * 0.75,
        warm_up_s=end_s / 10,
        complete=not partial,
        pods=table,
        templates=TEMPLATES,
        tenants=[f"tenant-{i:02}" for i in range(12)],
        requests=_requests(table, rng, end_s, nodes),
        request_kinds=list(KINDS),
        nodes=_nodes(table, nodes, rng),
        **_series(table, rng, end_s),
        resources=[
            ResourceStat("control-plane cores", "apiserver", 64, 0.31, 0.58, 40 * pods, 0.0001, 12),
            ResourceStat("etcd log", "etcd", 1, 0.44, 0.71, 3 * pods, 0.0004, 9),
            ResourceStat("scheduler client", "scheduler", 50, 0.86, 1.0, pods, 0.24, 140),
            ResourceStat("registry uplink", "images", 1.25e9, 0.35, 0.92, pods // 2, 0.05, 60),
        ],
        reasons={"Insufficient cpu": int(unfit.sum()) - 3, "node(s) had untolerated taint {gpu: true}": 3},
        unschedulable_text=f"0/{nodes} nodes are available: {nodes} Insufficient cpu.",
        counters={
            "events": 57 * pods,
            "scheduling_attempts": pods + 60,
            "nodes_filtered": 90 * pods,
            "etcd_batches": 2 * pods,
        },
        wall={"build": 0.4, "simulate": 3.25, "kernels": 0.9},
        notes=["60 pods are pending at the end: see the reasons"],
    )


def _requests(
    table: dict[str, np.ndarray], rng: np.random.Generator, end_s: float, nodes: int
) -> dict[str, np.ndarray]:
    parts = []

    def add(kind: int, time: np.ndarray, median_s: float, count: int = 1) -> None:
        time = time[~np.isnan(time)]
        latency = rng.lognormal(np.log(median_s), 0.6, len(time))
        parts.append((time, latency, np.full(len(time), kind), np.full(len(time), count)))

    add(0, table["created_s"], 0.006)
    add(1, table["bound_s"], 0.005)
    add(2, table["running_s"], 0.008)
    add(2, table["gone_s"], 0.008)
    ticks = np.arange(1.0, end_s)
    add(3, ticks, 0.003, max(nodes // 10, 1))
    add(4, ticks, 0.001, max(nodes // 20, 1))
    add(5, ticks[::30], 0.4)
    add(6, ticks[:3], 0.2)
    add(7, ticks[::60], 0.0005)
    time, latency, kind, count = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(time, kind="stable")
    return {
        "time_s": time[order],
        "latency_s": latency[order].astype(np.float32),
        "kind": kind[order].astype(np.int16),
        "count": count[order].astype(np.int32),
    }


def _nodes(table: dict[str, np.ndarray], nodes: int, rng: np.random.Generator) -> dict[str, Any]:
    bound = table["node"][table["node"] >= 0]
    here = np.bincount(bound, minlength=nodes)
    cpu = np.array([template["cpu_millicores"] for template in TEMPLATES])[table["template"]]
    memory = np.array([template["memory_bytes"] for template in TEMPLATES])[table["template"]]
    used = table["node"] >= 0
    per_node = max(int(here.max()), 1)
    return {
        "name": [f"node-{i:05}" for i in range(nodes)],
        "pool": ["general"] * nodes,
        "zone": [f"zone-{'abc'[i % 3]}" for i in range(nodes)],
        "allocatable_cpu": rng.choice([900, 1200], nodes) * per_node,
        "requested_cpu": np.bincount(table["node"][used], cpu[used], nodes).astype(np.int64),
        "allocatable_memory": np.full(nodes, (2 << 30) * per_node),
        "requested_memory": np.bincount(table["node"][used], memory[used], nodes).astype(np.int64),
        "allocatable_gpu": np.zeros(nodes, np.int64),
        "requested_gpu": np.zeros(nodes, np.int64),
        "pods": here,
        "pods_started": here,
    }


def _series(table: dict[str, np.ndarray], rng: np.random.Generator, end_s: float) -> dict[str, Any]:
    time = np.arange(1.0, end_s + 0.5)
    wave = 0.5 + 0.5 * np.sin(time / end_s * 12)
    running = np.searchsorted(np.sort(table["running_s"]), time)
    return {
        "series_columns": list(LEVELS),
        "series": {
            "time_s": time,
            "control_plane_cores_utilisation": np.clip(0.2 + 0.3 * wave + rng.normal(0, 0.03, len(time)), 0, 1),
            "etcd_log_utilisation": np.clip(0.3 + 0.3 * wave + rng.normal(0, 0.05, len(time)), 0, 1),
            "scheduler_client_utilisation": np.clip(0.6 + 0.5 * wave, 0, 1),
            "registry_uplink_utilisation": np.clip(rng.gamma(2, 0.15, len(time)), 0, 1),
            "scheduling_queue": rng.poisson(3 + 10 * wave).astype(np.float64),
            "bind_rate_limit_waiting": np.maximum(0, 120 * (wave - 0.4)),
            "apiserver_waiting": rng.poisson(2.0, len(time)).astype(np.float64),
            "pods_running": running.astype(np.float64),
        },
    }
