"""Kubernetes' own scheduler benchmark: API server, scheduler and pod creator in one process, etcd beside it, on two cores."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from simpy.events import Event

from experiments.validate import beds
from experiments.validate.judge import MIDDLE, Metric, Outcome, Row, latencies, latencies_of, latency_metrics
from experiments.validate.truth import Truth
from sim.apiserver.client import Client
from sim.apiserver.identity import Identity
from sim.base.rand import Streams
from sim.engine.program import Program
from sim.simulate import Cluster
from sim.state.objects import (
    Affinity,
    Container,
    LabelSelector,
    NodeSelectorTerm,
    PodAffinityTerm,
    PodSpec,
    Requirement,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
    pairs,
    quantities,
)
from sim.tenancy.script import Post, Step, Wait
from sim.workload import AppKind, Load

FAMILY = "scheduler benchmark"
FILE = "scheduler_perf.json"
WORKERS = 30
"""Pods that the benchmark posts at a time (Kubernetes 1.20 source, testutils.NewTestPodCreator)."""
CLIENT = "scheduler-perf"
NOBODY = Identity("", ())
"""Who asks (Kubernetes 1.20 source, test/integration/framework: an authenticator that knows no names)."""
HORIZON_S = 600.0

METRICS = {
    "throughput": Metric("pods/s", 1.0, MIDDLE),
    "posted after": Metric("s", 1.0, MIDDLE),
    "scheduling algorithm mean": Metric("ms", 1e3, MIDDLE),
    **latency_metrics("add to bind"),
    "binds answered 429 a pod": Metric("", 1.0, None),
    "CPU a pod, process": Metric("ms", 1e3, MIDDLE),
    "CPU a pod, etcd": Metric("ms", 1e3, MIDDLE),
}


def _floors(calibration: str, nodes: int) -> dict[str, float]:
    """How far repetitions differ, percent (our repetitions of the measurements), by series and size."""
    second, large = calibration == "measured-1.20-2core", nodes >= 2000
    throughput = (8 if large else 35) if second else (12 if large else 56)
    algorithm = (4 if large else 23) if second else (7 if large else 52)
    mean, p50, p99 = (24, 92, 61) if second else (115, 117, 96)
    cpu = (5 if large else 14) if second else (14 if large else 46)
    return {
        "throughput": throughput,
        "posted after": throughput,
        "scheduling algorithm mean": algorithm,
        "add to bind mean": mean,
        "add to bind p50": p50,
        "add to bind p99": p99,
        "add to bind p50/mean": p50,
        "add to bind p99/p50": p99,
        "CPU a pod, process": cpu,
        "CPU a pod, etcd": cpu,
    }


@dataclass(frozen=True, slots=True)
class Setup:
    """One workload of the benchmark."""

    case: str
    nodes: int
    init_pods: int
    pods: int


def rows(truth: Truth) -> list[Row]:
    """The workloads of a series, repetitions together."""
    found: dict[Setup, list[dict[str, Any]]] = {}
    for row in truth.rows(FILE):
        params = row.get("params") or {}
        setup = Setup(
            str(row["case"]),
            int(row["nodes"]),
            int(params.get("initPods", 0)),
            int(params.get("measurePods", row.get("measured_pods_bound", 0))),
        )
        found.setdefault(setup, []).append(row)
    return [_row(setup, repetitions, truth.calibration) for setup, repetitions in found.items()]


def _row(setup: Setup, repetitions: list[dict[str, Any]], calibration: str) -> Row:
    measured: dict[str, list[float]] = {}
    for row in repetitions:
        for name, value in _figures(row, setup).items():
            measured.setdefault(name, []).append(value)
    busy = [
        float(row["cpu"].get("other_processes_on_machine_s", 0)) / max(1e-9, float(row["wall_of_measured_op_s"]))
        for row in repetitions
    ]
    return Row(
        FAMILY,
        f"{setup.case}, {setup.nodes} nodes, {setup.pods} pods",
        setup,
        measured,
        unusable="other processes took a quarter of a core or more" if max(busy) > 0.25 else "",
        quantiles={"add to bind": [np.array(row["add_seen_to_bind_seen_s"]["q50"]) for row in repetitions]},
        floors=_floors(calibration, setup.nodes),
    )


def _figures(row: dict[str, Any], setup: Setup) -> dict[str, float]:
    cpu = row["cpu"]
    refused = row.get("requests_answered_429") or {}
    algorithm = (
        row["scheduler_histograms_measured_op_only"].get("scheduler_scheduling_algorithm_duration_seconds") or {}
    )
    found = {
        "throughput": float(row["throughput_pods_per_s"]["mean_first_to_last_bind"]),
        "posted after": float(row["create_calls_done_s"]),
        **latencies(row["add_seen_to_bind_seen_s"], "add to bind"),
        "binds answered 429 a pod": sum(refused.values()) / setup.pods,
        "CPU a pod, process": float(cpu["process_cpu_ms_per_pod"]) * 1e-3,
        "CPU a pod, etcd": float(cpu["etcd_s"]) / setup.pods,
    }
    if algorithm.get("mean_s"):
        found["scheduling algorithm mean"] = float(algorithm["mean_s"])
    return found


BASE = PodSpec(
    namespace="sched",
    termination_grace_s=0,
    containers=(Container(requests=quantities({"cpu": 100, "memory": 500 * 10**6})),),
)
"""pod-default.yaml: 100 millicores and 500 M."""
ZONE, HOSTNAME = "topology.kubernetes.io/zone", "kubernetes.io/hostname"


def _pod(labels: dict[str, str], key: str, **affinity: int) -> PodSpec:
    """A pod of these labels that wants (or not) others like it within `key`; weights of 0 mean that it must."""
    term = PodAffinityTerm(topology_key=key, label_selector=LabelSelector(match_labels=pairs(labels)))
    terms = {name: (WeightedPodAffinityTerm(weight, term) if weight else term,) for name, weight in affinity.items()}
    return replace(BASE, labels=pairs(labels), affinity=Affinity(**terms))  # type: ignore[arg-type]


NEAR = _pod({"color": "blue"}, ZONE, pod_required=0)
APART = _pod({"color": "green", "name": "test"}, HOSTNAME, anti_required=0)
RATHER_NEAR = _pod({"color": "red"}, HOSTNAME, pod_preferred=1)
RATHER_APART = _pod({"color": "yellow"}, HOSTNAME, anti_preferred=1)
IN_ZONE = replace(
    BASE,
    affinity=Affinity(
        node_required=(NodeSelectorTerm(match_expressions=(Requirement(ZONE, "In", ("zone1", "zone2")),)),)
    ),
)
LARGE = replace(BASE, containers=(Container(requests=quantities({"cpu": 9000, "memory": 500 * 10**6})),))


def _spread(when: str) -> PodSpec:
    """The benchmark's templates have no label selector, so no pod counts towards the skew."""
    return replace(BASE, topology_spread_constraints=(TopologySpreadConstraint(5, ZONE, when),))


@dataclass(frozen=True, slots=True)
class Case:
    """What a case of the benchmark's configuration makes."""

    init: tuple[PodSpec, ...]
    """`initPods` of each."""
    measured: PodSpec
    zones: tuple[str, ...] = ("zone1",)
    """Of the nodes, by turns."""
    schedulable: bool = True
    """Whether the initial pods fit."""


CASES: dict[str, Case] = {
    "SchedulingBasic": Case((BASE,), BASE),
    "SchedulingPodAntiAffinity": Case((APART,), APART),
    "SchedulingPodAffinity": Case((NEAR,), NEAR),
    "SchedulingPreferredPodAffinity": Case((RATHER_NEAR,), RATHER_NEAR),
    "SchedulingPreferredPodAntiAffinity": Case((RATHER_APART,), RATHER_APART),
    "SchedulingNodeAffinity": Case((IN_ZONE,), IN_ZONE),
    "TopologySpreading": Case((BASE,), _spread("DoNotSchedule"), ("moon-1", "moon-2", "moon-3")),
    "PreferredTopologySpreading": Case((BASE,), _spread("ScheduleAnyway"), ("moon-1", "moon-2", "moon-3")),
    "MixedSchedulingBasePod": Case((BASE, NEAR, APART, RATHER_NEAR, RATHER_APART), BASE),
    "Unschedulable": Case((LARGE,), BASE, schedulable=False),
}
"""performance-config.yaml of Kubernetes 1.20 (test/integration/scheduler_perf); cases with volumes, secrets or preemption are not
built here."""


def _load(setup: Setup, case: Case) -> Load:
    templates = (*case.init, case.measured)
    size = len(templates)
    counts = np.array([*[setup.init_pods] * len(case.init), setup.pods], np.int32)
    steps: list[Step] = []
    for app in range(len(case.init)):
        steps += [Post((app,), WORKERS), Wait((app,), setup.init_pods, attempted=not case.schedulable)]
    steps += [Post((size - 1,), WORKERS), Wait((size - 1,), setup.pods)]
    return Load(
        templates=templates,
        tenants=(CLIENT,),
        app_time_s=np.zeros(size),
        app_end_s=np.full(size, np.inf),
        app_kind=np.full(size, AppKind.POD, np.int8),
        app_template=np.arange(size, dtype=np.int32),
        app_tenant=np.zeros(size, np.int32),
        app_pods=counts,
        app_parallelism=counts,
        pod_duration_s=np.full(int(counts.sum()), np.inf),
        script=tuple(steps),
        nodes_run=False,
    )


def replay(setup: Setup, calibration: str, seconds: float, seed: int) -> Outcome:
    """Run one workload to its end; `seconds` says nothing here."""
    del seconds
    case = CASES.get(setup.case)
    if case is None:
        return Outcome({}, failed=f"case '{setup.case}' is not replayed: its pods or steps are not built here")
    nodes = {
        "count": setup.nodes,
        "allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"},
        "zones": list(case.zones),
    }
    scenario = beds.cluster(
        calibration,
        {
            "nodes.pools": {"perf": nodes},
            "scheduler.qps": 5000,
            "scheduler.burst": 5000,
            "horizon_s": HORIZON_S,
            "apiserver.authorization.modes": ["always-allow"],
        },
    )
    cluster = Cluster(scenario, _load(setup, case), Streams(seed))
    _make_one(cluster, beds.bed(calibration).api_client.request_cpu_s)
    clock, pods = cluster.clock, cluster.pods
    first_measured = setup.init_pods * len(case.init)
    measured = slice(first_measured, first_measured + setup.pods)

    def column(name: str) -> np.ndarray:
        return np.frombuffer(pods.times[name], np.float64)[measured].copy()

    begun: list[tuple[float, np.ndarray]] = []
    while clock._now < HORIZON_S and np.isnan(column("bound_s")).any():
        clock.run_until(clock._now + 0.05)
        if not begun and not np.isnan(column("post_sent_s")).all():
            begun.append((clock._now, _used(cluster)))
    if np.isnan(column("bound_s")).any() or not begun:
        return Outcome({}, failed=f"{int(np.isnan(column('bound_s')).sum())} of {setup.pods} pods were not bound")
    used = _used(cluster) - begun[0][1]
    bound, queued = column("bound_s"), column("queued_s")
    algorithm = column("scheduled_s") - column("popped_s")
    first = float(np.nanmin(column("post_sent_s")))
    return Outcome(
        {
            "throughput": (setup.pods - 1) / float(bound.max() - bound.min()),
            "posted after": float(column("created_s").max()) - first,
            "scheduling algorithm mean": float(algorithm.mean()),
            **latencies_of(bound - queued, "add to bind"),
            "binds answered 429 a pod": _refused(cluster, first) / setup.pods,
            "CPU a pod, process": used[0] / setup.pods,
            "CPU a pod, etcd": used[1] / setup.pods,
        },
        {"add to bind": bound - queued},
    )


class InProcess:
    """A client whose own work, encoding and decoding, is done by the process that it asks: while that is busy, it asks later."""

    def __init__(self, client: Client, process: Program, cpu_s: float) -> None:
        self._client = client
        self._process = process
        self._cpu_s = cpu_s
        self.turn = client.turn

    def send(self, *request: Any) -> Generator[Event, Any, int]:
        yield self._process.work(self._cpu_s)
        code = yield from self._client.send(*request)
        yield self._process.work(self._cpu_s)
        return code


def _make_one(cluster: Cluster, client_cpu_s: float) -> None:
    """API server, scheduler and pod creator are one process with one client set.

    Without an authenticator its user has neither name nor groups, so that no flow schema but the catch-all is its own.
    """
    process = cluster.programs["kube-apiserver"]
    for client in cluster.clients:
        client.user = NOBODY
    inside: Any = cluster.scheduler  # typed for a machine of its own and a client outside
    inside._machine = process
    inside._client = InProcess(inside._client, process, client_cpu_s)
    users: Any = cluster.users
    users._clients = [InProcess(client, process, client_cpu_s) for client in users._clients]


def _used(cluster: Cluster) -> np.ndarray:
    """CPU of the benchmark's process, in which API server and scheduler run, and of etcd."""
    return np.array(
        [
            sum(program.cpu_s for program in cluster.programs.values()),
            sum(program.cpu_s for program in cluster.etcd.programs),
        ]
    )


def _refused(cluster: Cluster, since_s: float) -> float:
    columns = cluster.requests.columns()
    refused = [number for number, (*_, code) in enumerate(cluster.requests.kinds()) if code == 429]
    return float(columns["count"][np.isin(columns["kind"], refused) & (columns["time_s"] >= since_s)].sum())
