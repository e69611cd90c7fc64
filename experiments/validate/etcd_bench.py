"""The etcd benchmark of the measurements, in simulation: closed-loop clients and members on shared cores."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from simpy.events import Event

from sim.base.rand import Constant, Dist, Distribution, Sampler, Streams
from sim.base.spec import Spec, param
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.engine.program import Program
from sim.etcd.spec import EtcdSpec
from sim.etcd.store import Etcd


class LoadGeneratorSpec(Spec):
    """The benchmark's client process: part of the test bed, not of a cluster."""

    wake_cpu_s: float = param(9.0e-5, "woken from idle by an answer", ge=0, le=1)
    spin_s: float = param(6.0e-5, "looks for work this long before it sleeps", ge=0, le=1)
    cpu_factor: Dist = param(Constant(value=1.0), "factor on each piece of work, mean 1")
    request_cpu_s: float = param(5.0e-5, "send one request and take in its answer", ge=0, le=1)


@dataclass(frozen=True, slots=True)
class Setup:
    """One row of the benchmark."""

    op: str
    """put, getlin or getser."""
    clients: int
    members: int
    value_bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a row measures. Times in seconds, CPU in core seconds an operation."""

    latency_s: np.ndarray
    ops_per_s: float
    etcd_cpu_s: float
    client_cpu_s: float
    fsyncs_per_op: float
    """Of the leader."""
    fsync_s: float
    """Mean of the leader, its CPU part included; 0 without writes."""


def run(setup: Setup, etcd_spec: EtcdSpec, fsync_s: Distribution, load: LoadGeneratorSpec, *, cores: int = 2,
        seconds: float = 3.0, warm_up_s: float = 0.5, seed: int = 1) -> Outcome:
    """Run one row: all members and the client process on one machine of `cores` cores, each member's log on `fsync_s`."""
    clock = Clock()
    machine = Machine(clock, "test bed", "etcd", cores)
    spec = etcd_spec.model_copy(update={"machines": ("test-bed",) * setup.members, "messages": True})
    etcd = Etcd(clock, spec, [machine] * setup.members, [fsync_s] * setup.members, Streams(seed))
    factor = Sampler(load.cpu_factor, Streams(seed)("client.cpu"))
    program = Program(clock, machine, load.wake_cpu_s, load.spin_s, factor)
    latencies: list[float] = []

    def client() -> Generator[Event, Any, None]:
        while True:
            begun_s = clock._now
            yield program.work(load.request_cpu_s)
            if setup.op == "put":
                yield etcd.put(size_bytes=setup.value_bytes)
            else:
                yield etcd.range(serializable=setup.op == "getser")
            if clock._now >= warm_up_s:
                latencies.append(clock._now - begun_s)

    for _ in range(setup.clients):
        clock.start(client())
    clock.run_until(warm_up_s)
    before = [sum(member.cpu_s for member in etcd.programs), program.cpu_s, etcd.disks[0].fsyncs, etcd.disks[0].busy_s]
    clock.run_until(warm_up_s + seconds)
    after = [sum(member.cpu_s for member in etcd.programs), program.cpu_s, etcd.disks[0].fsyncs, etcd.disks[0].busy_s]
    used = np.subtract(after, before)
    ops = len(latencies)
    return Outcome(np.array(latencies), ops / seconds, used[0] / ops, used[1] / ops, used[2] / ops, used[3] / max(1.0, used[2]))
