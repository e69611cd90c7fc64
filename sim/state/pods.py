"""The pod table: one row a pod, one column a moment of its way.

Every stage's start and end is a column (NaN = has not happened), so a finished pod costs a row of numbers
and nothing else. `STAGES` names the stages between the columns in the order of the pod's way.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Phase(IntEnum):
    """Where a pod is now; from SUCCEEDED on it is final."""

    WAITING = 0
    """Not yet posted: its application has not arrived or its controller has not come to it."""
    PENDING = 1
    SCHEDULED = 2
    """Bound to a node, containers not all started."""
    RUNNING = 3
    SUCCEEDED = 4
    DELETED = 5
    REFUSED = 6
    """The API server refused to create it (quota, authorization) and its owner has given up."""
    FAILED = 7
    """Its node refused it, evicted it, or its containers ended with an error and are not started again."""


@dataclass(frozen=True, slots=True)
class Column:
    """A declared column: its name carries the unit; `meaning` is what the user reads."""

    name: str
    unit: str
    meaning: str


POD_TIMES: tuple[Column, ...] = (
    Column("requested_s", "s", "the user asked for the pod's application (simulated time)"),
    Column("post_sent_s", "s", "its owner sent the POST, after its own client rate limiter"),
    Column("created_s", "s", "stored by etcd: the creation timestamp"),
    Column("queued_s", "s", "the scheduler's watch delivered it: in the active queue"),
    Column("popped_s", "s", "its last scheduling attempt began"),
    Column("scheduled_s", "s", "a node was chosen and assumed"),
    Column("bind_sent_s", "s", "the binding was sent, after the scheduler's client rate limiter"),
    Column("bound_s", "s", "the binding was stored by etcd"),
    Column("kubelet_seen_s", "s", "the node's kubelet watch delivered it"),
    Column("worker_started_s", "s", "the pod worker began syncPod"),
    Column("volumes_ready_s", "s", "volumes and secrets mounted"),
    Column("sandbox_started_s", "s", "run_pod_sandbox was called"),
    Column("network_started_s", "s", "the CNI plugin began"),
    Column("network_ready_s", "s", "the CNI plugin answered"),
    Column("sandbox_ready_s", "s", "the sandbox runs"),
    Column("initialized_s", "s", "its init containers have ended and its sidecars have started; equal to `sandbox_ready_s` without any"),
    Column("pull_started_s", "s", "the first missing image was asked for; equal to its end when all are on the node"),
    Column("pull_ready_s", "s", "all images are on the node"),
    Column("containers_started_s", "s", "the last container started"),
    Column("observed_s", "s", "the kubelet's PLEG saw the containers running"),
    Column("running_s", "s", "status Running stored by etcd"),
    Column("ready_s", "s", "condition Ready stored by etcd for the first time: running, and its readiness probes answer"),
    Column("watched_s", "s", "a watcher of the pod saw status Running"),
    Column("reachable_50_s", "s", "half of the other nodes have its route (and its address in their policies' sets)"),
    Column("reachable_90_s", "s", "90 % of the other nodes have its route"),
    Column("reachable_99_s", "s", "99 % of the other nodes have its route"),
    Column("reachable_all_s", "s", "every other node has its route"),
    Column("serving_50_s", "s", "half of the nodes' kube-proxies send connections of its service to it"),
    Column("serving_all_s", "s", "every node's kube-proxy sends connections of its service to it"),
    Column("finished_s", "s", "its containers ended by themselves"),
    Column("delete_requested_s", "s", "a DELETE was sent for it"),
    Column("killed_s", "s", "its containers were stopped after a DELETE"),
    Column("gone_s", "s", "its object was removed, or its final status stored"),
)

POD_IDS: tuple[Column, ...] = (
    Column("app", "row", "application, a row of the load"),
    Column("template", "row", "pod spec, a row of the load's templates"),
    Column("tenant", "row", "tenant"),
    Column("node", "row", "node it was bound to; -1 = none yet"),
    Column("phase", "code", "see Phase"),
    Column("attempts", "count", "scheduling attempts"),
    Column("restarts", "count", "times that its containers were started again"),
    Column("address", "row", "its address, counted from the start of the range that it was taken from; -1 = none (yet)"),
)

REACHABLE: tuple[tuple[str, float], ...] = (
    ("reachable_50_s", 0.5), ("reachable_90_s", 0.9), ("reachable_99_s", 0.99), ("reachable_all_s", 1.0))
"""Columns of when a share of a pod's peers can reach it."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of a pod's start: from one column to another, and the room that it is spent in."""

    name: str
    start: str
    end: str
    room: str


STAGES: tuple[Stage, ...] = (
    Stage("controller", "requested_s", "post_sent_s", "controllers"),
    Stage("create request", "post_sent_s", "created_s", "apiserver"),
    Stage("watch to scheduler", "created_s", "queued_s", "apiserver"),
    Stage("scheduling queue", "queued_s", "popped_s", "scheduler"),
    Stage("scheduling cycle", "popped_s", "scheduled_s", "scheduler"),
    Stage("bind rate limit", "scheduled_s", "bind_sent_s", "scheduler"),
    Stage("bind request", "bind_sent_s", "bound_s", "apiserver"),
    Stage("watch to kubelet", "bound_s", "kubelet_seen_s", "apiserver"),
    Stage("pod worker", "kubelet_seen_s", "worker_started_s", "kubelet"),
    Stage("volumes", "worker_started_s", "volumes_ready_s", "kubelet"),
    Stage("sandbox before network", "sandbox_started_s", "network_started_s", "runtime"),
    Stage("network set-up", "network_started_s", "network_ready_s", "network"),
    Stage("sandbox after network", "network_ready_s", "sandbox_ready_s", "runtime"),
    Stage("init containers", "sandbox_ready_s", "initialized_s", "kubelet"),
    Stage("image pull", "pull_started_s", "pull_ready_s", "images"),
    Stage("containers", "pull_ready_s", "containers_started_s", "runtime"),
    Stage("PLEG relist", "containers_started_s", "observed_s", "kubelet"),
    Stage("status update", "observed_s", "running_s", "kubelet"),
    Stage("watch to client", "running_s", "watched_s", "apiserver"),
)
"""In the order of the pod's way. Together they cover requested_s to watched_s: the sandbox starts when the volumes are
ready, the pull when the init containers have ended."""


class PodTable:
    """Growing columns, a row a pod. Scalar writes go to `array` buffers, which are also numpy's view at the end."""

    def __init__(self) -> None:
        self.times: dict[str, array[float]] = {column.name: array("d") for column in POD_TIMES}
        self.ids: dict[str, array[int]] = {column.name: array("i") for column in POD_IDS}
        self.duration_s: array[float] = array("d")
        """Run time of its containers once started; inf = until deleted."""
        self.rows = 0

    def add(self, app: np.ndarray, template: np.ndarray, tenant: np.ndarray, duration_s: np.ndarray) -> int:
        """Append pods, one an element of each array; returns the first new row."""
        first, count = self.rows, len(app)
        self.duration_s.frombytes(np.asarray(duration_s, np.float64).tobytes())
        for buffer in self.times.values():
            buffer.frombytes(np.full(count, np.nan).tobytes())
        given = {"app": app, "template": template, "tenant": tenant, "node": np.full(count, -1), "address": np.full(count, -1)}
        for name, ids in self.ids.items():
            ids.frombytes(np.asarray(given.get(name, np.zeros(count)), np.int32).tobytes())
        self.rows += count
        return first

    def add_like(self, pod: int) -> int:
        """Append a pod that takes the place of `pod`; returns its row."""
        app, template, tenant = (np.array([self.ids[name][pod]]) for name in ("app", "template", "tenant"))
        return self.add(app, template, tenant, np.array([self.duration_s[pod]]))

    def columns(self) -> dict[str, np.ndarray]:
        """Every column as a numpy copy, ids first."""
        return {
            **{name: np.array(buffer, np.int32) for name, buffer in self.ids.items()},
            **{name: np.array(buffer) for name, buffer in self.times.items()},
        }
