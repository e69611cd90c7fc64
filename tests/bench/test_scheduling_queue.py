"""Speed of the scheduling queue with 100,000 pending pods; every measurement asserts its answer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest

from sim.scheduler import queueing_hints as hints
from sim.scheduler.queue import Place, SchedulingQueue
from sim.state.objects import Container, NodeSpec, PodSpec

pytestmark = pytest.mark.bench

PODS = 100_000
SPEC = PodSpec(containers=(Container(requests=(("cpu", 1000),)),))
TINY = hints.node_added(NodeSpec("tiny", allocatable=(("cpu", 10), ("pods", 110))))


def seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def report(what: str, each_s: float) -> None:
    print(f"\n{what}: {each_s * 1e6:.2f} us")


def filled(pods: int) -> SchedulingQueue:
    """A queue in which every pod has failed for lack of CPU."""
    queue = SchedulingQueue()
    for pod in range(pods):
        queue.add(pod, SPEC, 0.0)
    for _ in range(pods):
        queue.add_unschedulable_if_not_present(queue.pop(0.0).pod, 0.0, ["NodeResourcesFit"])
    return queue


def test_a_pods_way_through_the_queue() -> None:
    queue = SchedulingQueue()

    def add_all() -> None:
        for pod in range(PODS):
            queue.add(pod, SPEC, 0.0)

    def bind_all() -> None:
        for pod in range(PODS):
            assert queue.pop(1.0).pod == pod
            queue.done(pod)

    report(f"add, {PODS:,} pending", seconds(add_all) / PODS)
    report(f"pop and done, {PODS:,} pending", seconds(bind_all) / PODS)
    assert len(queue) == 0


def test_an_event_that_helps_nobody_costs_the_same_for_any_number_of_pods() -> None:
    few, many = filled(100), filled(PODS)

    def cost_s(queue: SchedulingQueue) -> float:
        def hundred() -> None:
            for _ in range(100):
                assert queue.move_all_to_active_or_backoff(TINY, 1.0) == 0

        return statistics.median(seconds(hundred) for _ in range(20)) / 100

    few_s, many_s = cost_s(few), cost_s(many)
    report(f"useless event, {PODS:,} unschedulable", many_s)
    assert many_s < 3 * few_s


def test_an_event_that_helps_all() -> None:
    queue = filled(PODS)
    took_s = seconds(lambda: queue.move_all_to_active_or_backoff(hints.assigned_pod_deleted(-1, SPEC), 0.5) and None)
    report(f"one of {PODS:,} pods moved to the back-off queue", took_s / PODS)
    took_s = seconds(lambda: queue.flush(queue.next_wakeup_s()) and None)
    report(f"one of {PODS:,} back-offs ended", took_s / PODS)
    assert all(queue.get(pod).place is Place.ACTIVE for pod in range(PODS))
