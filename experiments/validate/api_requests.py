"""The API server's micro-costs: closed-loop clients on the machine that also holds etcd and the controller manager."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from simpy.events import Event

from experiments.validate import beds
from experiments.validate.judge import EXACT, MIDDLE, Metric, Outcome, Row, latencies, latencies_of, latency_metrics
from experiments.validate.truth import Truth
from sim.apiserver.client import Client
from sim.apiserver.identity import MASTERS, Identity, identity
from sim.apiserver.request import CREATE_POD, GET_POD, PATCH_POD_STATUS, Operation, list_operation
from sim.base.rand import Streams
from sim.scenario import Scenario
from sim.simulate import Cluster
from sim.state.objects import Container, PodSpec, quantities
from sim.workload import AppKind, Load

FAMILY = "API server requests"
FILE = "apiserver_micro_costs.json"
NAMESPACE = "bench"
TENANT = "bench"
NEVER_S = 1e9
PODS_STORED = 6_300
"""Of all namespaces, which a LIST from the watch cache looks through: 100, 1,000 and 5,000 were made for the rows, and some."""
LARGE = 10**9
"""Pods that the quota of a row allows: more than are ever posted."""

METRICS = {
    "throughput": Metric("1/s", 1.0, MIDDLE),
    **latency_metrics(),
    "API server CPU a request": Metric("ms", 1e3, MIDDLE),
    "etcd CPU a request": Metric("ms", 1e3, MIDDLE),
    "controller manager CPU a request": Metric("ms", 1e3),
    "client CPU a request": Metric("ms", 1e3),
    "etcd requests a request": Metric("", 1.0, EXACT),
    "quota updates a request": Metric("", 1.0, MIDDLE),
    "cores busy": Metric("cores", 1.0, MIDDLE),
}

FLOORS = {
    "measured-1.20-2core": {
        "get": (22, 57, 37),
        "healthz": (22, 57, 37),
        "post": (34, 57, 37),
        "patchstatus": (18, 57, 37),
        "putstatus": (18, 57, 37),
        "list": (18, 57, 37),
        "listrv0": (18, 57, 37),
    },
    "measured-1.20-2core-noisy": {
        "get": (76, 95, 87),
        "healthz": (76, 95, 87),
        "post": (78, 95, 87),
        "patchstatus": (46, 95, 87),
        "putstatus": (46, 95, 87),
        "list": (37, 95, 87),
        "listrv0": (37, 95, 87),
    },
}
"""How far repetitions differ, percent, by series and operation: throughput, mean and p50; p99; CPU (our repetitions)."""
RATIO_FLOORS = {"latency p50/mean": 10.0, "latency p99/p50": 82.0, "cores busy": 9.0}
"""Worst of all rows and repetitions."""


@dataclass(frozen=True, slots=True)
class Setup:
    """One row of the benchmark."""

    op: str
    """get, list (from etcd), listrv0 (from the watch cache), healthz, patchstatus, putstatus, post"""
    clients: int
    auth: str
    """cert or token"""
    protobuf: bool
    objects: int
    """Pods in the namespace."""
    object_bytes: int = field(compare=False)
    """Of one pod, as answered."""
    quota: bool
    role_bindings: int
    """In the namespace, beside the usual."""
    cluster_role_bindings: int
    """Beside the usual."""


def rows(truth: Truth) -> list[Row]:
    """The rows of a series, repetitions together."""
    found: dict[tuple[Setup, str], list[dict[str, Any]]] = {}
    for row in truth.rows(FILE):
        found.setdefault((_setup(row), _label(row)), []).append(row)
    floors = FLOORS.get(truth.calibration, {})
    return [_row(setup, label, repetitions, floors.get(setup.op)) for (setup, label), repetitions in found.items()]


def _setup(row: dict[str, Any]) -> Setup:
    label, op, objects = str(row.get("label", "")), str(row["op"]), int(row.get("objects", 0))
    extra = {kind: int(number) for number, kind in re.findall(r"(\d+)_(clusterrolebindings|rolebindings)", label)}
    size = (
        float(row.get("mean_bytes", 0)) / max(1, objects) if op.startswith("list") else float(row.get("mean_bytes", 0))
    )
    return Setup(
        op,
        int(row["clients"]),
        str(row.get("auth", "cert")),
        row.get("accept") == "pb",
        objects,
        round(size),
        op == "post" and "quota" in label and "noquota" not in label,
        extra.get("rolebindings", 0),
        extra.get("clusterrolebindings", 0),
    )


def _label(row: dict[str, Any]) -> str:
    """What is measured once more later in a session is another repetition, not another setup."""
    label = str(row.get("label", ""))
    return "" if label.startswith(("get", "rbac_1")) and "pb" not in label else label


def _row(setup: Setup, label: str, repetitions: list[dict[str, Any]], floors: tuple[int, int, int] | None) -> Row:
    measured: dict[str, list[float]] = {}
    for row in repetitions:
        for name, value in _figures(setup, row).items():
            measured.setdefault(name, []).append(value)
    middle, tail, cpu = floors or (0, 0, 0)
    known = {
        "throughput": middle,
        "latency mean": middle,
        "latency p50": middle,
        "latency p99": tail,
        "API server CPU a request": cpu,
        "etcd CPU a request": cpu,
        **RATIO_FLOORS,
    }
    kind = f"{setup.objects} pods, " if setup.op.startswith("list") else ""
    name = f"{setup.op} {kind}{setup.clients} clients, {setup.auth}, {'pb' if setup.protobuf else 'json'}"
    quota = (", quota" if setup.quota else ", no quota") if setup.op == "post" else ""
    bindings = "".join(
        f", +{count} {what}"
        for count, what in (
            (setup.role_bindings, "role bindings"),
            (setup.cluster_role_bindings, "cluster role bindings"),
        )
        if count
    )
    return Row(
        FAMILY,
        name + quota + bindings,
        setup,
        measured,
        calibrates=is_calibration_row(setup),
        floors=known,
        quantiles={"latency": [np.array(row["latency_s"]["q50"]) for row in repetitions if "q50" in row["latency_s"]]},
    )


def is_calibration_row(setup: Setup) -> bool:
    """Costs come from rows with one client."""
    return setup.clients == 1


def _figures(setup: Setup, row: dict[str, Any]) -> dict[str, float]:
    cpu = {name: value * 1e-3 for name, value in row["cpu_ms_per_request"].items()}
    found = {
        "throughput": float(row["req_per_s"]),
        **latencies(row["latency_s"]),
        "API server CPU a request": cpu["apiserver"],
        "etcd CPU a request": cpu["etcd"],
        "controller manager CPU a request": cpu.get("kcm", 0.0),
        "client CPU a request": cpu["loadgen"],
        "cores busy": cpu.get("machine_busy", sum(cpu[name] for name in ("apiserver", "etcd", "loadgen")))
        * float(row["req_per_s"]),
    }
    if setup.op == "listrv0":  # etcd is not asked
        del found["etcd CPU a request"]
    histograms = row.get("histograms") or {}
    etcd, api = (
        histograms.get(name) or {} for name in ("etcd_request_duration_seconds", "apiserver_request_duration_seconds")
    )
    asked = sum(float(one["count"]) for name, one in api.items() if " pods " in name)
    if asked and not setup.op.startswith("list"):  # a LIST asks etcd once a page
        of_pods = sum(float(one["count"]) for name, one in etcd.items() if name.endswith("core.Pod"))
        if setup.quota:
            updates = float(etcd.get("update *core.ResourceQuota", {"count": 0.0})["count"])
            found["quota updates a request"] = updates / asked
        else:
            found["etcd requests a request"] = of_pods / asked
    return found


def scenario_of(setup: Setup, calibration: str) -> Scenario:
    """The measured cluster as the row has it; a pod is as large as its answers say."""
    base = beds.cluster(calibration)
    size = setup.object_bytes / (1.0 if setup.protobuf else base.apiserver.encoding.json_ratio)
    return base.replace(
        {
            "apiserver.authorization.methods.rbac.other_role_bindings": 1 + setup.role_bindings,
            "apiserver.authorization.methods.rbac.other_cluster_role_bindings": setup.cluster_role_bindings,
            "apiserver.authentication.modes": ["x509", "static-token", "service-account"],
            "apiserver.authentication.tenants": "static-token" if setup.auth == "token" else "x509",
            "etcd.object_bytes.pods": max(1, round(size)),
        }
    )


def load_of(setup: Setup) -> Load:
    """One pod that is never asked for: it makes the namespace the tenant's. The clients post pods of its kind."""
    template = PodSpec(
        namespace=NAMESPACE,
        scheduler_name="none",
        containers=(Container(requests=quantities({"cpu": 10, "memory": 10 * 2**20})),),
    )
    one, zero = np.ones(1, np.int32), np.zeros(1, np.int32)
    return Load(
        templates=(template,),
        tenants=(TENANT,),
        app_time_s=np.array([NEVER_S]),
        app_end_s=np.array([np.inf]),
        app_kind=np.full(1, AppKind.POD, np.int8),
        app_template=zero,
        app_tenant=zero,
        app_pods=one,
        app_parallelism=one,
        pod_duration_s=np.array([np.inf]),
        nodes_run=False,
        quotas=((NAMESPACE, quantities({"pods": LARGE})),) if setup.quota else (),
    )


class Bench:
    """The machine with the API server, etcd, controller manager and the clients' process."""

    def __init__(self, scenario: Scenario, load: Load, bed: beds.BedSpec, seed: int) -> None:
        streams = Streams(seed)
        self.cluster = Cluster(scenario, load, streams)
        self.clock = self.cluster.clock
        machine = self.cluster.machines["control-plane"]
        self.client = bed.api_client.program(self.clock, machine, streams)
        self.controllers = self.cluster.programs["kube-controller-manager"]
        beds.idle_programs(self.cluster, bed)
        beds.informers(self.cluster, "bench", bed.model_copy(update={"scheduler": beds.InformerSpec(event_cpu_s=0)}))

    def connect(self, user: Identity | str) -> Client:
        """A client with a connection of its own."""
        return self.cluster._client(user)

    def fill(self, objects: int) -> None:
        """Store the pods that there are before a row begins: those of its namespace, and others."""
        self.cluster.storage.add("pods", NAMESPACE, objects)
        self.cluster.storage.add("pods", "others", max(0, PODS_STORED - objects))

    def tell(self) -> None:
        """A pod was changed: those who watch pods hear of it."""
        self.cluster.watch.publish("bench", "changed", 0)

    def used(self) -> np.ndarray:
        """CPU seconds so far of API server, etcd, controller manager, clients and the whole machine; etcd's requests, quota's updates."""
        cluster = self.cluster
        etcd = cluster.etcd
        return np.array(
            [
                cluster.programs["kube-apiserver"].cpu_s,
                sum(program.cpu_s for program in etcd.programs),
                self.controllers.cpu_s,
                self.client.cpu_s,
                cluster.machines["control-plane"].meter.read()[0],
                etcd.puts + etcd.ranges,
                cluster.api.admission.evaluator.updates,
            ]
        )


def user_of(setup: Setup) -> Identity | str:
    """In whose name a row's requests are sent: the namespace's tenant, or an administrator for what a tenant may not do or say."""
    if setup.protobuf or setup.op.endswith("status"):
        name = "system:bench" if setup.protobuf else "bench-admin"
        return identity(name, (MASTERS,), "static-token" if setup.auth == "token" else "x509")
    return TENANT


Request = Callable[[Bench, Client], Generator[Event, Any, int]]
UPDATE_POD_STATUS = Operation("PUT", "pods/status", "patch_cpu_s", writes=1)
DELETE_UNBOUND_POD = Operation("DELETE", "pods", "delete_cpu_s", reads=1, writes=1, keys=-1)


def _read(operation: Operation) -> Request:
    return lambda _, client: client.send(operation, NAMESPACE)


def _write(operation: Operation) -> Request:
    def request(bench: Bench, client: Client) -> Generator[Event, Any, int]:
        code = yield from client.send(operation, NAMESPACE)
        bench.tell()
        return code

    return request


def _post(bench: Bench, client: Client) -> Generator[Event, Any, int]:
    template = bench.cluster.load.templates[0]
    (new,) = bench.cluster.admission.new_pods((template,))
    code = yield from client.send(CREATE_POD, NAMESPACE, new)
    bench.tell()
    return code


REQUESTS: dict[str, Request] = {
    "get": _read(GET_POD),
    "list": _read(list_operation("pods", "namespace")),
    "listrv0": _read(list_operation("pods", "namespace", "any")),
    "patchstatus": _write(PATCH_POD_STATUS),
    "putstatus": _write(UPDATE_POD_STATUS),
    "delete": _write(DELETE_UNBOUND_POD),
    "post": _post,
}
"""By the name of the operation in the recorded rows."""


def replay(setup: Setup, calibration: str, seconds: float, seed: int) -> Outcome:
    """Run one row. seconds: simulated, after a warm-up."""
    request = REQUESTS.get(setup.op)
    if request is None:
        return Outcome({}, failed=f"operation '{setup.op}' is not simulated")
    bed = beds.bed(calibration)
    bench = Bench(scenario_of(setup, calibration), load_of(setup), bed, seed)
    bench.fill(setup.objects)
    clock, warm_up_s = bench.clock, min(0.5, seconds / 4)
    latency_s: list[float] = []
    codes: dict[int, int] = {}

    def client() -> Generator[Event, Any, None]:
        connection = bench.connect(user_of(setup))
        size = bed.api_client.byte_cpu_s * setup.object_bytes * (setup.objects if setup.op.startswith("list") else 1)
        while True:
            begun_s = clock._now
            yield bench.client.work(bed.api_client.request_cpu_s + size)
            code = yield from request(bench, connection)
            if clock._now >= warm_up_s:
                latency_s.append(clock._now - begun_s)
                codes[code] = codes.get(code, 0) + 1

    for _ in range(setup.clients):
        clock.start(client())
    clock.run_until(warm_up_s)
    before = bench.used()
    clock.run_until(warm_up_s + seconds)
    used = bench.used() - before
    done = len(latency_s)
    wrong = {code: count for code, count in codes.items() if code >= 300}
    if not done or wrong:
        return Outcome({}, failed=f"{done} requests in {seconds:g} s, of which refused: {wrong}")
    return Outcome(
        {
            **({"quota updates a request": used[6] / done} if setup.quota else {}),
            "throughput": done / seconds,
            **latencies_of(np.array(latency_s)),
            "API server CPU a request": used[0] / done,
            "etcd CPU a request": used[1] / done,
            "controller manager CPU a request": used[2] / done,
            "client CPU a request": used[3] / done,
            "cores busy": used[4] / seconds,
            "etcd requests a request": used[5] / done,
        },
        {"latency": np.array(latency_s)},
    )
