"""Status writes and events that nobody waits for: counted like those that are simulated one by one, under the same limits."""

from __future__ import annotations

import numpy as np
import pytest

from sim.controllers.writes import SPAM_BURST
from sim.scenario import Scenario
from sim.simulate import simulate
from sim.workload import AppKind
from tests.controllers.loads import one_app
from tests.worked.scenarios import exact


def sent(result, resource: str, verb: str = "PUT") -> int:
    requests = result.requests
    return int(requests[(requests["resource"] == resource) & (requests["verb"] == verb)]["count"].sum())


def test_counted_writes_are_as_many_as_simulated_ones():
    """Services and jobs on 20 nodes for a minute, counted and one by one: within 5 %, as what gathers for a write depends on how
    long the one before takes. Pods start at the same times, but for what the writes do to each other's waits."""
    streams = {
        "web": {"arrivals": {"type": "poisson", "rate_per_s": 0.5}, "application": {"kind": "service", "replicas": 4}},
        "work": {
            "arrivals": {"type": "poisson", "rate_per_s": 0.5},
            "application": {"kind": "job", "completions": 4, "duration_s": 5},
        },
    }
    scenario = Scenario.load("quick").replace({"workload": {"type": "synthetic", "streams": streams}, "controllers.qps": 100})
    counted = simulate(scenario)
    single = simulate(scenario.replace({"controllers.aggregate_status_writes": False}))
    for resource in ("replicasets/status", "deployments/status"):
        assert sent(single, resource) > 50
        assert sent(counted, resource) == pytest.approx(sent(single, resource), rel=0.05)
    assert sent(counted, "jobs/status") == pytest.approx(2 * sent(single, "jobs/status"), rel=0.05)
    difference_s = counted.pods["startup_s"].mean() - single.pods["startup_s"].mean()
    assert abs(difference_s) < 0.001


def test_statuses_take_tokens_from_creations():
    """5 sets of 60 pods, 20 requests a second: while one set's pods are created, the others' statuses and events go too. All
    requests of the controller together keep to its rate."""
    load = one_app(AppKind.SERVICE, 60)
    fields = {name: getattr(load, name) for name in load.__dataclass_fields__}
    for name in ("app_time_s", "app_end_s", "app_kind", "app_template", "app_tenant", "app_pods", "app_parallelism"):
        fields[name] = np.repeat(fields[name], 5)
    fields["pod_duration_s"] = np.repeat(load.pod_duration_s, 5)
    result = simulate(exact(horizon_s=60, nodes__pools__general__count=5), type(load)(**fields), seed=1)
    requests = result.requests
    client = requests[requests["client"].astype(str).str.contains("replicaset-controller")]
    rows = client.groupby("resource", observed=True)["count"].sum()
    assert rows["pods"] > 100
    assert rows["replicasets/status"] > 10
    assert client["count"].sum() <= 30 + 20 * 60 + 1
    created = np.sort(result.pods["created_s"].dropna())
    assert len(created) == 300
    assert created[-1] - created[0] > (300 - 30) / 20


def test_events_about_one_object_are_few():
    """A set of 60: the recorder lets 25 events about it through, then one every 5 minutes."""
    result = simulate(exact(controllers__qps=1000, controllers__burst=1000), one_app(AppKind.SERVICE, 60), seed=1)
    requests = result.requests
    client = requests["client"].astype(str).str.contains("replicaset-controller")
    assert int(requests[client & (requests["resource"] == "events")]["count"].sum()) == SPAM_BURST
