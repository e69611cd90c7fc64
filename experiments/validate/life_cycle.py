"""Pods from POST to gone on the full control plane with hollow nodes, at fixed open-loop rates or as one Deployment."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from simpy.events import Event

from experiments.validate import beds
from experiments.validate.judge import (
    EXACT,
    MIDDLE,
    Metric,
    Outcome,
    Row,
    latencies,
    latencies_of,
    latency_metrics,
)
from experiments.validate.truth import Truth
from sim.base.rand import Streams
from sim.engine.clock import when
from sim.engine.program import Program
from sim.simulate import Cluster
from sim.state.objects import Container, PodSpec, quantities
from sim.workload import AppKind, Load

FAMILY = "pod life cycle"
FILE = "control_plane_pod_lifecycle.json"
NAMESPACE = "load"
TENANT = "loadgen"
LEAD_S = 12.0
"""Simulated before the first pod, to see what an idle cluster costs."""
SETTLE_S = 2.0
"""The recorded windows end this long after the last pod runs, or is gone."""
NEVER_S = 1e9
SCALE_UP_PER_S = 10.0
"""Pods a second that a Deployment's scale-up is granted before it is given up: half of its controller's client rate."""
LONGEST_S = 300.0
"""A replay that is not done so long after its last request is given up."""
CALIBRATION_RATE = 5.0
"""Costs come from rows of this rate, and of clusters that idle."""

FOREIGN_CORES = 0.25
"""Figures of a window in which other processes used more are shown and not judged."""

STAGES = (
    "post_sent_to_answered",
    "added_seen_to_bind_seen",
    "bind_seen_to_first_kubelet_status",
    "first_kubelet_status_to_running_seen",
    "added_seen_to_running_seen",
    "post_sent_to_running_seen",
    "delete_sent_to_answered",
    "delete_mark_to_terminated_status",
    "delete_mark_to_gone",
)
"""As the recorded rows call them."""
TIMED = frozenset(
    {
        "first_kubelet_status_to_running_seen",
        "added_seen_to_running_seen",
        "post_sent_to_running_seen",
        "delete_mark_to_terminated_status",
        "delete_mark_to_gone",
    }
)
"""Stages that the kubelet's timers make."""
CREATION = {
    "POST pods": ("POST", "pods"),
    "POST pods binding": ("POST", "pods/binding"),
    "GET pods": ("GET", "pods"),
    "PATCH pods status": ("PATCH", "pods/status"),
    "POST events": ("POST", "events"),
}
DELETION = {
    "DELETE pods": ("DELETE", "pods"),
    "GET pods": ("GET", "pods"),
    "PATCH pods status": ("PATCH", "pods/status"),
}
"""Requests a pod: as recorded, and as simulated."""
PROCESSES = {
    "apiserver": "API server",
    "etcd": "etcd",
    "scheduler": "scheduler",
    "kcm": "controller manager",
    "hollow": "hollow nodes",
}

METRICS: dict[str, Metric] = {
    **{name: metric for stage in STAGES for name, metric in latency_metrics(stage).items()},
    "scheduling algorithm mean": Metric("ms", 1e3, MIDDLE),
    "all running after": Metric("s", 1.0, MIDDLE),
    "all gone after": Metric("s", 1.0, MIDDLE),
    **{f"{kind} a pod, creating": Metric("", 1.0, EXACT) for kind in CREATION},
    **{f"{kind} a pod, deleting": Metric("", 1.0, EXACT) for kind in DELETION},
    "PUT resourcequotas status a pod, creating": Metric("", 1.0, MIDDLE),
    **{
        f"{process} CPU a pod, {phase}": Metric(
            "ms", 1e3, MIDDLE if process in ("API server", "etcd", "scheduler") else None
        )
        for phase in ("creating", "deleting")
        for process in PROCESSES.values()
    },
    **{f"{process} cores, idle": Metric("cores", 1.0) for process in PROCESSES.values()},
    "cores busy, creating": Metric("cores", 1.0, MIDDLE),
    "cores busy, deleting": Metric("cores", 1.0, MIDDLE),
}

Floors = dict[str, float]


def _floors(calibration: str, rate: float) -> Floors:
    """How far repetitions differ, percent (our repetitions of the measurements), by what ran at which rate."""
    second = calibration == "measured-1.20-2core"
    if rate <= 10:
        api, p99, timed, timed_p99 = (12, 43, 2, 31) if second else (44, 57, 12, 32)
    elif rate <= 30:
        api, p99, timed, timed_p99 = (115, 169, 9, 18)
    else:
        api, p99, timed, timed_p99 = (146, 169, 27, 75)
    cpu = 12 if second and rate <= 10 else 51 if rate <= 10 else 43 if rate <= 30 else 17
    found: Floors = {}
    for stage in STAGES:
        deleting = stage.startswith("delete_mark")
        middle, tail = (14 if deleting else timed, timed_p99) if stage in TIMED else (api, p99)
        found.update({f"{stage} mean": middle, f"{stage} p50": middle, f"{stage} p99": tail})
        found.update({f"{stage} p50/mean": middle, f"{stage} p99/p50": tail})  # as much as what they are made of
    for process in PROCESSES.values():
        found[f"{process} CPU a pod, creating"] = 76 if process == "controller manager" else cpu
        found[f"{process} CPU a pod, deleting"] = 10 if rate <= 10 else 8 if rate <= 30 else 17
    found["scheduling algorithm mean"] = 23 if second else 52
    for kind in CREATION:
        found[f"{kind} a pod, creating"] = 0.2 if second else 4.0
    return found


@dataclass(frozen=True, slots=True)
class Setup:
    """One run."""

    pods: int
    rate: float
    """Pods a second that are posted; 0: one Deployment of all of them."""
    delete_rate: float
    """Pods a second that are deleted afterwards; 0: they are not."""
    nodes: int
    quota: bool
    fast_scheduler: bool
    """The scheduler's client has 5,000 requests a second in place of 50."""


def rows(truth: Truth) -> list[Row]:
    """The runs of a series, repetitions together; idle runs are what the CPU of the others is counted from."""
    recorded = truth.rows(FILE)
    idle = {int(row.get("hollow_nodes", 0)): row for row in recorded if "window_s" in row and "cpu_s" in row}
    found: dict[tuple[str, Setup], list[dict[str, Any]]] = {}
    for row in recorded:
        if "stages_s" in row:
            found.setdefault((str(row.get("run") or row.get("label")), _setup(row)), []).append(row)
    return [
        _row(name, setup, repetitions, idle.get(setup.nodes), truth.calibration)
        for (name, setup), repetitions in found.items()
    ]


def _setup(row: dict[str, Any]) -> Setup:
    name = str(row.get("run") or row.get("label"))
    head = name.split("_")[0]
    rate = _number(row.get("rate"))
    pods = next((int(count) for key in ("pods", "replicas") if (count := _number(row.get(key)))), 0)
    pods = pods or int(_number((row.get("counts") or {}).get("running")))
    return Setup(
        pods,
        0.0 if "deploy" in name else rate,
        _number(row.get("delete_rate")),
        int(row.get("hollow_nodes", 50)),
        "q" in head,
        "fastsched" in name,
    )


def _number(value: object) -> float:
    """A recorded number; 0 for what is none."""
    return float(value) if isinstance(value, int | float) else 0.0


def _row(
    name: str, setup: Setup, repetitions: list[dict[str, Any]], idle: dict[str, Any] | None, calibration: str
) -> Row:
    measured: dict[str, list[float]] = {}
    quantiles: dict[str, list[np.ndarray]] = {}
    for row in repetitions:
        for metric, value in _figures(row, setup, idle).items():
            measured.setdefault(metric, []).append(value)
        for stage in STAGES:
            if "q50" in row["stages_s"].get(stage, {}):
                quantiles.setdefault(stage, []).append(np.array(row["stages_s"][stage]["q50"]))
    unusable = ""
    if setup.rate >= 80:
        unusable = "the test bed itself saturates the machine: queueing order, not absolute times"
    windows = [
        window
        for window in ("create", "delete")
        if max(_foreign_cores(row, window) for row in repetitions) > FOREIGN_CORES
    ]
    if len(windows) == 2:
        unusable = "a foreign process was busy in both windows"
    return Row(
        FAMILY,
        name,
        setup,
        measured,
        calibrates=setup.rate == CALIBRATION_RATE,
        quantiles=quantiles,
        unusable=unusable,
        shown=frozenset(metric for metric in METRICS for window in windows if _of_window(metric, window)),
        floors=_floors(calibration, setup.rate or 20.0),
        timed=frozenset(f"{stage} {figure}" for stage in TIMED for figure in ("mean", "p50")),
    )


def _foreign_cores(row: dict[str, Any], window: str) -> float:
    """Cores that other processes on the machine used in a window."""
    return float(row.get(f"other_processes_on_machine_{window}_s", 0)) / float(
        row.get(f"cpu_{window}_window_s", 1) or 1
    )


def _of_window(metric: str, window: str) -> bool:
    """Whether a figure is of the creating or of the deleting window."""
    deleting = metric.startswith(("delete", "all gone")) or metric.endswith("deleting")
    return deleting == (window == "delete")


def _figures(row: dict[str, Any], setup: Setup, idle: dict[str, Any] | None) -> dict[str, float]:
    found: dict[str, float] = {}
    if idle is not None and setup.rate == CALIBRATION_RATE:
        for process, name in PROCESSES.items():
            if process in idle["cpu_s"]:
                found[f"{name} cores, idle"] = idle["cpu_s"][process] / idle["window_s"]
    for stage in STAGES:
        if row["stages_s"].get(stage, {}).get("n"):
            found.update(latencies(row["stages_s"][stage], stage))
    scheduler = (row.get("metrics_create_window") or {}).get("scheduler") or {}
    if algorithm := (scheduler.get("scheduler_scheduling_algorithm_duration_seconds") or {}).get("mean_s"):
        found["scheduling algorithm mean"] = float(algorithm)
    for name, field in (("all running after", "all_running_s"), ("all gone after", "all_gone_s")):
        if row.get(field):
            found[name] = float(row[field])
    for phase, window, kinds in (("creating", "create", CREATION), ("deleting", "delete", DELETION)):
        cpu, window_s = row.get(f"cpu_{window}_s"), row.get(f"cpu_{window}_window_s")
        if cpu and window_s:
            found[f"cores busy, {phase}"] = cpu["machine_busy"] / window_s
            for process, name in PROCESSES.items():
                if idle is not None and process in cpu and process in idle["cpu_s"]:
                    used = cpu[process] - idle["cpu_s"][process] / idle["window_s"] * window_s
                    found[f"{name} CPU a pod, {phase}"] = used / setup.pods
        requests = (row.get(f"metrics_{window}_window") or {}).get("apiserver_request_total_by_client") or {}
        for kind in kinds:
            asked = sum(count for name, count in requests.items() if name.rsplit(" ", 1)[0].strip() == kind)
            if asked:
                found[f"{kind} a pod, {phase}"] = asked / setup.pods
        if phase == "creating" and setup.quota:
            updates = sum(count for name, count in requests.items() if name.startswith("PUT resourcequotas"))
            found["PUT resourcequotas status a pod, creating"] = updates / setup.pods
    return found


def load_of(setup: Setup) -> Load:
    """The pods of a run, of one small container: one Deployment of all of them, or pods that the load generator posts itself."""
    spec = PodSpec(
        namespace=NAMESPACE,
        termination_grace_s=30,
        containers=(Container(requests=quantities({"cpu": 10, "memory": 10 * 2**20})),),
    )
    zero, all_pods = np.zeros(1, np.int32), np.full(1, setup.pods, np.int32)
    return Load(
        templates=(spec,),
        tenants=(TENANT,),
        app_time_s=np.array([NEVER_S if setup.rate else LEAD_S]),
        app_end_s=np.array([np.inf]),
        app_kind=np.full(1, AppKind.POD if setup.rate else AppKind.SERVICE, np.int8),
        app_template=zero,
        app_tenant=zero,
        app_pods=all_pods,
        app_parallelism=all_pods,
        pod_duration_s=np.full(setup.pods, np.inf),
        quotas=((NAMESPACE, quantities({"pods": 10**9})),) if setup.quota else (),
    )


class Watcher:
    """The load generator's watch: when it had taken in the first event of each kind for each pod."""

    STEPS = ("created", "bound", "status", "running", "deleting", "terminated", "gone")
    STATUSES = ("status", "started", "running", "ready", "unready", "finished")
    """Kinds of events that a kubelet's status makes; `started` is Running and not ready."""

    def __init__(self, cluster: Cluster, pods: int, client: Program, event_cpu_s: float) -> None:
        self._clock = cluster.clock
        self._client = client
        self._event_cpu_s = event_cpu_s
        self.seen_s = {step: np.full(pods, np.nan) for step in self.STEPS}
        heard = {kind: partial(self._hear, kind) for kind in ("created", "bound", *self.STATUSES, "deleting", "gone")}
        cluster.watch.watch("pods", "load generator", heard)

    def _hear(self, kind: str, pod: int) -> None:
        when(self._client.work(self._event_cpu_s), lambda _: self._see(kind, pod))

    def _see(self, kind: str, pod: int) -> None:
        seen = self.seen_s
        if kind not in self.STATUSES:
            steps: tuple[str, ...] = (kind,)
        elif not np.isnan(seen["deleting"][pod]):
            steps = ("terminated",)
        else:
            steps = ("status", "running") if kind in ("started", "running") else ("status",)
        for step in steps:
            if np.isnan(seen[step][pod]):
                seen[step][pod] = self._clock._now

    def all(self, step: str) -> bool:
        """Whether it has seen this of every pod."""
        return not np.isnan(self.seen_s[step]).any()


class _Account:
    """CPU of each process and answered requests, up to now."""

    def __init__(self, cluster: Cluster) -> None:
        used = {name: program.cpu_s for name, program in cluster.programs.items()}
        self.cpu_s = {
            "API server": used.get("kube-apiserver", 0.0),
            "scheduler": used.get("kube-scheduler", 0.0),
            "controller manager": used.get("kube-controller-manager", 0.0),
            "hollow nodes": used.get("hollow kubelets", 0.0),
            "etcd": sum(program.cpu_s for program in cluster.etcd.programs),
        }
        self.busy_s = cluster.machines["control-plane"].meter.read()[0]
        self.at_s = cluster.clock._now
        self.quota_updates = cluster.api.admission.evaluator.updates
        columns = cluster.requests.columns()
        kinds = cluster.requests.kinds()
        counts = np.bincount(columns["kind"], weights=columns["count"], minlength=len(kinds))
        self.requests: dict[tuple[str, str], float] = {}
        for (operation, *_), count in zip(kinds, counts, strict=True):
            key = (operation.verb, operation.resource)
            self.requests[key] = self.requests.get(key, 0.0) + float(count)


class TestBed:
    """The machine with the control plane, its hollow nodes and the load generator."""

    def __init__(self, setup: Setup, calibration: str, seed: int) -> None:
        values: dict[str, Any] = {"nodes.pools.hollow.count": setup.nodes, "horizon_s": 10_000}
        if setup.fast_scheduler:
            values |= {"scheduler.qps": 5000, "scheduler.burst": 5000}
        self.setup = setup
        self.bed = bed = beds.bed(calibration)
        streams = Streams(seed)
        self.cluster = cluster = Cluster(beds.cluster(calibration, values), load_of(setup), streams)
        self.clock = cluster.clock
        self.client = bed.life_cycle_client.program(self.clock, cluster.machines["control-plane"], streams)
        self.watcher = Watcher(cluster, setup.pods, self.client, bed.life_cycle_client.event_cpu_s)
        self.post_s = np.full((2, setup.pods), np.nan)
        """When each POST was sent, and answered."""
        self.delete_s = np.full((2, setup.pods), np.nan)
        self._connection = cluster._client(TENANT)
        beds.informers(cluster, "pods", bed)
        beds.idle_programs(cluster, bed)
        self.hollow = cluster.programs["hollow kubelets"]
        doings = {
            "bound": partial(self._doings, bed.hollow.start_cpu_s),
            "deleting": partial(self._doings, bed.hollow.teardown_cpu_s),
        }
        cluster.watch.watch("pods", "hollow nodes", doings, selective=True)
        for phase_s in streams("hollow.idle").random(setup.nodes).tolist():
            self.clock.start(self._idle(phase_s / bed.hollow.wakes_per_s))

    def _doings(self, cpu_s: float, _: int) -> None:
        """A pod came to a hollow node, or is to go: its kubelet works on it now and then for a while."""
        spec = self.bed.hollow
        pieces = max(1, round(spec.wakes_per_start))
        self.clock.start(self._pieces(cpu_s / pieces, spec.start_s / pieces, pieces))

    def _pieces(self, cpu_s: float, every_s: float, pieces: int) -> Generator[Event, Any, None]:
        for _ in range(pieces):
            self.hollow.load(cpu_s)
            yield self.clock.timeout(every_s)

    def _idle(self, phase_s: float) -> Generator[Event, Any, None]:
        """A hollow node's own doings, at its own phase."""
        spec = self.bed.hollow
        yield self.clock.timeout(phase_s)
        while True:
            self.hollow.load(spec.idle_cpu_s / spec.wakes_per_s)
            yield self.clock.timeout(1.0 / spec.wakes_per_s)

    def play(
        self, request: Callable[[int], Generator[Event, Any, Any]], rate: float, times_s: np.ndarray
    ) -> Generator[Event, Any, None]:
        """Process: `request` for each pod at its due time, whatever became of those before."""
        begun_s = self.clock._now
        for pod in range(self.setup.pods):
            wait_s = begun_s + pod / rate - self.clock._now
            if wait_s > 0:
                yield self.clock.timeout(wait_s)
            self.clock.start(self._timed(request, pod, times_s))

    def _timed(
        self, request: Callable[[int], Generator[Event, Any, Any]], pod: int, times_s: np.ndarray
    ) -> Generator[Event, Any, None]:
        """One request with the client's own part before and after it."""
        half_s = self.bed.life_cycle_client.request_cpu_s / 2
        times_s[0, pod] = self.clock._now
        yield self.client.work(half_s)
        yield from request(pod)
        yield self.client.work(half_s)
        times_s[1, pod] = self.clock._now

    def post(self, pod: int) -> Generator[Event, Any, bool]:
        self.cluster.pods.times["requested_s"][pod] = self.clock._now
        return self.cluster.pod_control.create(self._connection, pod)

    def delete(self, pod: int) -> Generator[Event, Any, bool]:
        return self.cluster.pod_control.delete(self._connection, pod)

    def run_until_all(self, kind: str, latest_s: float) -> int:
        """Run until every pod was seen as `kind`; returns how many were not by then."""
        while not self.watcher.all(kind) and self.clock._now < latest_s:
            self.clock.run_until(self.clock._now + 0.1)
        return int(np.isnan(self.watcher.seen_s[kind]).sum())


def replay(setup: Setup, calibration: str, seconds: float, seed: int) -> Outcome:
    """Run one row to its end; `seconds` says nothing here, since the row's own length counts."""
    del seconds
    bed = TestBed(setup, calibration, seed)
    clock, watcher = bed.clock, bed.watcher
    clock.run_until(LEAD_S)
    idle = _Account(bed.cluster)
    if setup.rate:
        clock.start(bed.play(bed.post, setup.rate, bed.post_s))
    took_s = setup.pods / (setup.rate or SCALE_UP_PER_S)
    if missing := bed.run_until_all("running", LEAD_S + took_s + LONGEST_S):
        return Outcome({}, failed=f"{missing} of {setup.pods} pods were not Running after {clock._now - LEAD_S:.0f} s")
    found = {"all running after": float(watcher.seen_s["running"].max()) - LEAD_S}
    found |= {f"{process} cores, idle": used_s / LEAD_S for process, used_s in idle.cpu_s.items()}
    clock.run_until(clock._now + SETTLE_S)
    created = _Account(bed.cluster)
    found |= _phase(idle, idle, created, setup, "creating", CREATION)
    if setup.delete_rate and setup.rate:
        begun_s = clock._now
        clock.start(bed.play(bed.delete, setup.delete_rate, bed.delete_s))
        if missing := bed.run_until_all("gone", begun_s + setup.pods / setup.delete_rate + LONGEST_S):
            return Outcome({}, failed=f"{missing} of {setup.pods} pods did not go")
        found["all gone after"] = float(watcher.seen_s["gone"].max()) - begun_s
        clock.run_until(clock._now + SETTLE_S)
        found |= _phase(idle, created, _Account(bed.cluster), setup, "deleting", DELETION)
    times = bed.cluster.pods.times
    cycle_s = np.frombuffer(times["scheduled_s"], np.float64) - np.frombuffer(times["popped_s"], np.float64)
    found["scheduling algorithm mean"] = float(np.nanmean(cycle_s))
    samples = _stages(bed)
    for stage, sample in samples.items():
        found |= latencies_of(sample, stage)
    return Outcome(found, samples)


def _phase(
    idle: _Account, before: _Account, after: _Account, setup: Setup, phase: str, kinds: dict[str, tuple[str, str]]
) -> dict[str, float]:
    """CPU and requests a pod between two accounts, less what an idle cluster uses in that time."""
    window_s = after.at_s - before.at_s
    found = {f"cores busy, {phase}": (after.busy_s - before.busy_s) / window_s}
    for process in PROCESSES.values():
        used = after.cpu_s[process] - before.cpu_s[process] - idle.cpu_s[process] / idle.at_s * window_s
        found[f"{process} CPU a pod, {phase}"] = used / setup.pods
    for name, kind in kinds.items():
        found[f"{name} a pod, {phase}"] = (after.requests.get(kind, 0.0) - before.requests.get(kind, 0.0)) / setup.pods
    written = [
        account.quota_updates + account.requests.get(("PUT", "resourcequotas/status"), 0.0)
        for account in (before, after)
    ]
    updates = written[1] - written[0]
    if phase == "creating" and setup.quota:
        found["PUT resourcequotas status a pod, creating"] = updates / setup.pods
    return found


def _stages(bed: TestBed) -> dict[str, np.ndarray]:
    """The recorded stages; those that no pod passed are left out."""
    seen, post_s, delete_s = bed.watcher.seen_s, bed.post_s, bed.delete_s
    found = {
        "post_sent_to_answered": post_s[1] - post_s[0],
        "added_seen_to_bind_seen": seen["bound"] - seen["created"],
        "bind_seen_to_first_kubelet_status": seen["status"] - seen["bound"],
        "first_kubelet_status_to_running_seen": seen["running"] - seen["status"],
        "added_seen_to_running_seen": seen["running"] - seen["created"],
        "post_sent_to_running_seen": seen["running"] - post_s[0],
        "delete_sent_to_answered": delete_s[1] - delete_s[0],
        "delete_mark_to_terminated_status": seen["terminated"] - seen["deleting"],
        "delete_mark_to_gone": seen["gone"] - seen["deleting"],
    }
    return {stage: sample[~np.isnan(sample)] for stage, sample in found.items() if not np.isnan(sample).all()}
