"""The kubelet's pure rules: probes against their slow twin, ranking of evictions, courses, back-off, admission."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sim.kubelet.crash_back_off import CrashBackOff
from sim.kubelet.eviction import Candidate, ranked
from sim.kubelet.probes import Answering, Ticks, first_failure_s, first_success_s, tick_by_tick
from sim.kubelet.usage import amount_at, first_above
from sim.state.objects import Probe

HORIZON_S = 5000.0
steps = st.integers(0, 200).map(lambda n: n / 4)


@given(
    st.integers(1, 7),
    st.integers(1, 4),
    st.integers(1, 4),
    steps,
    steps,
    steps,
    st.one_of(st.none(), steps),
    st.one_of(st.none(), steps),
)
def test_first_results_are_those_of_every_tick(period, good, bad, phase, begin, start, hang_after, extra):
    probe = Probe(period_s=period, success_threshold=good, failure_threshold=bad, timeout_s=1)
    begin_s = phase + begin
    extra_s = inf if extra is None else phase + extra
    assume(extra is None or (extra % period != 0))
    from_s = phase + start + 0.125  # never exactly at a tick
    answering = Answering(from_s, inf if hang_after is None else from_s + hang_after + 0.25)
    ticks = Ticks(phase, period, extra_s)
    success_s, failure_s = tick_by_tick(probe, ticks, begin_s, answering, HORIZON_S)
    fast_success = first_success_s(probe, ticks, begin_s, answering)
    fast_failure = first_failure_s(probe, ticks, begin_s, answering)
    assert fast_success == pytest.approx(success_s)
    if (
        fast_failure > fast_success or fast_success == inf
    ):  # a run of failures that a success broke is not followed further
        assert fast_failure == pytest.approx(failure_s)


def test_eviction_order():
    """Above their request first; of those by priority; of equal ones whoever is furthest above. Critical pods stay."""
    mb = 10**6
    pods = [
        Candidate(0, 500 * mb, 600 * mb, 0),  # within its request
        Candidate(1, 300 * mb, 100 * mb, 1000),
        Candidate(2, 900 * mb, 100 * mb, 2_000_000_000, critical=True),
        Candidate(3, 200 * mb, 0, 0),
        Candidate(4, 250 * mb, 100 * mb, 0),
        Candidate(5, 700 * mb, 600 * mb, -10),
        Candidate(6, 50 * mb, 60 * mb, -10),
    ]
    assert [each.pod for each in ranked(pods)] == [5, 3, 4, 1, 6, 0]


def test_courses():
    course = ((10.0, 100.0), (20.0, 300.0), (30.0, 0.0))
    assert [amount_at(course, age) for age in (0, 10, 15, 20, 25, 99)] == [100, 100, 200, 300, 150, 0]
    assert amount_at((), 5) == 0
    assert first_above(course, 50) == 0
    assert first_above(course, 200) == 15
    assert first_above(course, 300) == inf
    assert first_above((), 0) == inf


@given(st.lists(st.tuples(st.floats(0.5, 100), st.floats(0, 1000)), min_size=1, max_size=6), st.floats(0, 1000))
def test_a_course_passes_its_limit_where_it_says(steps_up, limit):
    age, course = 0.0, []
    for step, amount in steps_up:
        age += step
        course.append((age, amount))
    at_s = first_above(tuple(course), limit)
    if at_s == inf:
        assert max(amount for _, amount in course) <= limit
    else:
        assert amount_at(tuple(course), at_s + 1e-6) >= limit - 1e-3
        before = [amount_at(tuple(course), at_s * part / 10) for part in range(10)]
        assert all(amount <= limit + 1e-6 for amount in before) or at_s == 0


def test_back_off_sequence():
    """Ends 1 s after each start; started again as early as allowed."""
    back_off, now_s, waits = CrashBackOff(10, 300, 600), 0.0, []
    for _ in range(9):
        ended_s = now_s + 1
        allowed_s = back_off.until_s(ended_s)
        waits.append(allowed_s - ended_s)
        back_off.restarted(ended_s, allowed_s)
        now_s = allowed_s
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300, 300]
    assert back_off.until_s(now_s + 601) == now_s + 601  # it ran for more than ten minutes
    back_off.restarted(now_s + 601, now_s + 601)
    assert back_off.until_s(now_s + 610) == now_s + 620
