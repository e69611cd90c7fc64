"""Semaphore, token bucket, priority queue, batcher and meter: worked examples, slow references, deep chains."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest

from sim.engine.batcher import Batcher
from sim.engine.clock import Clock
from sim.engine.meter import Meter
from sim.engine.priority_queue import PriorityQueue
from sim.engine.semaphore import Semaphore
from sim.engine.token_bucket import TokenBucket


def test_semaphore_serves_in_order_of_arrival():
    clock = Clock()
    seats = Semaphore(clock, "seats", "room", 2)
    spans = {}

    def customer(name: str, hold_s: float):
        yield seats.acquire()
        start = clock.now
        yield clock.timeout(hold_s)
        seats.release()
        spans[name] = (start, clock.now)

    for name, hold_s in [("a", 3.0), ("b", 1.0), ("c", 1.0), ("d", 5.0)]:
        clock.start(customer(name, hold_s))
    clock.run_until(math.inf)
    # a and b sit down at 0; c takes b's seat at 1; d takes c's at 2
    assert spans == {"b": (0, 1), "c": (1, 2), "a": (0, 3), "d": (2, 7)}
    # seats: 2 until 3 s, 1 until 7 s; waiting: 2 for 1 s, then 1 for 1 s
    assert seats.meter.read() == (10.0, 3.0)
    assert (seats.meter.max_queue, seats.meter.served) == (2, 4)


def test_semaphore_takes_as_many_as_are_free():
    seats = Semaphore(Clock(), "seats", "room", 3)
    assert seats.try_acquire()
    assert seats.try_acquire_up_to(5) == 2
    assert not seats.try_acquire()
    assert seats.try_acquire_up_to(1) == 0
    seats.release(3)
    assert seats.try_acquire_up_to(2) == 2


def test_fifty_thousand_who_give_back_at_once_do_not_deepen_the_stack():
    clock = Clock()
    lock = Semaphore(clock, "lock", "room", 1)
    order: list[int] = []

    def brief(index: int):
        yield lock.acquire()
        order.append(index)
        lock.release()

    assert lock.try_acquire()
    for index in range(50_000):
        clock.start(brief(index))
    lock.release()
    assert order == list(range(50_000))
    assert lock.try_acquire()
    assert clock.events == 0


def test_token_bucket_worked_example():
    # client-go QPS 5, burst 3: three at once, then one each 0.2 s
    clock = Clock()
    bucket = TokenBucket(clock, "client", "room", qps=5, burst=3)
    assert [bucket.reserve() for _ in range(5)] == pytest.approx([0, 0, 0, 0.2, 0.4])
    assert bucket.meter.read() == pytest.approx((0, 0))
    clock.run_until(0.3)  # 1.5 of the 2 owed tokens exist now; one waited 0.2 s, the other for 0.3 s so far
    assert bucket.meter.read() == pytest.approx((1.5, 0.5))
    assert bucket.reserve() == pytest.approx(0.3)
    clock.run_until(100.0)  # full again, and not more than full: the 6 tokens taken have been made anew
    assert bucket.meter.read() == pytest.approx((6, 0.2 + 0.4 + 0.3))
    assert [bucket.reserve() for _ in range(4)] == pytest.approx([0, 0, 0, 0.2])
    assert bucket.meter.served == 10
    assert bucket.meter.max_queue == pytest.approx(2)


def test_token_bucket_is_metered_as_a_count_by_small_steps_would():
    """The reference looks every millisecond: how many answers lie ahead (the queue), and whether the bucket is full."""
    rng = np.random.default_rng(11)
    qps, burst, step_s = 20.0, 5, 1e-3
    asked = np.cumsum(rng.exponential(0.05, 400) * rng.choice([0.1, 1, 2], 400))
    clock = Clock()
    bucket = TokenBucket(clock, "client", "room", qps, burst)
    free = []
    for now in asked.tolist():
        clock.run_until(now)
        free.append(now + bucket.reserve())
    end_s = float(asked[-1])
    times = np.arange(0, end_s, step_s)
    waiting = (np.searchsorted(asked, times, "right") - np.searchsorted(np.sort(free), times, "right")).sum() * step_s
    tokens, level = float(burst), []
    asks = np.histogram(asked, np.append(times, end_s))[0]
    for count in asks.tolist():
        tokens = min(burst, tokens + qps * step_s) - count
        level.append(tokens < burst)
    made, waited_s = bucket.meter.read()
    assert waited_s == pytest.approx(waiting, rel=0.01)
    assert made == pytest.approx(qps * step_s * sum(level), rel=0.02)
    assert made <= qps * end_s


def test_token_bucket_hands_out_what_a_queue_for_whole_tokens_would():
    """The reference knows no debt: the k-th token in order is free at the later of its asking and the refill."""
    rng = np.random.default_rng(5)
    qps, burst = 20.0, 7
    asked = np.cumsum(rng.exponential(0.045, 5_000) * rng.choice([0.01, 1, 2], 5_000))
    clock = Clock()
    bucket = TokenBucket(clock, "client", "room", qps, burst)
    free: list[float] = []
    for now in asked.tolist():
        clock.run_until(now)
        free.append(now + bucket.reserve())
    # GCRA form: a virtual schedule `due` moves one interval a token; a token is free `burst - 1` intervals before it
    due = -math.inf
    for now, answer in zip(asked.tolist(), free, strict=True):
        start = max(now, due)
        assert answer == pytest.approx(max(now, start - (burst - 1) / qps), abs=1e-6)
        due = start + 1 / qps


def test_priority_queue_orders_by_priority_then_arrival():
    queue: PriorityQueue[str] = PriorityQueue(Clock(), "queue", "room")
    for item, priority in [("b1", 2.0), ("a1", 1.0), ("b2", 2.0), ("a2", 1.0)]:
        queue.put(item, priority)
    assert len(queue) == 4
    assert [queue.get().value for _ in range(4)] == ["a1", "a2", "b1", "b2"]
    assert len(queue) == 0


def test_priority_queue_serves_getters_in_order():
    queue: PriorityQueue[int] = PriorityQueue(Clock(), "queue", "room")
    first, second = queue.get(), queue.get()
    queue.put(7)
    assert first.value == 7
    assert not second.triggered
    queue.put(8)
    assert second.value == 8


def test_priority_queue_against_heapq():
    rng = np.random.default_rng(6)
    queue: PriorityQueue[int] = PriorityQueue(Clock(), "queue", "room")
    heap: list[tuple[float, int]] = []
    for index in range(5_000):
        if heap and rng.random() < 0.45:
            assert queue.get().value == heapq.heappop(heap)[1]
        else:
            priority = float(rng.integers(0, 20))
            queue.put(index, priority)
            heapq.heappush(heap, (priority, index))
    assert len(queue) == len(heap)


def test_getters_that_pass_an_item_on_do_not_deepen_the_stack():
    clock = Clock()
    queue: PriorityQueue[int] = PriorityQueue(clock, "queue", "room")
    passed: list[int] = []

    def relay():
        item = yield queue.get()
        passed.append(item)
        queue.put(item + 1)

    for _ in range(20_000):
        clock.start(relay())
    queue.put(0)
    assert passed == list(range(20_000))
    assert queue.get().value == 20_000


def test_group_commit_worked_example():
    """A write takes 10 ms whatever it holds; at most 3 items a batch."""
    clock = Clock()
    batches: list[list[str]] = []

    def commit(items: list[str]):
        batches.append(items)
        yield clock.timeout(0.01)
        return [item.upper() for item in items]

    log = Batcher(clock, "log", "etcd", commit, max_batch=3)
    answers: list[tuple[str, float]] = []

    def client(item: str, at_s: float):
        yield clock.timeout(at_s)
        answer = yield log.submit(item)
        answers.append((answer, clock.now))

    for item, at_s in [("a", 0.0), ("b", 0.001), ("c", 0.002), ("d", 0.003), ("e", 0.004), ("f", 0.05)]:
        clock.start(client(item, at_s))
    clock.run_until(math.inf)
    # a alone 0-10 ms; b c d came meanwhile: 10-20 ms; e was the fourth: 20-30 ms; f finds the log idle: 50-60 ms
    assert batches == [["a"], ["b", "c", "d"], ["e"], ["f"]]
    assert [answer for answer, _ in answers] == ["A", "B", "C", "D", "E", "F"]
    assert [time for _, time in answers] == pytest.approx([0.01, 0.02, 0.02, 0.02, 0.03, 0.06])
    assert (log.batches, log.meter.served, log.meter.max_queue) == (4, 6, 4)
    assert log.meter.read()[0] == pytest.approx(0.04)
    # waits: b 9, c 8, d 7, e 16 ms
    assert log.meter.read()[1] == pytest.approx(0.040)


def test_a_batch_with_too_few_answers_is_a_fault():
    clock = Clock()

    def commit(items: list[int]):
        yield clock.timeout(1.0)
        return items[:-1]

    log = Batcher(clock, "log", "etcd", commit, max_batch=3)
    log.submit(1)
    with pytest.raises(ValueError, match="shorter"):
        clock.run_until(2.0)


def test_meter_weighs_levels_by_time():
    clock = Clock()
    meter = Meter(clock, "m", "room", 4)
    clock.run_until(1.0)
    meter.level(2, 0)
    clock.run_until(4.0)
    meter.level(4, 5)
    meter.level(3, 1)  # 5 waited for no time at all: no area, yet a maximum
    clock.run_until(6.0)
    assert meter.read() == (2 * 3 + 3 * 2, 1 * 2)
    assert meter.read() == (12, 2)
    assert meter.max_queue == 5
