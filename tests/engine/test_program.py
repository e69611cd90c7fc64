"""Programs: who pays for a wake-up, and what spinning costs; machines: work that is cancelled."""

from __future__ import annotations

import numpy as np
import pytest

from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.engine.program import Program

MS = 1e-3


def _program(cores=1, wake_ms=2.0, spin_ms=0.0):
    clock = Clock()
    machine = Machine(clock, "machine", "test", cores)
    return clock, machine, Program(clock, machine, wake_ms * MS, spin_ms * MS)


def _ends(clock, program, pieces):
    """pieces: (start in ms, work in ms); returns the ends in ms."""
    ends = {}

    def one(number, work_ms):
        yield program.work(work_ms * MS)
        ends[number] = round(clock.now / MS, 6)

    for number, (start_ms, work_ms) in enumerate(pieces):
        clock.at(start_ms * MS, lambda _, number=number, work_ms=work_ms: clock.start(one(number, work_ms)))
    clock.run_until(10.0)
    return [ends[number] for number in range(len(pieces))]


def test_only_the_piece_that_finds_it_asleep_pays():
    """One core, wake 2 ms. Piece a at 0: 2 + 4 ms of work. Piece b (3 ms) comes at 4 ms, while the only thread is busy: no wake.
    a has 2 ms left then; both share the core: a ends at 8, having had 2 of 4 ms; b has had 2 and ends at 9. Asleep again; piece c
    at 20 pays: 20 + 2 + 1."""
    clock, _, program = _program()
    assert _ends(clock, program, [(0, 4), (4, 3), (20, 1)]) == [8.0, 9.0, 23.0]
    assert program.wakeups == 2
    assert program.cpu_s == pytest.approx(12 * MS)


def test_with_a_second_core_another_thread_is_woken():
    """Two cores: b at 4 ms finds one thread asleep, wakes it, and runs beside a: 4 + 2 + 3."""
    clock, _, program = _program(cores=2)
    assert _ends(clock, program, [(0, 4), (4, 3)]) == [6.0, 9.0]
    assert program.wakeups == 2


def test_work_that_follows_at_once_needs_no_wake_up():
    """The end of a piece and the start of the next in the same instant: the thread goes on."""
    clock, _, program = _program()
    assert _ends(clock, program, [(0, 4), (6, 1)]) == [6.0, 7.0]
    assert program.wakeups == 1


def test_spinning_takes_a_core_and_spares_the_wake_up():
    """Ends at 6 ms and looks for work for 5 ms. Piece b comes after 3 of them: no wake-up, 9 + 1. It spins again, in vain, from 10
    to 15 ms, and sleeps: piece c of 20 ms pays 2. CPU: 2 + 4 + 3 (spun) + 1 + 5 (spun) + 2 + 1, and 5 more after the end."""
    clock, machine, program = _program(spin_ms=5)
    assert _ends(clock, program, [(0, 4), (9, 1), (20, 1)]) == [6.0, 10.0, 23.0]
    assert program.wakeups == 2
    assert program.cpu_s == pytest.approx(23 * MS)
    assert machine.meter.read()[0] == pytest.approx(23 * MS)


def test_spinning_is_in_others_way():
    """One core: another program's 4 ms that come at 7 ms share it with the spin of 6 to 11 ms (1 ms gone): the spin's other 4 ms
    and the work end together at 15."""
    clock, machine, program = _program(spin_ms=5)
    other = Program(clock, machine, 0.0)
    ends = []

    def beside():
        yield other.work(4 * MS)
        ends.append(round(clock.now / MS, 6))

    clock.at(7 * MS, lambda _: clock.start(beside()))
    _ends(clock, program, [(0, 4)])
    assert ends == [15.0]


def test_owed_work_reaches_the_cores():
    clock, machine, program = _program()
    took_s = []
    for number in range(10):
        clock.run_until(0.1 * number)
        took_s.append(program.owe(1 * MS, at_s=clock.now))
    assert took_s == pytest.approx([3 * MS] * 10)
    clock.run_until(1.0)
    assert program.cpu_s == pytest.approx(30 * MS)
    assert machine.meter.read()[0] == pytest.approx(30 * MS)


def test_cancelled_work_frees_its_core():
    """Two jobs of 4 ms share one core; at 4 ms (each has 2 left) one is cancelled: the other ends at 6. Its event never fires."""
    clock, machine, _ = _program()
    fired = []
    first, second = machine.work(4 * MS), machine.work(4 * MS)
    first.callbacks.append(lambda _: fired.append("first"))
    second.callbacks.append(lambda _: fired.append(("second", round(clock.now / MS, 6))))
    clock.at(4 * MS, lambda _: machine.cancel(first))
    clock.run_until(1.0)
    assert fired == [("second", 6.0)]
    assert machine.meter.read()[0] == pytest.approx(6 * MS)


def test_work_that_ends_in_the_instant_of_its_cancelling_frees_one_core_only():
    """Two jobs of 4 ms end together at 4 ms on two cores; the first's end cancels the second. Then one core's work of 2 ms beside
    another of 2 ms and a third: 3 x 2 ms on 2 cores end at 4 + 3 ms, as if nothing had been cancelled."""
    clock, machine, _ = _program(cores=2)
    first, second = machine.work(4 * MS), machine.work(4 * MS)
    fired, ends = [], []

    def then(_):
        machine.cancel(second)
        for _ in range(3):
            machine.work(2 * MS).callbacks.append(lambda _: ends.append(round(clock.now / MS, 6)))

    first.callbacks.append(then)
    second.callbacks.append(lambda _: fired.append("second"))
    clock.run_until(1.0)
    assert fired == []
    assert ends == [7.0] * 3


@pytest.mark.parametrize("seed", range(5))
def test_cancelling_at_random_loses_no_other_work(seed):
    """All work that is not cancelled is done; the cores' time is what was done, never more than the cores have."""
    rng = np.random.default_rng(seed)
    clock = Clock()
    machine = Machine(clock, "machine", "test", 2)
    done, cancelled = set(), set()

    def begin(number, cpu_s, cancel_after_s):
        event = machine.work(cpu_s)
        event.callbacks.append(lambda _: done.add(number))

        def maybe_cancel(_):
            if number not in done:
                machine.cancel(event)
                cancelled.add(number)

        if cancel_after_s is not None:
            clock.at(cancel_after_s, maybe_cancel)

    total_s = 0.0
    for number in range(300):
        cpu_s = float(rng.exponential(0.02))
        total_s += cpu_s
        cancel = float(rng.exponential(0.03)) if rng.random() < 0.4 else None
        clock.at(float(rng.uniform(0, 2)), lambda _, args=(number, cpu_s, cancel): begin(*args))
    clock.run_until(20.0)
    assert done | cancelled == set(range(300))
    assert not done & cancelled
    assert len(cancelled) > 20
    assert machine.meter.read()[0] < total_s
    assert machine.meter.in_use == 0
