"""Controller managers that die or are cut off: what was queued is lost, the next leader lists and goes on, never two at once."""

from __future__ import annotations

from itertools import pairwise
from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.base.errors import InputError
from sim.simulate import Cluster
from sim.state.applications import Change, Roll
from sim.workload import AppKind
from tests.controllers.loads import one_app, run
from tests.worked.scenarios import exact, load_of


def replicated(fault: dict[str, object], replicas: int = 2, horizon_s: float = 150.0, **sets: object):
    return exact(horizon_s=horizon_s, controllers__replicas=replicas, faults=[fault], **sets)


def led(cluster: Cluster) -> list[tuple[str, float, float]]:
    """(who, from, until) of each time that somebody led."""
    managers = cluster.managers
    assert managers is not None
    ends = [*managers.ceased_s, *[(name, cluster.clock.now) for name in [managers.leader] if name]]
    return [(name, since_s, until_s) for (name, since_s), (_, until_s) in zip(managers.led_s, ends, strict=True)]


def test_a_death_in_the_middle_of_a_scale_up():
    """40 pods at 5 a second and burst 5: the leader dies at 4 s with most of them to come. The standby leads after the lease's
    15 s and a try or two, lists everything, and creates what is missing: 40 in all, none twice, none forgotten."""
    scenario = replicated({"type": "controller-manager-death", "at_s": [4.0]}, controllers__qps=5, controllers__burst=5)
    cluster = run(scenario, one_app(AppKind.SERVICE, 40), 140.0)
    columns = cluster.pods.columns()
    assert cluster.pods.rows == 40
    created_s = np.sort(columns["created_s"])
    assert not np.isnan(created_s).any()
    (_, _, first_until_s), (_, second_since_s, _) = led(cluster)[:2]
    assert first_until_s == pytest.approx(4.0)
    assert 4 + 15 - 4.4 < second_since_s < 4 + 15 + 2 * 4.4
    quiet = created_s[(created_s > 4.1) & (created_s < second_since_s)]
    assert quiet.size == 0
    assert (created_s > second_since_s).sum() > 10


def test_one_alone_comes_back_after_its_own_lease():
    """Started again 10 s after its death, under another identity: it waits for its old lease to run out."""
    cluster = run(
        replicated({"type": "controller-manager-death", "at_s": [5.0]}, replicas=1), one_app(AppKind.SERVICE, 3), 100.0
    )
    (_, _, until_s), (_, since_s, _) = led(cluster)[:2]
    assert until_s == pytest.approx(5.0)
    assert 20.0 < since_s < 5 + 10 + 15 + 4.4


def test_what_was_asked_while_nobody_led_is_done_by_the_next():
    """Asked for at 1 s, changed at 30 s while nobody leads: the next leader finds the new template in its list."""
    fault = {"type": "controller-manager-death", "at_s": [29.0]}
    load = one_app(AppKind.SERVICE, 4, changes=[Change(30.0, 0, Roll(1))], revisions=2)
    cluster = run(replicated(fault, horizon_s=200.0), load, 190.0)
    columns = cluster.pods.columns()
    alive = np.isnan(columns["delete_requested_s"])
    assert columns["template"][alive].tolist() == [1] * 4
    assert columns["created_s"][alive].min() > led(cluster)[1][1]


def test_a_leader_that_is_cut_off_creates_nothing():
    """Cut off at 4 s for 60 s: from then on none of its requests arrives; it ceases to lead by itself, 10 s after its last
    renewal began; a standby leads 15 s after that renewal at the earliest."""
    scenario = replicated(
        {"type": "partition", "component": "kube-controller-manager", "at_s": [4.0], "duration_s": 60.0},
        controllers__qps=5,
        controllers__burst=5,
    )
    cluster = run(scenario, one_app(AppKind.SERVICE, 40), 140.0)
    (first, _, until_s), (second, since_s, _) = led(cluster)[:2]
    assert first != second
    assert 4 < until_s <= 14 + 0.1
    assert since_s > until_s
    created_s = cluster.pods.columns()["created_s"]
    assert not ((created_s > 4.1) & (created_s < since_s)).any()
    assert not np.isnan(created_s).any()
    assert cluster.pods.rows == 40


@settings(max_examples=12, deadline=None)
@given(
    strikes=st.lists(
        st.tuples(st.sampled_from(["death", "cut"]), st.floats(1.5, 60.0), st.floats(0.5, 40.0)), max_size=3
    ),
    skew_s=st.floats(0.0, 3.0),
    seed=st.integers(0, 50),
)
def test_two_never_lead_at_once(strikes, skew_s, seed):
    """Deaths and partitions at any time, clocks that differ: leaderships do not overlap, and every pod is created within one."""
    faults = [
        {"type": "controller-manager-death", "at_s": [at_s]}
        if kind == "death"
        else {"type": "partition", "component": "kube-controller-manager", "at_s": [at_s], "duration_s": lasts_s}
        for kind, at_s, lasts_s in strikes
    ]
    scenario = exact(
        horizon_s=300,
        controllers__replicas=3,
        controllers__qps=2,
        controllers__burst=2,
        leader_election__clock_skew_s=skew_s,
        faults=faults,
    )
    cluster = run(scenario, one_app(AppKind.SERVICE, 60), 290.0, seed=seed)
    spans = led(cluster)
    assert all(before[2] <= after[1] for before, after in pairwise(spans))
    for sent_s in cluster.pods.times["post_sent_s"]:
        if not isnan(sent_s):
            assert any(since_s <= sent_s <= until_s for _, since_s, until_s in spans)
    assert cluster.pods.rows == 60


def test_a_scheduler_that_nobody_could_replace_is_not_cut_off():
    with pytest.raises(InputError, match=r"set scheduler\.replicas to 2 or more"):
        exact(faults=[{"type": "partition", "component": "kube-scheduler", "at_s": [1.0]}])


def test_a_scheduler_that_is_cut_off_binds_nothing():
    """10 pods at 30 s, cut off from 29 s on: bound when another leads."""
    load = one_app(AppKind.SERVICE, 10)
    load = type(load)(
        **{**{name: getattr(load, name) for name in load.__dataclass_fields__}, "app_time_s": np.array([30.0])}
    )
    fault = {"type": "partition", "component": "kube-scheduler", "at_s": [29.0], "duration_s": 30.0}
    cluster = run(exact(horizon_s=120, scheduler__replicas=2, faults=[fault]), load, 110.0)
    assert cluster.schedulers is not None
    bound_s = cluster.pods.columns()["bound_s"]
    assert bound_s.min() > cluster.schedulers.led_s[1][1] > 40.0
    assert not np.isnan(bound_s).any()


def test_a_leader_that_is_cut_off_hears_nothing():
    """Cut off from 20 to 25 s, less than its renew deadline: it leads on, and hears at 25 s of the Job that came at 22 s. Cut
    off for 60 s: another takes over, lists what there is, and creates the Job's pod before the cut is over."""
    for for_s, earliest_s, latest_s in ((5.0, 25.0, 25.2), (60.0, 30.0, 45.0)):
        fault = {"type": "partition", "component": "kube-controller-manager", "at_s": [20.0], "duration_s": for_s}
        scenario = exact(horizon_s=100, controllers__replicas=2, controllers__qps=1000, faults=[fault])
        cluster = run(scenario, load_of((22.0, AppKind.JOB, 1), duration_s=5.0), 24.0)
        assert not cluster.controllers.jobs.jobs
        cluster.clock.run_until(100.0)
        (created_s,) = cluster.pods.columns()["created_s"]
        assert earliest_s < created_s < latest_s
