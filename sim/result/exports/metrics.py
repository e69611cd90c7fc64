"""Kubernetes' own metrics that a run can fill: name, type, labels and buckets by version, and how each is read off a record.

Sources: Kubernetes source (apiserver endpoints/metrics, pkg/scheduler/metrics, pkg/kubelet/metrics) of 1.12, 1.20 and
1.34; etcd 3.4 source (wal/metrics.go). What a run does not record is not here: no metric is estimated from another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sim.result.record import RequestKind, RunRecord
from sim.result.tables import pull_time

Labels = tuple[tuple[str, str], ...]
"""Label names with their values, in the order of Kubernetes' declaration; an empty value is as good as no label."""
Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Observed:
    """What happened to one series: histograms and counters list their events, gauges their changes of level."""

    labels: Labels
    time_s: np.ndarray
    """float64, rising: when each was observed, in simulated seconds."""
    value: np.ndarray
    """float64: what a histogram observed, by how much a counter grew, or a gauge's level from then on."""
    count: np.ndarray | None = None
    """int64: how many equal observations each one stands for; none: one."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as Kubernetes declares it, in the versions from `since` until before `until`."""

    name: str
    kind: Kind
    job: str
    """The component that exports it; what Prometheus set-ups call the scrape job."""
    help: str
    read: Callable[[RunRecord], Iterator[Observed]]
    buckets: tuple[float, ...] = ()
    since: str = "1.0"
    until: str = ""

    def exists_in(self, version: str) -> bool:
        return as_numbers(self.since) <= as_numbers(version) and (
            not self.until or as_numbers(version) < as_numbers(self.until)
        )


def as_numbers(version: str) -> tuple[int, ...]:
    """A version for comparison: `1.20` -> (1, 20)."""
    return tuple(int(part) for part in version.split(".")[:2])


def exponential(start: float, factor: float, count: int) -> tuple[float, ...]:
    """Prometheus' exponential buckets, rounded to the twelve digits that the clients print."""
    return tuple(float(f"{start * factor**i:.12g}") for i in range(count))


# --- how a record answers


def _sorted(labels: Labels, time_s: np.ndarray, value: np.ndarray, count: np.ndarray | None = None) -> Observed:
    happened = ~(np.isnan(time_s) | np.isnan(value))
    time_s, value = time_s[happened], value[happened]
    order = np.argsort(time_s, kind="stable")
    counts = None if count is None else np.asarray(count[happened][order], np.int64)
    return Observed(labels, time_s[order], np.asarray(value[order], np.float64), counts)


def _between(
    first: str, last: str, *labels: tuple[str, str], scale: float = 1.0
) -> Callable[[RunRecord], Iterator[Observed]]:
    """Durations from one moment of a pod to another, observed at the latter."""

    def read(record: RunRecord) -> Iterator[Observed]:
        begin, end = record.pods[first], record.pods[last]
        yield _sorted(labels, end, (end - begin) * scale)

    return read


def _counted(moment: str, *labels: tuple[str, str]) -> Callable[[RunRecord], Iterator[Observed]]:
    """One for each pod that came to `moment`."""

    def read(record: RunRecord) -> Iterator[Observed]:
        time_s = record.pods[moment]
        yield _sorted(labels, time_s, np.ones(len(time_s)))

    return read


GROUPS = {
    "pods": ("", "v1"),
    "nodes": ("", "v1"),
    "namespaces": ("", "v1"),
    "services": ("", "v1"),
    "endpoints": ("", "v1"),
    "events": ("", "v1"),
    "configmaps": ("", "v1"),
    "secrets": ("", "v1"),
    "deployments": ("apps", "v1"),
    "replicasets": ("apps", "v1"),
    "statefulsets": ("apps", "v1"),
    "daemonsets": ("apps", "v1"),
    "jobs": ("batch", "v1"),
    "leases": ("coordination.k8s.io", "v1"),
    "endpointslices": ("discovery.k8s.io", "v1"),
}
"""API group and version of the resources that components ask for."""


def request_labels(kind: RequestKind, version: str, with_code: bool) -> Labels:
    """The labels of `apiserver_request_*`. 1.12 knew the client and no group; later ones the component and no client.

    A content type is not simulated, and a simulated request is never a dry run: those labels are left out.
    """
    resource, _, subresource = kind.resource.partition("/")
    code = (("code", str(kind.code)),) if with_code else ()
    place = (("resource", resource), ("subresource", subresource), ("scope", kind.scope))
    if as_numbers(version) < (1, 14):
        client = (("client", kind.client),) if with_code else ()
        return (("verb", kind.verb), *place, *client, *code)
    group, api_version = GROUPS.get(resource, ("", ""))
    api = (("group", group), ("version", api_version))
    return (("verb", kind.verb), *api, *place, ("component", "apiserver"), *code)


def _requests(
    with_code: bool, scale: float = 1.0, without: tuple[str, ...] = ()
) -> Callable[[RunRecord], Iterator[Observed]]:
    """The request log by label set: latencies for histograms, numbers of requests for counters (`with_code`)."""

    def read(record: RunRecord) -> Iterator[Observed]:
        version = str(record.scenario.get("kubernetes", "1.20"))
        kinds: dict[Labels, list[int]] = {}
        for index, kind in enumerate(record.request_kinds):
            if kind.verb not in without:
                kinds.setdefault(request_labels(kind, version, with_code), []).append(index)
        log = record.requests
        for labels in sorted(kinds):
            rows = np.flatnonzero(np.isin(log["kind"], kinds[labels]))
            if with_code:
                yield _sorted(labels, log["time_s"][rows], np.asarray(log["count"][rows], np.float64))
            else:
                latency = np.asarray(log["latency_s"][rows], np.float64) * scale
                yield _sorted(labels, log["time_s"][rows], latency, log["count"][rows])

    return read


READING = ("GET", "LIST", "WATCH")


def _in_flight(label: str) -> Callable[[RunRecord], Iterator[Observed]]:
    """Requests that have come and are not answered, changed at each (Kubernetes gives the largest of the last second)."""

    def read(record: RunRecord) -> Iterator[Observed]:
        log = record.requests
        for kind, reads in (("mutating", False), ("readOnly", True)):
            kinds = [at for at, one in enumerate(record.request_kinds) if (one.verb in READING) == reads and one.verb != "WATCH"]
            rows = np.flatnonzero(np.isin(log["kind"], kinds) & (log["count"] == 1))
            end_s = np.asarray(log["time_s"][rows], np.float64)
            time_s = np.concatenate([end_s - log["latency_s"][rows], end_s])
            steps = np.concatenate([np.ones(len(rows)), -np.ones(len(rows))])
            order = np.lexsort((steps, time_s))
            yield Observed(((label, kind),), time_s[order], np.cumsum(steps[order]))

    return read


SEATS = " seats"
"""What the names of the priority levels' seats end with."""


def _queued(record: RunRecord) -> Iterator[Observed]:
    """Requests that wait at each priority level: the mean over the sample period."""
    for stat in record.resources:
        level = stat.name.removesuffix(SEATS)
        if level != stat.name and " " not in level:
            waiting = np.asarray(record.series[f"{level}_seats_queue"], np.float64)
            yield _sorted((("priority_level", level),), record.series["time_s"], waiting)


def _unschedulable(record: RunRecord) -> Iterator[Observed]:
    if "unschedulable_waiting" in record.series:
        level = np.asarray(record.series["unschedulable_waiting"], np.float64)
        yield _sorted((("queue", "unschedulable"),), record.series["time_s"], level)


def _level_of_pods(enter: str, leave: str) -> Callable[[RunRecord], Iterator[Observed]]:
    """How many pods are between two moments, changed at each."""

    def read(record: RunRecord) -> Iterator[Observed]:
        entered, left = record.pods[enter], record.pods[leave]
        left = left[~np.isnan(left) & ~np.isnan(entered)]
        entered = entered[~np.isnan(entered)]
        time_s = np.concatenate([entered, left])
        order = np.argsort(time_s, kind="stable")
        steps = np.concatenate([np.ones(len(entered)), -np.ones(len(left))])
        yield Observed((), time_s[order], np.cumsum(steps[order]))

    return read


MOST_ATTEMPTS = 15
"""The label says `15+` from here on."""


def _scheduled_pods(
    value: Callable[[RunRecord], np.ndarray], by_attempts: bool
) -> Callable[[RunRecord], Iterator[Observed]]:
    """Something about each pod that was bound, observed then; one series a number of attempts, or one for all."""

    def read(record: RunRecord) -> Iterator[Observed]:
        bound, attempts, values = record.pods["bound_s"], record.pods["attempts"], value(record)
        if not by_attempts:
            yield _sorted((), bound, values)
            return
        capped = np.minimum(attempts, MOST_ATTEMPTS)
        for number in np.unique(capped[~np.isnan(bound)]).tolist():
            rows = capped == number
            label = f"{number}+" if number == MOST_ATTEMPTS else str(number)
            yield _sorted((("attempts", label),), bound[rows], values[rows])

    return read


def _queued_to_bound(record: RunRecord) -> np.ndarray:
    return record.pods["bound_s"] - record.pods["queued_s"]


def _attempts(record: RunRecord) -> np.ndarray:
    return np.asarray(record.pods["attempts"], np.float64)


def _start_without_pull(record: RunRecord) -> Iterator[Observed]:
    seen = record.pods["watched_s"]
    yield _sorted((), seen, seen - record.pods["created_s"] - pull_time(record))


def _fsyncs(record: RunRecord) -> Iterator[Observed]:
    if len(record.fsyncs["time_s"]):
        yield _sorted((), record.fsyncs["time_s"], np.asarray(record.fsyncs["latency_s"], np.float64))


# --- the metrics

DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Prometheus' own default."""
START_BUCKETS = (
    0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0,
    900.0, 1200.0, 1800.0, 2700.0, 3600.0,
)  # fmt: skip
REQUEST_BUCKETS_1_14 = (
    0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5,
    4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0,
)  # fmt: skip
SLI_BUCKETS = (
    0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
)  # fmt: skip
REQUEST_BUCKETS = (0.005, 0.025, *SLI_BUCKETS)
SCHEDULED = (("result", "scheduled"), ("profile", "default-scheduler"))

METRICS: tuple[Metric, ...] = (
    Metric(
        "apiserver_request_latencies", "histogram", "apiserver",
        "Response latency distribution in microseconds for each verb, resource and subresource.",
        _requests(False, scale=1e6), exponential(125_000, 2, 7), until="1.14",
    ),
    Metric(
        "apiserver_request_count", "counter", "apiserver",
        "Counter of apiserver requests broken out for each verb, API resource, client, and HTTP response code.",
        _requests(True), until="1.14",
    ),
    Metric(
        "apiserver_request_duration_seconds", "histogram", "apiserver",
        "Response latency distribution in seconds for each verb, group, version, resource, subresource, scope and component.",
        _requests(False), REQUEST_BUCKETS_1_14, since="1.14", until="1.23",
    ),
    Metric(
        "apiserver_request_duration_seconds", "histogram", "apiserver",
        "Response latency distribution in seconds for each verb, group, version, resource, subresource, scope and component.",
        _requests(False), REQUEST_BUCKETS, since="1.23",
    ),
    Metric(
        "apiserver_request_sli_duration_seconds", "histogram", "apiserver",
        "Response latency distribution (not counting webhook duration) in seconds for each verb, group, version, "
        "resource, subresource, scope and component.",
        _requests(False, without=("WATCH",)), SLI_BUCKETS, since="1.26",
    ),
    Metric(
        "apiserver_request_total", "counter", "apiserver",
        "Counter of apiserver requests broken out for each verb, group, version, resource, scope, component and HTTP "
        "response code.",
        _requests(True), since="1.14",
    ),
    Metric(
        "apiserver_current_inflight_requests", "gauge", "apiserver",
        "Number of currently used inflight request limit of this apiserver per request kind.",
        _in_flight("requestKind"), until="1.19",
    ),
    Metric(
        "apiserver_current_inflight_requests", "gauge", "apiserver",
        "Number of currently used inflight request limit of this apiserver per request kind.",
        _in_flight("request_kind"), since="1.19",
    ),
    Metric(
        "apiserver_flowcontrol_current_inqueue_requests", "gauge", "apiserver",
        "Number of requests currently pending in queues of the API Priority and Fairness subsystem",
        _queued, since="1.20",
    ),
    Metric(
        "etcd_disk_wal_fsync_duration_seconds", "histogram", "etcd",
        "The latency distributions of fsync called by WAL.", _fsyncs, exponential(0.001, 2, 14),
    ),
    Metric(
        "scheduler_schedule_attempts_total", "counter", "kube-scheduler",
        "Number of attempts to schedule pods, by the result.", _counted("bound_s", *SCHEDULED), since="1.12",
    ),
    Metric(
        "scheduler_e2e_scheduling_latency_microseconds", "histogram", "kube-scheduler",
        "E2e scheduling latency (scheduling algorithm + binding)",
        _between("popped_s", "bound_s", scale=1e6), exponential(1000, 2, 15), until="1.14",
    ),
    Metric(
        "scheduler_binding_latency_microseconds", "histogram", "kube-scheduler", "Binding latency",
        _between("scheduled_s", "bound_s", scale=1e6), exponential(1000, 2, 15), until="1.14",
    ),
    Metric(
        "scheduler_e2e_scheduling_duration_seconds", "histogram", "kube-scheduler",
        "E2e scheduling latency in seconds (scheduling algorithm + binding)",
        _between("popped_s", "bound_s", *SCHEDULED), exponential(0.001, 2, 15), since="1.14", until="1.23",
    ),
    Metric(
        "scheduler_binding_duration_seconds", "histogram", "kube-scheduler", "Binding latency in seconds",
        _between("scheduled_s", "bound_s"), exponential(0.001, 2, 15), since="1.14", until="1.23",
    ),
    Metric(
        "scheduler_scheduling_attempt_duration_seconds", "histogram", "kube-scheduler",
        "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
        _between("popped_s", "bound_s", *SCHEDULED), exponential(0.001, 2, 15), since="1.23",
    ),
    Metric(
        "scheduler_scheduling_algorithm_duration_seconds", "histogram", "kube-scheduler",
        "Scheduling algorithm latency in seconds",
        _between("popped_s", "scheduled_s"), exponential(0.001, 2, 15), since="1.14",
    ),
    Metric(
        "scheduler_pod_scheduling_duration_seconds", "histogram", "kube-scheduler",
        "E2e latency for a pod being scheduled which may include multiple scheduling attempts.",
        _scheduled_pods(_queued_to_bound, by_attempts=False), exponential(0.01, 2, 20), since="1.18", until="1.23",
    ),
    Metric(
        "scheduler_pod_scheduling_duration_seconds", "histogram", "kube-scheduler",
        "E2e latency for a pod being scheduled which may include multiple scheduling attempts.",
        _scheduled_pods(_queued_to_bound, by_attempts=True), exponential(0.01, 2, 20), since="1.23", until="1.31",
    ),
    Metric(
        "scheduler_pod_scheduling_sli_duration_seconds", "histogram", "kube-scheduler",
        "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and might involve "
        "multiple scheduling attempts.",
        _scheduled_pods(_queued_to_bound, by_attempts=True), exponential(0.01, 2, 20), since="1.29",
    ),
    Metric(
        "scheduler_pod_scheduling_attempts", "histogram", "kube-scheduler",
        "Number of attempts to successfully schedule a pod.",
        _scheduled_pods(_attempts, by_attempts=False), exponential(1, 2, 5), since="1.18",
    ),
    Metric(
        "scheduler_pending_pods", "gauge", "kube-scheduler", "Number of pending pods, by the queue type.",
        _unschedulable, since="1.15",
    ),
    Metric(
        "kubelet_pod_worker_start_duration_seconds", "histogram", "kubelet",
        "Duration in seconds from kubelet seeing a pod to starting a worker.",
        _between("kubelet_seen_s", "worker_started_s"), DEFAULT_BUCKETS, since="1.14",
    ),
    Metric(
        "kubelet_run_podsandbox_duration_seconds", "histogram", "kubelet",
        "Duration in seconds of the run_podsandbox operations. Broken down by RuntimeClass.Handler.",
        _between("sandbox_started_s", "sandbox_ready_s", ("runtime_handler", "")), DEFAULT_BUCKETS, since="1.14",
    ),
    Metric(
        "kubelet_pod_start_duration_seconds", "histogram", "kubelet",
        "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
        _between("kubelet_seen_s", "observed_s"), DEFAULT_BUCKETS, since="1.14", until="1.27",
    ),
    Metric(
        "kubelet_pod_start_duration_seconds", "histogram", "kubelet",
        "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
        _between("kubelet_seen_s", "observed_s"), START_BUCKETS, since="1.27",
    ),
    Metric(
        "kubelet_pod_start_sli_duration_seconds", "histogram", "kubelet",
        "Duration in seconds to start a pod, excluding time to pull images and run init containers, measured from pod "
        "creation timestamp to when all its containers are reported as started and observed via watch",
        _start_without_pull, START_BUCKETS, since="1.27",
    ),
    Metric(
        "kubelet_pod_start_total_duration_seconds", "histogram", "kubelet",
        "Duration in seconds to start a pod since creation, including time to pull images and run init containers, "
        "measured from pod creation timestamp to when all its containers are reported as started and observed via watch",
        _between("created_s", "watched_s"), START_BUCKETS, since="1.31",
    ),
    Metric(
        "kubelet_pod_status_sync_duration_seconds", "histogram", "kubelet",
        "Duration in seconds to sync a pod status update. Measures time from detection of a change to pod status until "
        "the API is successfully updated for that pod, even if multiple intevening changes to pod status occur.",
        _between("observed_s", "running_s"),
        (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0), since="1.26",
    ),
    Metric(
        "kubelet_started_pods_total", "counter", "kubelet", "Cumulative number of pods started",
        _counted("sandbox_started_s"), since="1.19",
    ),
    Metric(
        "kubelet_running_pods", "gauge", "kubelet", "Number of pods that have a running pod sandbox",
        _level_of_pods("sandbox_ready_s", "gone_s"), since="1.19",
    ),
)  # fmt: skip
"""Every metric that a record fills, with what it was called and how it was cut in each version."""


def metrics_of(record: RunRecord) -> list[Metric]:
    """The metrics of the Kubernetes version that was simulated."""
    version = str(record.scenario.get("kubernetes", "1.20"))
    return [metric for metric in METRICS if metric.exists_in(version)]
