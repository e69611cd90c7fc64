"""How the API server's costs of the calibrations were found: `python -m experiments.validate.calibrate_api [CALIBRATION]`.

Only rows with one client, or 5 pods a second, and idle clusters are looked at: the others are not even read. Step by step:

1. What a sleeping program costs, of its GETs:
   - One client's latency is the work on its way and nothing else, since nobody else asks; CPU used in that time but not on the way
     is what threads spend looking for work before they sleep. A GET has four sleeps (client, API server twice, etcd once): `spin_s`
     is (CPU of all three - latency) / 4.
   - System time is what waking costs (futex, epoll, interrupts, the kernel's scheduler), but for the socket calls: 7 us for one sent
     and received on loopback (our own ping-pong on a virtual machine of this kind). So `wake_cpu_s` is the API server's
     system time less its sockets', halved, and etcd's is its own, less its sockets'. Of the client no system time was recorded:
     its wake-up is what is left of its CPU beyond a spin and handling (40 us, as etcd's gRPC client needs).
   - A hollow node's system time over `wake_cpu_s` says how often it is woken: per pod, and per second when idle.
2. Costs of single operations: each from the CPU of one program in one row, by iteration, since rows share wake-ups and watch events.

The split between handling and waking is therefore fixed before any row with several clients is seen. The second series takes what it
has no rows for from the first, so that one is found, and written to its preset, first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import yaml

from experiments.validate import api_requests, beds, life_cycle
from experiments.validate.judge import Row
from experiments.validate.truth import Truth, find
from sim.scenario_file import with_values

SOCKETS_S = 7e-6
"""A message sent and one received on loopback when nobody sleeps: our own ping-pong."""
CLIENT_HANDLING_S = 40e-6
"""A client's own work for one request, etcd's gRPC client in the quieter series; scaled with the series."""
SPEED = {"measured-1.20-2core": 1.0, "measured-1.20-2core-noisy": 1.4}
"""Cost of the same work against the quieter series, by etcd's three-member puts with one client."""
SLEEPS = 4
"""Of a GET on its way: the client once, the API server twice, etcd once."""
ROUNDS = 10
SMALLEST = 1e-12
SCORE_OVER_FILTER = 1.1
"""Of one node, as measured in kube-scheduler 1.34. What the algorithm takes for 50 nodes beyond a cycle's own cost is these two."""


@dataclass(frozen=True, slots=True)
class Fit:
    """One value, found from one figure of one row."""

    path: str
    """In the calibration; with `bed:` before it, in the test bed."""
    row: Callable[[Row], bool]
    metric: str
    per_unit: float
    """By how much the figure grows with the value, about."""
    start: float


def _micro(op: str, quota: bool = False, objects: int = 0, protobuf: bool = False) -> Callable[[Row], bool]:
    def fits(row: Row) -> bool:
        setup = row.setup
        return (
            isinstance(setup, api_requests.Setup)
            and (setup.op, setup.clients, setup.quota) == (op, 1, quota)
            and setup.auth == "cert"
            and not setup.role_bindings
            and not setup.cluster_role_bindings
            and setup.protobuf == protobuf
            and objects in (0, setup.objects)
        )

    return fits


def _pods(row: Row) -> bool:
    return isinstance(row.setup, life_cycle.Setup) and row.calibrates


API, ETCD, CLIENT, MANAGER = (
    f"{name} CPU a request" for name in ("API server", "etcd", "client", "controller manager")
)
FIRST = "measured-1.20-2core-noisy"
OF_LISTS = (
    "apiserver.list_cpu_s",
    *(f"apiserver.encoding.{name}_byte_cpu_s" for name in ("encode_json", "encode_protobuf", "decode_protobuf")),
)
"""Costs of LISTs, each from a row of the first series. The second has one such row, which says how much cheaper all of them are."""
LISTS = "lists"
"""That factor."""
PROGRAMS = "machines.control-plane.programs."
FITS = (
    Fit("apiserver.get_cpu_s", _micro("get"), API, 1.0, 4e-4),
    Fit("bed:overlay.etcd.range_cpu_s", _micro("get"), ETCD, 1.0, 1.0e-4),
    Fit("bed:api_client.request_cpu_s", _micro("get"), CLIENT, 1.0, 4e-5),
    Fit("apiserver.encoding.encode_json_byte_cpu_s", _micro("listrv0", objects=1000), API, 2e6, 1.2e-8),
    Fit(
        "apiserver.encoding.encode_protobuf_byte_cpu_s",
        _micro("listrv0", objects=1000, protobuf=True),
        API,
        1.2e6,
        8e-9,
    ),
    Fit("apiserver.encoding.decode_protobuf_byte_cpu_s", _micro("list", objects=1000), API, 1.2e6, 1.4e-8),
    Fit(LISTS, _micro("list", objects=1000), API, 0.05, 1.0),
    Fit("apiserver.list_cpu_s", _micro("list", objects=100), API, 1.0, 3e-3),
    Fit("bed:overlay.etcd.range_byte_cpu_s", _micro("list", objects=1000), ETCD, 1.2e6, 4e-9),
    Fit("bed:api_client.byte_cpu_s", _micro("list", objects=1000), CLIENT, 1.9e6, 1e-9),
    Fit("apiserver.patch_cpu_s", _micro("patchstatus"), API, 1.0, 1.5e-3),
    Fit("bed:controllers.event_cpu_s", _micro("patchstatus"), MANAGER, 1.0, 2e-4),
    Fit("apiserver.create_cpu_s", _micro("post"), API, 1.0, 1e-3),
    Fit("apiserver.quota_cpu_s", _micro("post", quota=True), API, 1.0, 2e-3),
    Fit("apiserver.delete_cpu_s", _pods, "API server CPU a pod, deleting", 2.0, 1.5e-3),
    Fit("scheduler.filter_cpu_s", _pods, "scheduling algorithm mean", 60.0, 3e-6),
    Fit("scheduler.bind_cpu_s", _pods, "scheduler CPU a pod, creating", 1.0, 2e-3),
    Fit("bed:scheduler.event_cpu_s", _pods, "scheduler CPU a pod, deleting", 3.0, 2e-4),
    Fit("bed:hollow.start_cpu_s", _pods, "hollow nodes CPU a pod, creating", 1.0, 1.0e-2),
    Fit("bed:hollow.teardown_cpu_s", _pods, "hollow nodes CPU a pod, deleting", 1.0, 1.4e-2),
    Fit("bed:hollow.idle_cpu_s", _pods, "hollow nodes cores, idle", 50.0, 2e-3),
    Fit("bed:idle_cores.kube-apiserver", _pods, "API server cores, idle", 1.0, 0.02),
    Fit("bed:idle_cores.etcd", _pods, "etcd cores, idle", 1.0, 0.01),
    Fit("bed:idle_cores.kube-controller-manager", _pods, "controller manager cores, idle", 1.0, 0.01),
    Fit("bed:idle_cores.kube-scheduler", _pods, "scheduler cores, idle", 1.0, 0.002),
)


@dataclass(frozen=True, slots=True)
class Sleeping:
    """What sleeping and waking costs, core seconds."""

    spin_s: float
    wake_s: float
    """Of the API server, and taken for all programs of its kind."""
    etcd_wake_s: float
    client_wake_s: float
    wakes_per_pod: float
    """Of a hollow node."""
    wakes_per_idle_s: float


def sleeping(truth: Truth) -> Sleeping:
    """In closed form from GETs with one client, 5 pods a second, and the idle cluster."""
    gets = [
        row
        for row in truth.rows(api_requests.FILE)
        if row["op"] == "get" and row["clients"] == 1 and row["accept"] == "json"
    ]

    def mean(name: str) -> float:
        return float(np.mean([row["cpu_ms_per_request"][name] for row in gets])) * 1e-3

    latency_s = float(np.mean([row["latency_s"]["mean"] for row in gets]))
    spin_s = (mean("apiserver") + mean("etcd") + mean("loadgen") - latency_s) / SLEEPS
    sockets_s = SOCKETS_S * SPEED[truth.calibration]
    wake_s = (mean("apiserver.sys") - 2 * sockets_s) / 2
    runs = truth.rows(life_cycle.FILE)
    idle = next(row for row in runs if "window_s" in row)
    idle_per_s = idle["cpu_s"]["hollow.sys"] / idle["window_s"]
    pods = [
        (row["cpu_create_s"]["hollow.sys"] - idle_per_s * row["cpu_create_window_s"]) / row["pods"]
        for row in runs
        if row.get("rate") == life_cycle.CALIBRATION_RATE
    ]
    return Sleeping(
        spin_s,
        wake_s,
        mean("etcd.sys") - sockets_s,
        mean("loadgen") - spin_s - CLIENT_HANDLING_S * SPEED[truth.calibration],
        float(np.mean(pods)) / wake_s,
        idle_per_s / idle["hollow_nodes"] / wake_s,
    )


def fit(truth: Truth, seconds: float = 4.0) -> dict[str, float]:
    """Values by path, `ROUNDS` times corrected by what each one's figure is off."""
    name = truth.calibration
    rows = [row for row in (*api_requests.rows(truth), *life_cycle.rows(truth)) if row.calibrates]
    skipped = {LISTS} if any(_micro("listrv0")(row) for row in rows) else set(OF_LISTS)
    fits = [(one, row) for one in FITS if one.path not in skipped for row in rows if one.row(row)]
    asleep = sleeping(truth)
    fixed = {
        f"{PROGRAMS}wake_cpu_s": asleep.wake_s,
        f"{PROGRAMS}spin_s": asleep.spin_s,
        "bed:overlay.etcd.wake_cpu_s": asleep.etcd_wake_s,
        "bed:overlay.etcd.spin_s": asleep.spin_s,
        "bed:hollow.wakes_per_start": asleep.wakes_per_pod,
        "bed:hollow.wakes_per_s": asleep.wakes_per_idle_s,
    }
    for client in ("api_client", "life_cycle_client"):
        fixed |= {f"bed:{client}.wake_cpu_s": asleep.client_wake_s, f"bed:{client}.spin_s": asleep.spin_s}
    values = {one.path: one.start for one, _ in fits}
    for _ in range(ROUNDS):
        trial = _with_followers({**fixed, **values})
        preset = {path: value for path, value in trial.items() if not path.startswith("bed:")}
        bed = {path.removeprefix("bed:"): value for path, value in trial.items() if path.startswith("bed:")}
        with beds.trial(name, preset, bed):
            seen = {id(row): _replay(row, name, seconds) for row in {id(row): row for _, row in fits}.values()}
        for one, row in fits:
            measured = float(np.mean(row.measured[one.metric]))
            values[one.path] = max(
                SMALLEST, values[one.path] + (measured - seen[id(row)][one.metric]) / one.per_unit * 0.7
            )
    return _with_followers({**fixed, **values})


def _with_followers(values: dict[str, float]) -> dict[str, float]:
    """What follows from values that were found: a binding costs what a POST does; what the second series has no rows for changes
    between the series as what it has rows for."""
    create_s = values["apiserver.create_cpu_s"]
    found = {path: value for path, value in values.items() if path != LISTS}
    found["apiserver.bind_cpu_s"] = create_s
    found["scheduler.score_cpu_s"] = values["scheduler.filter_cpu_s"] * SCORE_OVER_FILTER
    if LISTS in values:
        first = beds.preset(FIRST)["apiserver"]
        for path in OF_LISTS:
            at_first = first["list_cpu_s"] if path == OF_LISTS[0] else first["encoding"][path.rsplit(".", 1)[1]]
            found[path] = at_first * values[LISTS]
        found["apiserver.quota_cpu_s"] = first["quota_cpu_s"] * create_s / first["create_cpu_s"]
    return found


def _replay(row: Row, calibration: str, seconds: float) -> dict[str, float]:
    replay = api_requests.replay if isinstance(row.setup, api_requests.Setup) else life_cycle.replay
    outcome = replay(row.setup, calibration, seconds, 1)
    if outcome.failed:
        raise RuntimeError(f"{row.name}: {outcome.failed}")
    return outcome.values


def main() -> None:
    """Find the values of one calibration, or of all, and print them as YAML: those of the preset, then those of the test bed."""
    names = sys.argv[1:] or [FIRST, *(name for name in SPEED if name != FIRST)]
    for name in names:
        (truth,) = find(None, [name])
        values = {path: float(f"{value:.4g}") for path, value in fit(truth).items()}
        preset = {path: value for path, value in values.items() if not path.startswith("bed:")}
        bed = {path.removeprefix("bed:"): value for path, value in values.items() if path.startswith("bed:")}
        for title, part in ((f"sim/presets/calibrations/{name}.yaml", preset), (f"test_beds/{name}.yaml", bed)):
            print(f"# {title}")
            print(yaml.safe_dump(with_values({}, part), sort_keys=False))


if __name__ == "__main__":
    main()
