"""The sampler: means over each period add up to the whole, levels are read at its end, the last period may be short."""

from __future__ import annotations

import numpy as np
import pytest

from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.engine.sampler import MeterSampler
from sim.engine.semaphore import Semaphore


def test_worked_example():
    """Two seats: three ask at 0.5 s for 1 s each, so one waits from 0.5 to 1.5 s; sampled each second until 2.25 s."""
    clock = Clock()
    seats = Semaphore(clock, "two seats", "room", 2)
    held = [0.0]
    sampler = MeterSampler(clock, 1.0, [seats.meter], {"held": lambda: held[0]})

    def customer():
        yield clock.timeout(0.5)
        yield seats.acquire()
        held[0] += 1
        yield clock.timeout(1.0)
        seats.release()
        held[0] -= 1

    for _ in range(3):
        clock.start(customer())
    clock.start(sampler.run())
    clock.run_until(2.25)
    sampler.sample()
    columns = sampler.columns()
    assert list(columns) == ["time_s", "two_seats_utilisation", "two_seats_queue", "held"]
    assert columns["time_s"].tolist() == [1.0, 2.0, 2.25]
    # seat seconds: 2 x 0.5 | 2 x 0.5 + 1 x 0.5 | 1 x 0.25, each over 2 seats and the period
    assert columns["two_seats_utilisation"] == pytest.approx([0.5, 0.75, 0.5])
    assert columns["two_seats_queue"] == pytest.approx([0.5, 0.5, 0.0])
    assert columns["held"].tolist() == [2, 1, 1]


def test_the_periods_add_up_to_the_meter():
    clock = Clock()
    machine = Machine(clock, "cores", "room", 3)
    sampler = MeterSampler(clock, 0.7, [machine.meter], {})
    rng = np.random.default_rng(3)

    def jobs():
        for _ in range(500):
            yield clock.timeout(rng.exponential(0.1))
            machine.load(rng.exponential(0.3), threads=int(rng.integers(1, 4)))

    clock.start(jobs())
    clock.start(sampler.run())
    clock.run_until(40.0)
    sampler.sample()
    sampler.sample()  # nothing has passed: no row
    columns = sampler.columns()
    periods = np.diff(columns["time_s"], prepend=0)
    used, waited = machine.meter.read()
    assert (columns["cores_utilisation"] * periods).sum() * 3 == pytest.approx(used)
    assert (columns["cores_queue"] * periods).sum() == pytest.approx(waited)
    assert columns["cores_utilisation"].max() <= 1 + 1e-9
    assert len(periods) == 58


def test_nothing_sampled_yet():
    sampler = MeterSampler(Clock(), 1.0, [], {"level": lambda: 1.0})
    sampler.sample()
    assert {name: len(column) for name, column in sampler.columns().items()} == {"time_s": 0, "level": 0}
