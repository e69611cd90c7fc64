"""Faults and several groups in a whole cluster."""

from __future__ import annotations

import pytest

from sim.base.errors import InputError
from sim.etcd.spec import EtcdSpec
from sim.faults.catalog import FAULTS
from sim.result.result import Result
from sim.scenario import Scenario
from sim.simulate import simulate

THREE = {"machines": {"control-plane": {}, "etcd-0": {}, "etcd-1": {}, "etcd-2": {}, "events": {}},
         "etcd.machines": ["etcd-0", "etcd-1", "etcd-2"]}


NEEDS = {
    "webhook-outage": (
        {"webhook": "authentication.webhook"},
        {"apiserver.authentication.modes": ["x509", "service-account", "webhook"], "apiserver.authentication.tenants": "webhook",
         "apiserver.authentication.methods": {"webhook": {"server": {"workers": 5}}}},
    ),
}
"""What a fault must be told, and what the scenario must have for it."""


@pytest.mark.parametrize("name", list(FAULTS))
def test_every_fault_strikes_and_passes(name):
    """It shows in the time series and in the table of faults, which is the same when read back."""
    fields, sets = NEEDS.get(name, ({}, {}))
    fault = {"type": name, "at_s": [15.0], **fields}
    result = simulate(
        Scenario.load("quick").replace({**THREE, **sets, "scheduler.replicas": 2, "faults": [fault], "horizon_s": 80.0})
    )
    assert result.faults["fault"].tolist() == [name]
    assert result.faults["begin_s"].tolist() == [15.0]
    assert not (result.faults["end_s"] < 15.0).any()
    active = result.series.set_index("time_s")["faults_active"]
    assert active.loc[:14.5].eq(0).all()
    assert active.loc[15.5:].max() == 1
    assert FAULTS[name].__doc__


def test_marks_are_kept_and_shade_the_figures_over_time(tmp_path):
    """Two faults, one of which lasts beyond the end: the same when read back, and one span each in a figure."""
    faults = [{"type": "etcd-disk-stall", "at_s": [10.0, 20.0], "for_s": 1.0}, {"type": "etcd-slow-disk", "at_s": [15.0], "for_s": 99.0}]
    result = simulate(Scenario.load("quick").replace({**THREE, "faults": faults, "horizon_s": 30.0}))
    again = Result.load(result.save(tmp_path / "run"))
    assert again.faults.equals(result.faults)
    assert again.faults["number"].tolist() == [0, 1, 0]
    assert again.faults["end_s"].isna().tolist() == [False, True, False]
    assert sum(patch.get_gid() == "fault" for patch in again.plot.utilisation().axes[0].patches) == 3


def test_events_in_a_group_of_their_own():
    """The same cluster, events apart: both groups together store as much as one did, and pods do not notice."""
    one = simulate(Scenario.load("quick").replace(THREE))
    two = simulate(Scenario.load("quick").replace({**THREE, "etcd.groups": {"events": {"resources": ["events"], "machines": ["events"]}}}))
    names = set(two.resources["name"])
    assert {"etcd log", "etcd events log"} <= names
    assert one.record.counters["pods_started"] == two.record.counters["pods_started"]
    assert two.record.counters["etcd_puts"] < one.record.counters["etcd_puts"]


def test_a_leader_loss_shows_in_the_requests():
    """While etcd has no leader, writes wait or fail: the slowest request takes about a second or more, and no pod is lost."""
    result = simulate(Scenario.load("quick").replace({**THREE, "faults": [{"type": "etcd-leader-loss", "at_s": [20.0], "down_s": 10.0}]}))
    calm = simulate(Scenario.load("quick").replace(THREE))
    assert calm.record.counters["pods_started"] == result.record.counters["pods_started"]
    assert result.requests["max_s"].max() > 0.8
    assert calm.requests["max_s"].max() < 0.8


def test_faults_at_random_come_at_their_rate():
    scenario = Scenario.load("quick").replace({**THREE, "horizon_s": 2000.0, "workload": None, "nodes.count": 1,
                                               "faults": [{"type": "etcd-disk-stall", "member": 2, "for_s": 0.1, "mean_between_s": 20.0}]})
    from sim.base.rand import Streams
    from sim.engine.clock import Clock
    from sim.engine.machine import Machine
    from sim.etcd.router import etcd_groups
    from sim.faults.schedule import Faults, Struck

    clock, streams = Clock(), Streams(1)
    machines = {name: Machine(clock, name, "etcd", 4) for name in scenario.machines}
    groups = etcd_groups(clock, scenario.etcd, machines, {name: spec.fsync_s for name, spec in scenario.machines.items()}, streams)
    faults = Faults(Struck(clock, groups, None), scenario.faults, 2000.0, streams)
    clock.run_until(2000.0)
    assert 60 <= len(faults.marks) <= 145  # Poisson with mean 100: 99.99 % inside


def test_what_does_not_fit_is_refused_with_its_path():
    with pytest.raises(InputError) as refused:
        Scenario.load("quick").replace({"faults": [
            {"type": "etcd-leader-loss"}, {"type": "etcd-disk-stall", "member": 4, "at_s": [3]},
            {"type": "etcd-network", "at_s": [3], "group": "event"}]})
    text = str(refused.value)
    assert "faults[0]: () never strikes; give at_s or mean_between_s" in text
    assert "faults[1].member: 4 is no member of the group 'main'" in text
    assert "faults[2].group: 'event' is no group of etcd" in text
    with pytest.raises(InputError, match="is not one of the machines"):
        Scenario.load("quick").replace({"etcd.groups": {"events": {"resources": ["events"], "machines": ["nowhere"]}}})
    with pytest.raises(InputError, match="given to two groups"):
        Scenario.load("quick").replace({"etcd.groups": {
            "a": {"resources": ["events"], "machines": ["control-plane"]}, "b": {"resources": ["events"], "machines": ["control-plane"]}}})
    with pytest.raises(InputError, match="etcd demands"):
        Scenario.load("quick").replace({"etcd.election_s": 0.2})


def test_an_even_membership_is_warned_of():
    assert "use an odd number" in EtcdSpec(machines=("a", "b")).warnings()[0]
    assert EtcdSpec(machines=("a", "b", "c")).warnings() == []
    assert "etcd.groups.events.machines" in EtcdSpec(groups={"events": {"resources": ("events",), "machines": ("a", "b")}}).warnings()[0]
