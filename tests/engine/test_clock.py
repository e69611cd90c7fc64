"""The clock and its tasks: exact event counts, the end of a run, errors, and equality with SimPy's own processes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import simpy

from sim.engine import clock as clock_module
from sim.engine.clock import Clock, fire


def test_events_are_counted_exactly():
    clock = Clock()

    def twice():
        yield clock.timeout(1.0)
        yield clock.timeout(1.0)

    clock.start(twice())
    clock.start(twice())
    clock.at(5.0, lambda event: None)
    assert clock.events == 0  # start and end of a task are no events
    assert not clock.run_until(10.0)
    assert clock.events == 5
    assert clock.now == 10.0


def test_run_until_includes_its_end_and_says_whether_more_is_to_come():
    clock = Clock()
    seen: list[float] = []
    for delay_s in (1.0, 2.0, 2.0, 3.0):
        clock.at(delay_s, lambda event: seen.append(clock.now))
    assert clock.run_until(2.0)
    assert seen == [1.0, 2.0, 2.0]
    assert clock.now == 2.0
    assert not clock.run_until(math.inf)
    assert clock.now == 3.0
    assert not clock.run_until(1.0)
    assert clock.now == 3.0  # the clock never goes back


def test_what_has_happened_costs_nothing_to_wait_for():
    clock = Clock()

    def waits():
        for _ in range(10_000):
            yield clock.happened
        return "done"

    assert clock.start(waits()).value == "done"
    assert clock.events == 0


def test_an_error_ends_the_run_with_its_own_object_and_the_clock_where_it_was():
    clock = Clock()
    fault = ValueError("no more", 7)

    def fails():
        yield clock.timeout(3.0)
        raise fault

    clock.start(fails())
    clock.at(9.0, lambda event: None)
    with pytest.raises(ValueError, match="no more") as caught:
        clock.run_until(100.0)
    assert caught.value is fault
    assert clock.now == 3.0
    assert clock.events == 2  # the timeout and the failed task


def test_an_error_does_not_pass_through_the_process_that_woke_the_failing_one():
    clock = Clock()
    gate = clock.event()
    waker_went_on = []

    def fails():
        yield gate
        raise RuntimeError("mine")

    def wakes():
        yield clock.timeout(1.0)
        fire(gate)
        waker_went_on.append(clock.now)

    clock.start(fails())
    clock.start(wakes())
    with pytest.raises(RuntimeError, match="mine"):
        clock.run_until(2.0)
    assert waker_went_on == [1.0]


def test_an_interrupted_run_can_be_read_and_taken_up_again(monkeypatch):
    monkeypatch.setattr(clock_module, "PROGRESS_EVERY", 10)

    def ticks(clock: Clock, seen: list[float]):
        while True:
            yield clock.timeout(1.0)
            seen.append(clock.now)

    def stop():
        raise KeyboardInterrupt

    whole, parts = Clock(), Clock()
    seen_whole: list[float] = []
    seen_parts: list[float] = []
    whole.start(ticks(whole, seen_whole))
    parts.start(ticks(parts, seen_parts))
    whole.run_until(30.0)
    with pytest.raises(KeyboardInterrupt):
        parts.run_until(30.0, stop)
    assert (parts.now, parts.events, len(seen_parts)) == (10.0, 10, 10)
    parts.run_until(30.0)
    assert (parts.now, parts.events, seen_parts) == (whole.now, whole.events, seen_whole)


def chaos(seed: int, make: Callable[[Any], Any], env: simpy.Environment) -> list[tuple[float, str]]:
    """A tangle of waits, joins, interrupts and failures, drawn from `seed`; what happened when, to whom.

    Delays are continuous, so no two unrelated things fall on one instant.
    """
    rng = random.Random(seed)
    log: list[tuple[float, str]] = []

    def leaf(name: str, delays: list[float], fails: bool):
        for delay_s in delays:
            try:
                yield env.timeout(delay_s)
            except simpy.Interrupt as interrupt:
                log.append((env.now, f"{name} interrupted by {interrupt.cause}"))
        log.append((env.now, f"{name} ends"))
        if fails:
            raise LookupError(name)
        return name

    def parent(name: str):
        for round_ in range(6):
            delays = [rng.random() for _ in range(rng.randint(1, 3))]
            child = make(leaf(f"{name}.{round_}", delays, fails=rng.random() < 0.3))
            if rng.random() < 0.4:
                yield env.timeout(rng.random())
                if child.is_alive:
                    child.interrupt(name)
            bad = env.event()
            try:
                got = yield child
                log.append((env.now, f"{name} got {got}"))
                if rng.random() < 0.3:
                    bad.fail(KeyError(name))
                    yield bad
            except (LookupError, KeyError) as error:
                log.append((env.now, f"{name} caught {type(error).__name__} {error}"))

    # one after the other: every draw is made in the same order whatever makes the processes
    make(parent("p"))
    env.run(until=1000)
    return log


@pytest.mark.parametrize("seed", range(40))
def test_tasks_do_what_simpy_processes_do(seed: int):
    plain = simpy.Environment()
    try:
        expected: Any = chaos(seed, plain.process, plain)
    except LookupError as error:
        expected = str(error)
    clock = Clock()
    try:
        got: Any = chaos(seed, clock.start, clock)
    except LookupError as error:
        got = str(error)
    assert got == expected
