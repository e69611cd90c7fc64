"""What etcd costs the simulation: counts are exact, times generous."""

from __future__ import annotations

import time

import pytest

from sim.base.rand import Streams
from sim.engine.clock import Clock
from sim.etcd.errors import OK
from sim.scenario import Scenario
from sim.simulate import Cluster
from sim.workload import AppKind
from tests.etcd.groups import group
from tests.worked.scenarios import load_of

pytestmark = pytest.mark.bench


def _writes(clock: Clock, etcd, every_s: float, count: int, until_s: float):
    answers = []

    def tick(_):
        etcd.put(count, size_bytes=300.0 * count).callbacks.append(lambda event: answers.append(event._value))
        if clock.now + every_s < until_s:
            clock.at(every_s, tick)

    clock.at(every_s, tick)
    return answers


def test_elections_with_five_members_cost_nothing_when_nobody_dies():
    """A simulated day without a write: one event a compaction."""
    clock, _ = group(5)
    clock.run_until(86_400.0)
    assert clock.events == 288


def test_a_simulated_hour_of_ten_thousand_writes_a_second(record_property):
    """Leases of 100,000 nodes in ticks of 20 ms, three members; a twentieth of the hour is run, so 3 s of the 60 are its share."""
    clock, etcd = group(3, fsync_s=[5e-5] * 3, member_rtt_s=2e-4)
    answers = _writes(clock, etcd, 0.02, 200, 180.0)
    begun = time.perf_counter()
    clock.run_until(181.0)
    wall_s = time.perf_counter() - begun
    record_property("wall_s_per_simulated_hour", wall_s * 20)
    assert answers == [OK] * len(answers)
    assert etcd.puts >= 9_990 * 180
    assert clock.events / len(answers) <= 6
    assert wall_s <= 3.0


def test_lease_renewals_through_the_api_server():
    """100,000 nodes' renewals through the whole control plane: a fortieth of an hour in a fortieth of 60 s."""
    scenario = Scenario.load("quick").replace({
        "workload": None, "nodes.count": 100_000, "network.node_prefix": 26, "horizon_s": 95.0, "sample_period_s": 10.0})
    cluster = Cluster(scenario, load_of((50.0, AppKind.POD, 1)), Streams(1))
    cluster.clock.run_until(5.0)
    before, begun = cluster.etcd.puts, time.perf_counter()
    cluster.clock.run_until(95.0)
    wall_s = time.perf_counter() - begun
    assert cluster.etcd.puts - before == pytest.approx(900_000, rel=0.01)
    assert wall_s <= 1.5
