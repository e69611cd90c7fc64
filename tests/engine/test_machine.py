"""Cores under processor sharing: worked examples, and a slow twin that recomputes every rate at every change."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sim.engine.clock import Clock
from sim.engine.machine import Machine


def finish_times(
    jobs: list[tuple[float, float, int]], cores: float, speed: float = 1.0, since_s: float = 0.0
) -> list[float]:
    """When each job (arrival, work, threads) ends on a `Machine`."""
    clock = Clock()
    clock.run_until(since_s)
    machine = Machine(clock, "m", "room", cores, speed)
    ends = [math.nan] * len(jobs)

    def job(index: int, arrival_s: float, cpu_s: float, threads: int):
        if arrival_s > since_s:
            yield clock.timeout(arrival_s - clock.now)
        yield machine.work(cpu_s, threads)
        ends[index] = clock.now

    for index, entry in enumerate(jobs):
        clock.start(job(index, *entry))
    clock.run_until(math.inf)
    return ends


def slow_finish_times(jobs: list[tuple[float, float, int]], cores: float, speed: float) -> list[float]:
    """The twin: between two changes every thread advances at speed * min(1, cores / threads)."""
    ends = [math.nan] * len(jobs)
    coming = sorted(range(len(jobs)), key=lambda index: jobs[index][0])
    left = np.empty(0)
    threads = np.empty(0)
    who = np.empty(0, dtype=int)
    now = 0.0
    while coming or len(who):
        rate = speed * min(1.0, cores / threads.sum()) if len(who) else 0.0
        step = (left / threads).min() / rate if len(who) else math.inf
        arrival = jobs[coming[0]][0] if coming else math.inf
        if arrival <= now + step:
            left = left - (arrival - now) * rate * threads
            now = arrival
            index = coming.pop(0)
            left, threads = np.append(left, jobs[index][1]), np.append(threads, jobs[index][2])
            who = np.append(who, index)
            continue
        now += step
        left = left - step * rate * threads
        ended = left <= 1e-12
        for index in who[ended]:
            ends[index] = now
        left, threads, who = left[~ended], threads[~ended], who[~ended]
    return ends


def test_alone_runs_at_full_speed():
    assert finish_times([(0.0, 2.0, 1)], cores=4) == [2.0]


def test_two_share_one_core():
    # 0-1 s: A alone, 1 of 3 s done. From 1 s: half a core each; B's 1 s takes 2 s, until 3 s; A has 1 s left, until 4 s
    assert finish_times([(0.0, 3.0, 1), (1.0, 1.0, 1)], cores=1) == pytest.approx([4.0, 3.0])


def test_as_many_jobs_as_cores_do_not_slow_each_other():
    assert finish_times([(0.0, 3.0, 1), (1.0, 1.0, 1)], cores=2) == pytest.approx([3.0, 2.0])


def test_three_on_two_cores():
    # rate 2/3 each: A (1 s) ends at 1.5; B and C have 2 - 1 = 1 s left, a core each: 2.5
    assert finish_times([(0.0, 1.0, 1), (0.0, 2.0, 1), (0.0, 2.0, 1)], cores=2) == pytest.approx([1.5, 2.5, 2.5])


def test_threads_split_the_work():
    # 4 s on 2 threads: 2 s a thread, a core each
    assert finish_times([(0.0, 4.0, 2)], cores=4) == pytest.approx([2.0])
    # 3 threads on 2 cores: rate 2/3. A (2 threads, 1 s each) ends at 1.5; B did 1 s of 2, then a core alone: 2.5
    assert finish_times([(0.0, 2.0, 2), (0.0, 2.0, 1)], cores=2) == pytest.approx([1.5, 2.5])


def test_a_faster_core_takes_less_time():
    assert finish_times([(0.0, 3.0, 1), (1.0, 1.0, 1)], cores=1, speed=2.0) == pytest.approx([2.0, 2.0])
    # A: 2 of 3 s done at 1 s; from then 1 s a second each: both have 1 s left, both end at 2 s


def test_part_of_a_core():
    assert finish_times([(0.0, 1.0, 1)], cores=0.5) == pytest.approx([2.0])


def test_no_work_takes_no_time_and_no_event():
    clock = Clock()
    machine = Machine(clock, "m", "room", 1)
    assert machine.work(0.0).processed
    machine.load(0.0)
    assert not clock.run_until(math.inf)
    assert (clock.events, clock.now, machine.meter.served) == (0, 0.0, 0)


def test_load_nobody_waits_for_slows_the_others():
    clock = Clock()
    machine = Machine(clock, "m", "room", 1)
    machine.load(1.0)
    done = machine.work(1.0)
    clock.run_until(1.999)
    assert not done.processed
    clock.run_until(2.001)
    assert done.processed


@pytest.mark.parametrize(("cores", "speed", "seed"), [(1, 1.0, 1), (4, 1.0, 2), (2, 0.7, 3), (64, 3.0, 4)])
def test_random_jobs_end_when_the_slow_twin_says(cores: int, speed: float, seed: int):
    rng = np.random.default_rng(seed)
    count = 10_000
    threads = rng.choice([1, 1, 1, 2, 8], count)
    work = rng.exponential(0.01, count) * rng.choice([0.1, 1, 5], count)
    mean_s = 0.01 * (0.1 + 1 + 5) / 3
    arrivals = np.cumsum(rng.exponential(mean_s / (0.9 * cores * speed), count))
    arrivals[100:130] = arrivals[100]  # many at once
    jobs = list(zip(arrivals.tolist(), work.tolist(), threads.tolist(), strict=True))
    fast = np.array(finish_times(jobs, cores, speed))
    slow = np.array(slow_finish_times(jobs, cores, speed))
    assert np.abs(fast - slow).max() < 1e-6


def test_the_meter_counts_every_core_second():
    clock = Clock()
    machine = Machine(clock, "m", "room", 2)
    for _ in range(3):
        machine.load(1.0)
    clock.run_until(10.0)
    # 3 threads on 2 cores until 1.5 s: 3 core seconds used, one thread more than cores all that time
    assert machine.meter.read() == pytest.approx((3.0, 1.5))
    assert machine.meter.max_queue == 1
    assert machine.meter.served == 3


def test_short_work_ends_late_in_a_long_run():
    # at 10^8 s the clock steps by 15 ns: work shorter than a step must not keep it ringing in place
    ends = finish_times([(1e8, 4e-9, 1), (1e8, 1e-3, 1), (1e8, 3.7e-8, 3)], cores=1, since_s=1e8)
    assert ends == pytest.approx([1e8, 1e8 + 0.001, 1e8], abs=1e-6)


def test_waking_workers_may_put_work_on_the_same_machine():
    clock = Clock()
    machine = Machine(clock, "m", "room", 1)
    seen = []

    def worker():
        for _ in range(3):
            yield machine.work(1.0)
            seen.append(clock.now)

    clock.start(worker())
    clock.start(worker())
    clock.run_until(math.inf)
    assert seen == pytest.approx([2.0, 2.0, 4.0, 4.0, 6.0, 6.0])
