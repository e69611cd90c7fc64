"""The two kill tests of the measurements, in simulation: etcd's leader, and the scheduler that holds the lease."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from simpy.events import Event

from sim.base.rand import Distribution, Streams
from sim.controllers.leader_election import Elector, LeaderElectionSpec, Record
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.etcd.errors import OK
from sim.etcd.spec import EtcdSpec
from sim.etcd.store import Etcd

PROBE_PERIOD_S = 0.01
"""Probe writes start this often, at the two members that survive in turn."""
LOCK_REQUEST_S = 0.005
"""One request of the idle API server in the scheduler test: a GET or PUT with one client takes 2 to 6 ms."""


def etcd_leader_kill(spec: EtcdSpec, fsync_s: Distribution, seed: int, trial: int) -> float:
    """Seconds from the leader's death to the end of the first write that was started after it and succeeded."""
    clock = Clock()
    streams = Streams(seed, trial)
    machine = Machine(clock, "test bed", "etcd", 2)
    spec = spec.model_copy(update={"machines": ("test-bed",) * 3, "messages": True})
    etcd = Etcd(clock, spec, [machine] * 3, [fsync_s] * 3, streams)
    kill_s = 2.0 + spec.heartbeat_s * float(streams("kill").random())
    recovered_s: list[float] = []

    def probe(member: int) -> Generator[Event, Any, None]:
        begun_s = clock._now
        answer = yield etcd.put(member=member)
        if begun_s >= kill_s and answer == OK:
            recovered_s.append(clock._now)

    def probes() -> Generator[Event, Any, None]:
        number = 0
        while not recovered_s:
            yield clock.timeout(PROBE_PERIOD_S)
            number += 1
            clock.start(probe(1 + number % 2))

    clock.start(probes())
    clock.at(kill_s, lambda _: etcd.crash(0))
    while not recovered_s:
        clock.run_until(clock._now + 1.0)
    return recovered_s[0] - kill_s


class _Store:
    """The record in an API server that always answers after the same time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._record: Record | None = None
        self._version = 0

    def get(self) -> Generator[Event, Any, tuple[Record | None, int] | None]:
        yield self._clock.timeout(LOCK_REQUEST_S)
        return self._record, self._version

    def update(self, record: Record, version: int) -> Generator[Event, Any, int]:
        yield self._clock.timeout(LOCK_REQUEST_S)
        if version != self._version:
            return 0
        self._record = record
        self._version += 1
        return self._version


def scheduler_kill(spec: LeaderElectionSpec, seed: int, trial: int) -> float:
    """Seconds from the death of the scheduler that leads to the standby's taking over.

    As measured: the standby was started 6 to 8 s before, at any phase of the leader's renewals.
    """
    clock = Clock()
    rng = Streams(seed, trial)("leader election")
    store = _Store(clock)
    leader, standby = (Elector(clock, spec, name, store, rng.random) for name in ("leader", "standby"))
    clock.start(leader.run())
    started_s = 20.0 + spec.retry_s * rng.random()
    kill_s = started_s + 6.0 + 2.0 * rng.random()

    def start_standby(_: object) -> None:
        clock.start(standby.run())

    clock.at(started_s, start_standby)
    clock.at(kill_s, lambda _: leader.kill())
    while not standby.acquired_at_s:
        clock.run_until(clock._now + 5.0)
    return standby.acquired_at_s[0] - kill_s


def etcd_outages_s(spec: EtcdSpec, fsync_s: Distribution, seed: int, trials: int) -> np.ndarray:
    """`trials` independent leader kills."""
    return np.array([etcd_leader_kill(spec, fsync_s, seed, trial) for trial in range(trials)])


def scheduler_outages_s(spec: LeaderElectionSpec, seed: int, trials: int) -> np.ndarray:
    """`trials` independent kills of the scheduler that leads."""
    return np.array([scheduler_kill(spec, seed, trial) for trial in range(trials)])
