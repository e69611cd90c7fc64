"""Test beds: the scenario of a measured setup, and what ran on the same machine beside the control plane.

A bed is YAML beside this file, laid over a calibration: `<calibration>.yaml` holds the costs of what is no part of a cluster
(load generators, hollow kubelets when idle), `control-plane.yaml` the cluster that was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from sim.base.rand import Constant, Dist, Distribution, Sampler, Streams
from sim.base.spec import Spec, param
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.engine.program import Program
from sim.engine.spec import MachineSpec
from sim.etcd.spec import EtcdSpec
from sim.scenario import Scenario
from sim.scenario_file import merge, preset_files, read_values

FOLDER = Path(__file__).parent / "test_beds"
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
        return Program(clock, machine, self.wake_cpu_s, self.spin_s, Sampler(self.cpu_factor, streams("client.cpu")))


class HollowSpec(Spec):
    """What hollow nodes cost when they do nothing."""

    idle_cpu_s: float = param(
        0.0, "CPU of one hollow node in each second: PLEG relists, housekeeping, heartbeats", ge=0, le=1
    )


class BedSpec(Spec):
    """Everything of a test bed that is no part of a cluster."""

    etcd_client: LoadGeneratorSpec = LoadGeneratorSpec()
    api_client: LoadGeneratorSpec = LoadGeneratorSpec()
    life_cycle_client: LoadGeneratorSpec = LoadGeneratorSpec()
    hollow: HollowSpec = HollowSpec()
    controller_event_cpu_s: float = param(
        3.0e-4,
        "the controller manager takes in one watch event of a pod: several informers and their queues",
        ge=0,
        le=1,
    )
    overlay: dict[str, Any] = Field({}, description="values of the cluster that belong to the bed")


@cache
def bed(calibration: str) -> BedSpec:
    """The test bed of a calibration's series."""
    return BedSpec.model_validate(read_values(FOLDER / f"{calibration}.yaml", calibration))


@cache
def calibrated(calibration: str) -> tuple[EtcdSpec, Distribution, int]:
    """Of a calibration: etcd, its disk, and the machine's cores."""
    values = read_values(preset_files()[calibration], calibration)
    machine = MachineSpec.model_validate(values["machines"]["control-plane"])
    return EtcdSpec.model_validate(values["etcd"]), machine.fsync_s, machine.cores


@cache
def _layers(calibration: str) -> dict[str, Any]:
    layers = read_values(preset_files()[calibration], calibration)
    return merge(layers, read_values(FOLDER / f"{CLUSTER}.yaml", CLUSTER))


def cluster(calibration: str, values: Mapping[str, Any] | None = None) -> Scenario:
    """The measured cluster with a calibration's costs. values: `{"a.b": value}` over it."""
    base = Scenario.model_validate(merge(_layers(calibration), bed(calibration).overlay))
    return base.replace(values) if values else base
