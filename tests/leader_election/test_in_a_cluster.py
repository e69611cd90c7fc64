"""Two schedulers in a whole cluster: the standby takes over, no pod is lost, none is bound twice."""

from __future__ import annotations

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.base.rand import Streams
from sim.scenario import Scenario
from sim.simulate import Cluster, simulate


@pytest.fixture(scope="module")
def killed():
    scenario = Scenario.load("quick").replace({
        "scheduler.replicas": 2, "horizon_s": 90.0, "faults": [{"type": "scheduler-death", "at_s": [20.0]}]})
    return simulate(scenario)


def test_nothing_is_scheduled_between_the_two(killed):
    """The lease lasts 15 s from the standby's last look, and its tries are 2 to 4.4 s apart: 15 - 4.4 to 15 + 2 x 4.4 s."""
    bound_s = killed.pods["bound_s"].dropna().to_numpy()
    after_s = bound_s[bound_s > 20.5].min()
    assert 20 + 15 - 4.5 < after_s < 20 + 15 + 9.0
    assert (bound_s < 20.0).any()
    series = killed.series
    assert series.loc[series.time_s.between(21.5, after_s - 1), "faults_active"].eq(1).all()
    assert series["faults_active"].iloc[-1] == 0


def test_all_pods_run_in_the_end(killed):
    pods = killed.pods
    due = pods[pods.created_s < 60]
    assert len(due) > 50
    assert due["bound_s"].notna().all()
    assert (due["attempts"] <= 2).all()


def test_a_binding_not_sent_yet_goes_back_to_the_queue():
    """A slow client (2 a second) has bindings waiting for their turn when the leader dies; the next leader places them again."""
    scenario = Scenario.load("quick").replace({
        "scheduler.replicas": 2, "scheduler.qps": 2.0, "scheduler.burst": 1, "horizon_s": 200.0,
        "faults": [{"type": "scheduler-death", "at_s": [20.0]}]})
    pods = simulate(scenario).pods
    assert (pods["attempts"] == 2).any()
    assert pods[pods.created_s < 30]["bound_s"].notna().all()


def test_one_scheduler_asks_nobody():
    scenario = Scenario.load("quick")
    assert Cluster(scenario, scenario.checked_workload().build(scenario.setting(), Streams(1)), Streams(1)).schedulers is None


def test_a_death_without_a_standby_is_refused():
    with pytest.raises(InputError, match=r"set scheduler.replicas to 2 or more"):
        Scenario.load("quick").replace({"faults": [{"type": "scheduler-death", "at_s": [1.0]}]})


def test_same_seed_same_times(killed):
    again = simulate(killed.record and Scenario.load("quick").replace({
        "scheduler.replicas": 2, "horizon_s": 90.0, "faults": [{"type": "scheduler-death", "at_s": [20.0]}]}))
    assert np.array_equal(again.pods["bound_s"], killed.pods["bound_s"], equal_nan=True)
