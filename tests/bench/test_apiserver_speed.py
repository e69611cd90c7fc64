"""What the API server costs the simulation: counts are exact, times generous."""

from __future__ import annotations

import time

import pytest

from sim.apiserver.aggregate import SHORTEST_TICK_S
from sim.apiserver.request import RENEW_LEASE
from sim.base.rand import Streams
from sim.scenario import Scenario
from sim.simulate import Cluster
from sim.workload import AppKind
from tests.worked.scenarios import load_of

pytestmark = pytest.mark.bench

NODES = 100_000
SIMULATED_S = 120.0


def test_an_hour_of_a_hundred_thousand_nodes_renewals(record_property):
    """10,000 writes a second, with the nodes' statuses and 4,000 watches opened anew: CPU time for an hour, from two minutes."""
    scenario = Scenario.load(
        "density", {"nodes.count": NODES, "horizon_s": 3600, "network.node_prefix": 25, "sample_period_s": 30}
    )
    cluster = Cluster(scenario, load_of((3600.0, AppKind.POD, 1)), Streams(1))
    begun_s = time.process_time()
    cluster.clock.run_until(SIMULATED_S)
    hour_s = (time.process_time() - begun_s) * 3600 / SIMULATED_S
    record_property("cpu_s_an_hour", hour_s)
    columns = cluster.requests.columns()
    renewals = sum(
        int(columns["count"][columns["kind"] == number].sum())
        for number, (operation, _, code) in enumerate(cluster.requests.kinds())
        if operation is RENEW_LEASE and code == 200
    )
    assert renewals == pytest.approx(NODES / 10 * SIMULATED_S, rel=0.001)
    assert cluster.clock.events < 9 * SIMULATED_S / SHORTEST_TICK_S  # renewals, statuses and watches of a tick, and their log
    assert hour_s < 60
