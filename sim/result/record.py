"""What a run leaves behind, as plain columns: the seam between the simulation and the result's tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sim.state.pods import Column


@dataclass(frozen=True, slots=True)
class RequestKind:
    """What requests are grouped by."""

    verb: str
    """POST, PUT, PATCH, DELETE, GET, LIST, WATCH"""
    resource: str
    """`pods`, `pods/binding`, `pods/status`, `leases`, `events`, ..."""
    scope: str
    """resource, namespace or cluster"""
    client: str
    """Component that asked: kubelet, scheduler, replicaset-controller, user, ..."""
    code: int
    """HTTP status"""


@dataclass(frozen=True, slots=True)
class ResourceStat:
    """How one contended thing (cores, seats, log, link, rate limiter, lock) was used over the measured window."""

    name: str
    """`control-plane cores`, `etcd log`, `scheduler client`, `registry uplink`, ..."""
    room: str
    """apiserver, etcd, scheduler, controllers, kubelet, runtime, images, network"""
    capacity: float
    """Units that can be in use at once (cores, seats) or a rate (tokens per second)."""
    utilisation: float
    """Mean share of the capacity in use, 0 to 1."""
    peak_utilisation: float
    """Largest share in any sample period."""
    served: int
    """Jobs, requests or batches that passed."""
    mean_wait_s: float
    """Mean time one of them waited because of others, s."""
    max_queue: int
    """Most that waited at once."""


def no_fsyncs() -> dict[str, np.ndarray]:
    """The columns of `RunRecord.fsyncs`, without rows."""
    return {"time_s": np.zeros(0), "latency_s": np.zeros(0, np.float32), "member": np.zeros(0, np.int32)}


def no_traffic() -> dict[str, np.ndarray]:
    """The columns of `RunRecord.traffic`, without rows."""
    text = {name: np.zeros(0, object) for name in ("traffic", "kind", "outcome")}
    amounts = ("bytes", "wire_bytes", "lost_bytes", "cpu_s", "p50_s", "p90_s", "p99_s")
    return {**text, "count": np.zeros(0, np.int64), **{name: np.zeros(0) for name in amounts}}


def no_faults() -> dict[str, np.ndarray]:
    """The columns of `RunRecord.faults`, without rows."""
    return {"fault": np.zeros(0, object), "number": np.zeros(0, np.int32), "begin_s": np.zeros(0), "end_s": np.zeros(0)}


@dataclass
class RunRecord:
    """Everything `Result` is made from. All times in simulated seconds."""

    scenario: dict[str, Any]
    """The fully resolved scenario."""
    seed: int
    replication: int
    end_s: float
    """Simulated time at which the run ended."""
    warm_up_s: float
    """Pods requested before this time are left out of summaries."""
    complete: bool
    """False when the run was interrupted."""
    pods: dict[str, np.ndarray]
    """Columns of `sim.state.pods`: POD_IDS and POD_TIMES, one row a pod."""
    templates: list[dict[str, Any]]
    """One a pod spec: namespace, cpu_millicores, memory_bytes, images, ..."""
    tenants: list[str]
    requests: dict[str, np.ndarray]
    """time_s (f8, when answered), latency_s (f4), kind (i2, index into request_kinds), count (i4: 1, or the
    requests of an aggregated tick)."""
    request_kinds: list[RequestKind]
    nodes: dict[str, Any]
    """One row a node: name, pool, zone, and for each resource allocatable_*, requested_* at the end (cpu in millicores, memory
    in bytes); pods at the end; pods_started."""
    series: dict[str, np.ndarray]
    """time_s and one column a level, sampled every sample_period_s (mean over the period for utilisations)."""
    series_columns: list[Column]
    """Name, unit, meaning of each column of series but time_s. Names ending in `_utilisation` are shares of a capacity
    (unit `share`, 0 to 1), names ending in `_queue` or `_waiting` are lengths of queues: figures find them by this."""
    resources: list[ResourceStat]
    fsyncs: dict[str, np.ndarray] = field(default_factory=no_fsyncs)
    """time_s (f8, when it ended), latency_s (f4) and member (i4) of each fsync of etcd's log."""
    traffic: dict[str, np.ndarray] = field(default_factory=no_traffic)
    """One row an outcome of a named traffic: see the schema."""
    faults: dict[str, np.ndarray] = field(default_factory=no_faults)
    """One row a strike of a fault, in the order of the strikes: see the schema."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Pods pending at the end by the scheduler's (or quota's) reason."""
    unschedulable_text: str = ""
    """One full FitError text as an example, if any."""
    counters: dict[str, int] = field(default_factory=dict)
    """Exact counts: events, nodes_filtered, nodes_scored, scheduling_attempts, etcd_batches, ..."""
    wall: dict[str, float] = field(default_factory=dict)
    """Wall-clock seconds by part: build, simulate, kernels."""
    notes: list[str] = field(default_factory=list)
    """What the user should be told: unverified parameters in use, refused input rows, stuck pods."""
