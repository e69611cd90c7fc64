"""Test beds: the scenario of a measured setup, and what ran on the same machine beside the control plane.

A bed is YAML beside this file, laid over a calibration: `<calibration>.yaml` holds the costs of what is no part of a cluster
(load generators, hollow kubelets when idle), `control-plane.yaml` the cluster that was measured.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from pydantic import Field
from simpy.events import Event

from sim.base.rand import Constant, Dist, Distribution, Sampler, Streams
from sim.base.spec import Spec, param
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.engine.program import Program
from sim.engine.spec import MachineSpec
from sim.etcd.spec import EtcdSpec
from sim.scenario import Scenario
from sim.scenario_file import merge, preset_files, read_values, with_values
from sim.simulate import Cluster

FOLDER = Path(__file__).parent / "test_beds"
IDLE_PERIOD_S = 0.05
CLUSTER = "control-plane"
"""The cluster that was measured."""


class LoadGeneratorSpec(Spec):
    """A benchmark's client process: part of the test bed, not of a cluster."""

    wake_cpu_s: float = param(9.0e-5, "woken from idle by an answer", ge=0, le=1)
    spin_s: float = param(6.0e-5, "looks for work this long before it sleeps", ge=0, le=1)
    cpu_factor: Dist = param(Constant(value=1.0), "factor on each piece of work, mean 1")
    request_cpu_s: float = param(5.0e-5, "send one request and take in its answer", ge=0, le=1)
    byte_cpu_s: float = param(0.0, "take in one byte of an answer", ge=0, le=1e-3)
    event_cpu_s: float = param(0.0, "take in one watch event", ge=0, le=1)

    def program(self, clock: Clock, machine: Machine, streams: Streams) -> Program:
        """The process on its machine."""
        draw = Sampler(self.cpu_factor, streams("client.cpu"))
        return Program(clock, machine, self.wake_cpu_s, self.spin_s, draw)


class HollowSpec(Spec):
    """What hollow nodes cost beside what the cluster simulates."""

    idle_cpu_s: float = param(
        0.0, "CPU of one hollow node in each second, besides waking: PLEG relists, housekeeping, heartbeats", ge=0, le=1
    )
    wakes_per_s: float = param(1.0, "pieces that it comes in", ge=0.1, le=1000)
    start_cpu_s: float = param(
        0.0, "starting one pod besides waking: syncs, volumes, requests, watch events", ge=0, le=1
    )
    wakes_per_start: float = param(1.0, "pieces that it comes in", ge=1, le=10_000)
    start_s: float = param(1.0, "time over which they come: volumes' poll and the relist", gt=0, le=60)
    teardown_cpu_s: float = param(0.0, "taking down one pod; comes in as many pieces", ge=0, le=1)


class InformerSpec(Spec):
    """What a component's informers do with one watch event of a pod beside what the cluster simulates."""

    event_cpu_s: float = param(2.0e-4, "decode, update the cache, call the handlers", ge=0, le=1)


class BedSpec(Spec):
    """Everything of a test bed that is no part of a cluster."""

    etcd_client: LoadGeneratorSpec = LoadGeneratorSpec()
    api_client: LoadGeneratorSpec = LoadGeneratorSpec()
    life_cycle_client: LoadGeneratorSpec = LoadGeneratorSpec()
    hollow: HollowSpec = HollowSpec()
    idle_cores: dict[str, float] = Field(
        {},
        description="cores that a program uses when nothing is asked of it, beside what the cluster simulates: timers, "
        "garbage collection, the control plane's own objects",
    )
    controllers: InformerSpec = InformerSpec()
    scheduler: InformerSpec = InformerSpec()
    overlay: dict[str, Any] = Field({}, description="values of the cluster that belong to the bed")


_trials: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
"""Values under trial by calibration: over the preset's, and over the bed's."""


@contextmanager
def trial(calibration: str, preset: Mapping[str, Any], bed_values: Mapping[str, Any]) -> Iterator[None]:
    """While it lasts, `calibration` has these values (`{"a.b": value}`) over its own: for finding better ones."""
    _trials[calibration] = (dict(preset), dict(bed_values))
    _forget()
    try:
        yield
    finally:
        del _trials[calibration]
        _forget()


def _forget() -> None:
    for known in (bed, calibrated, _layers):
        known.cache_clear()


def preset(calibration: str) -> dict[str, Any]:
    """What a calibration sets."""
    values = read_values(preset_files()[calibration], calibration)
    return with_values(values, _trials[calibration][0]) if calibration in _trials else values


@cache
def bed(calibration: str) -> BedSpec:
    """The test bed of a calibration's series."""
    values = read_values(FOLDER / f"{calibration}.yaml", calibration)
    return BedSpec.model_validate(with_values(values, _trials[calibration][1]) if calibration in _trials else values)


@cache
def calibrated(calibration: str) -> tuple[EtcdSpec, Distribution, int]:
    """Of a calibration: etcd, its disk, and the machine's cores."""
    values = preset(calibration)
    machine = MachineSpec.model_validate(values["machines"]["control-plane"])
    return EtcdSpec.model_validate(values["etcd"]), machine.fsync_s, machine.cores


@cache
def _layers(calibration: str) -> dict[str, Any]:
    return merge(preset(calibration), read_values(FOLDER / f"{CLUSTER}.yaml", CLUSTER))


def cluster(calibration: str, values: Mapping[str, Any] | None = None) -> Scenario:
    """The measured cluster with a calibration's costs. values: `{"a.b": value}` over it."""
    base = Scenario.model_validate(merge(_layers(calibration), bed(calibration).overlay))
    return base.replace(values) if values else base


def informers(cluster: Cluster, resource: str, bed: BedSpec) -> None:
    """Controller manager and scheduler take in each event of a pod that is published as `resource`."""
    kinds = (
        "created",
        "bound",
        "status",
        "started",
        "running",
        "ready",
        "unready",
        "finished",
        "deleting",
        "gone",
        "changed",
    )
    for name, spec in (("kube-controller-manager", bed.controllers), ("kube-scheduler", bed.scheduler)):
        load = partial(_take_in, cluster.programs[name], spec.event_cpu_s)
        cluster.watch.watch(resource, f"{name} (informers)", dict.fromkeys(kinds, load))


def _take_in(program: Program, cpu_s: float, _: int) -> None:
    program.load(cpu_s)


def idle_programs(cluster: Cluster, bed: BedSpec) -> None:
    """Programs that use CPU though nothing is asked of them."""
    programs = {**cluster.programs, "etcd": cluster.etcd.programs[0]}
    for name, cores in bed.idle_cores.items():
        cluster.clock.start(_idle(cluster.clock, programs[name], cores * IDLE_PERIOD_S))


def _idle(clock: Clock, program: Program, cpu_s: float) -> Generator[Event, Any, None]:
    while True:
        program.machine.load(cpu_s)  # its own timers' doing: it wakes nobody else
        program.cpu_s += cpu_s
        yield clock.timeout(IDLE_PERIOD_S)
