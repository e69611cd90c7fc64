"""Rules of the controllers, worked out by hand: how many pods where, which one first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.controllers.cron_schedule import parse_schedule
from sim.controllers.deployment_rules import SetSize, fence_posts, new_set_replicas, old_sets_replicas, proportional
from sim.controllers.replicaset_rules import Candidate, deletion_order
from sim.controllers.stateful_set_rules import OrdinalState, next_steps


@pytest.mark.parametrize(
    ("surge", "unavailable", "desired", "expected"),
    [
        ("25%", "25%", 10, (3, 2)),  # 2.5 rounds up for the surge, down for what may be missing
        ("25%", "25%", 4, (1, 1)),
        ("25%", "25%", 3, (1, 0)),
        ("25%", "25%", 1, (1, 0)),
        (0, "10%", 5, (0, 1)),  # both would be 0
        (2, 3, 10, (2, 3)),
        ("0%", "100%", 7, (0, 7)),
    ],
)
def test_fence_posts(surge, unavailable, desired, expected):
    assert fence_posts(surge, unavailable, desired) == expected


def test_a_rolling_update_of_ten_step_by_step():
    """25 % and 25 %: at most 13 pods, at least 8 available."""
    assert new_set_replicas(10, 3, 0, [SetSize(10, 10)]) == 3
    # the first look after that: 13 wanted, 10 available, so 2 old ones may go
    assert old_sets_replicas(10, 2, SetSize(3, 0), [SetSize(10, 10)]) == [8]
    # room for 2 more
    assert new_set_replicas(10, 3, 3, [SetSize(8, 8)]) == 5
    assert old_sets_replicas(10, 2, SetSize(5, 0), [SetSize(8, 8)]) == [8]
    # the first 3 new ones are available: 3 old ones go, 3 new ones come
    assert old_sets_replicas(10, 2, SetSize(5, 3), [SetSize(8, 8)]) == [5]
    assert new_set_replicas(10, 3, 5, [SetSize(5, 5)]) == 8


def test_unhealthy_old_pods_go_first():
    """Old set of 10 with 4 unavailable: those may go at once, whatever the availability."""
    assert old_sets_replicas(10, 2, SetSize(3, 0), [SetSize(10, 6)]) == [8]
    # 13 - 5 - 3 = 5 may go: the 4 unhealthy ones of the oldest set; then 2 + 4 available, 5 needed: one more of the oldest
    assert old_sets_replicas(10, 5, SetSize(3, 0), [SetSize(6, 2), SetSize(4, 4)]) == [1, 4]


def test_a_status_older_than_the_size_stops_the_update():
    """5 wanted, 7 said to be available: the pods that went are still counted, so none may go on that account."""
    assert old_sets_replicas(10, 2, SetSize(8, 5), [SetSize(5, 7)]) == [5]
    assert old_sets_replicas(10, 2, SetSize(8, 5), [SetSize(5, 5)]) == [3]


def test_scaling_in_the_middle_of_an_update_is_proportional():
    """The documentation's example: 10 replicas, surge 3: 8 old and 5 new; scaled to 15 the five extra go 3 and 2."""
    assert proportional(15, 3, [SetSize(5, 5, 13), SetSize(8, 8, 13)]) == [7, 11]


def test_scaling_to_nothing():
    assert proportional(0, 1, [SetSize(5, 5, 13), SetSize(8, 8, 13)]) == [0, 0]


@given(
    desired=st.integers(1, 60),
    surge=st.integers(0, 20),
    unavailable=st.integers(0, 20),
    flips=st.lists(st.booleans(), max_size=60),
)
def test_an_update_never_leaves_its_bounds_and_ends(desired, surge, unavailable, flips):
    """Pods become available in any order: never above the surge, never fewer available than allowed, in the end all are new."""
    surge, unavailable = fence_posts(surge, unavailable, desired)
    new = new_ready = 0
    old = desired
    turns = iter([*flips, *[True] * (4 * desired + 20)])
    for ready in turns:
        if ready and new_ready < new:
            new_ready += 1
        grown = new_set_replicas(desired, surge, new, [SetSize(old, old)])
        if grown != new:
            new = grown
        else:
            (old,) = old_sets_replicas(desired, unavailable, SetSize(new, new_ready), [SetSize(old, old)])
        assert new + old <= desired + surge
        assert new_ready + old >= desired - unavailable
    assert (new, old) == (desired, 0)


@given(
    desired=st.integers(0, 80),
    surge=st.integers(0, 20),
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5),
)
def test_proportional_sizes_add_up(desired, surge, sizes):
    total = sum(sizes)
    found = proportional(desired, surge, [SetSize(size, size, max(1, total)) for size in sizes])
    assert all(size >= 0 for size in found)
    assert sum(found) == (desired + surge if desired else 0)


def test_who_goes_first():
    pods = [
        Candidate(0, node=1, running=True, ready_s=10.0, created_s=1.0),
        Candidate(1, node=2, running=True, ready_s=10.0, created_s=1.0),
        Candidate(2, node=2, running=True, ready_s=20.0, created_s=1.0),
        Candidate(3, node=3, running=True, ready_s=None, created_s=1.0),
        Candidate(4, node=4, running=False, ready_s=None, created_s=1.0),
        Candidate(5, node=-1, running=False, ready_s=None, created_s=1.0),
        Candidate(6, node=5, running=True, ready_s=50.0, created_s=2.0),
    ]
    # unbound, pending, not ready; then the two on one node, the one ready for less time first; then by readiness
    assert deletion_order(pods, 100.0) == [5, 4, 3, 2, 1, 6, 0]


def test_ages_by_their_logarithm():
    """Ready for 90 s and for 80 s are alike since 1.22: the pod's identity decides."""
    pods = [Candidate(0, 1, True, 10.0, 0.0), Candidate(1, 2, True, 20.0, 0.0), Candidate(2, 3, True, 95.0, 0.0)]
    assert deletion_order(pods, 100.0) == [2, 1, 0]
    assert deletion_order(pods, 100.0, by_logarithm=True) == [2, 0, 1]


NONE, STARTING, READY = OrdinalState(False), OrdinalState(True), OrdinalState(True, ready=True)
ENDING, OLD = OrdinalState(True, ready=True, terminating=True), OrdinalState(True, ready=True, updated=False)


@pytest.mark.parametrize(
    ("ordinals", "replicas", "options", "expected"),
    [
        ([], 3, {}, ([0], [])),
        ([STARTING], 3, {}, ([], [])),  # 1 waits for 0
        ([READY], 3, {}, ([1], [])),
        ([], 3, {"parallel": True}, ([0, 1, 2], [])),
        ([READY, NONE, READY], 3, {}, ([1], [])),
        ([READY, ENDING, READY], 3, {}, ([], [])),  # its object is still there
        ([READY, READY, READY], 1, {}, ([], [2])),  # the last goes first, alone
        ([READY, READY, ENDING], 1, {}, ([], [])),
        ([READY, READY, READY], 1, {"parallel": True}, ([], [2, 1])),
        ([READY, READY, STARTING], 1, {}, ([], [2])),  # the first that is not healthy may go
        ([OLD, OLD, OLD], 3, {}, ([], [2])),
        ([OLD, OLD, READY], 3, {}, ([], [1])),
        ([OLD, OLD, STARTING], 3, {}, ([], [])),  # not before the new one is ready
        ([OLD, OLD, STARTING], 3, {"parallel": True}, ([], [])),
        ([OLD, OLD, READY], 3, {"partition": 2}, ([], [])),
        ([OLD, OLD, OLD], 3, {"on_delete": True}, ([], [])),
    ],
)
def test_a_stateful_sets_next_steps(ordinals, replicas, options, expected):
    assert next_steps(ordinals, replicas, **options) == expected


@pytest.mark.parametrize(
    ("text", "after_s", "expected_s"),
    [
        ("* * * * *", 0.0, 60),
        ("* * * * *", 59.9, 60),
        ("*/15 * * * *", 900.0, 1800),
        ("5,35 * * * *", 301.0, 2100),
        ("0 2 * * *", 0.0, 7200),
        ("@daily", 1.0, 86_400),
        ("30 6 * * fri", 0.0, 4 * 86_400 + 6.5 * 3600),  # time 0 is a Monday
        ("0 0 1 feb *", 0.0, 31 * 86_400),
        ("0 0 13 * 5", 0.0, 4 * 86_400),  # both days restricted: Friday the 5th comes before the 13th
        ("10-20/5 1 * * *", 3600 + 600, 3600 + 900),
        ("0 12 * * 7", 0.0, 6 * 86_400 + 43_200),  # 7 is Sunday too
    ],
)
def test_the_next_time_of_a_schedule(text, after_s, expected_s):
    assert parse_schedule(text).next_after(after_s) == expected_s


def test_a_schedule_that_never_comes():
    assert parse_schedule("0 0 30 2 *").next_after(0.0) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("* * * *", "needs five fields"),
        ("60 * * * *", "minute 60 must be from 0 to 59"),
        ("* * * * mo", "day of week 'mo' is no number"),
        ("9-3 * * * *", "minute '9-3' ends before it begins"),
        ("*/0 * * * *", "minute 0 must be from 1"),
    ],
)
def test_a_bad_schedule_says_what_is_wrong(text, says):
    with pytest.raises(ValueError, match=says):
        parse_schedule(text)


@given(
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=4),
    hours=st.sets(st.integers(0, 23), min_size=1, max_size=3),
    after_s=st.integers(0, 5 * 86_400),
)
def test_the_next_time_against_a_look_at_every_minute(minutes, hours, after_s):
    text = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *"
    at = after_s // 60 + 1
    while at % 60 not in minutes or at // 60 % 24 not in hours:
        at += 1
    assert parse_schedule(text).next_after(float(after_s)) == at * 60
