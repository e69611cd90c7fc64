"""Clusters that begin with pods running: everybody knows them, nothing was asked or sent for them, and they end as any other."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.base.rand import Streams
from sim.invariants import check_invariants
from sim.scenario import Scenario
from sim.simulate import Cluster, simulate
from sim.state.pods import Phase
from workloads.draws import in_the_middle

SERVICES = {"kind": "service", "replicas": 3}


def scenario(**sets: object) -> Scenario:
    """20 nodes, 40 services of 3 pods that run from the start; nothing else arrives in the horizon."""
    workload = {"type": "steady", "rate_per_s": 1e-3, "start_s": 59, "running_at_start": 40, "application": SERVICES}
    workload |= {
        name.removeprefix("workload__"): value for name, value in sets.items() if name.startswith("workload__")
    }
    rest = {name.replace("__", "."): value for name, value in sets.items() if not name.startswith("workload__")}
    return Scenario.load("quick").replace({"workload": workload, **rest})


def play(made: Scenario, until_s: float) -> Cluster:
    load = made.checked_workload().build(made.setting(), Streams(1))
    cluster = Cluster(made, load, Streams(1))
    if until_s:
        cluster.clock.run_until(until_s)
    cluster.network.spread.close()
    cluster.sampler.sample()
    check_invariants(cluster)
    return cluster


def test_everybody_knows_them_at_the_first_instant() -> None:
    made = scenario(tenants={"count": 2, "quota": {"pods": 400}})
    load = made.checked_workload().build(made.setting(), Streams(1))
    cluster = Cluster(made, load, Streams(1))
    assert cluster.clock.events == 0
    ids = cluster.pods.columns()
    run = ids["phase"] == Phase.RUNNING
    assert run.sum() == 120
    assert (ids["node"][run] >= 0).all()
    assert (ids["address"][run] >= 0).all()
    assert all(cluster.core.placements.is_placed(pod) for pod in np.flatnonzero(run).tolist())
    kubelets = cluster.kubelets.nodes.values()
    assert sum(node.containers for node in kubelets) == sum(node.admitted_pods for node in kubelets) == 120
    assert sum(node.ports for node in kubelets) == sum(node.sandboxes for node in kubelets) == 120
    assert sum(quota.used["pods"] for quota in cluster.quotas) == 120
    assert cluster.storage.objects("pods") == 120
    assert cluster.storage.objects("deployments") == cluster.storage.objects("replicasets") == 40
    assert len(cluster.pod_control.owner_of) == 120


def test_nothing_happens_to_them_by_itself() -> None:
    """No controller, scheduler or kubelet finds anything to do about them."""
    cluster = play(scenario(), 50.0)
    assert cluster.scheduler.attempts == 0
    assert (cluster.pods.columns()["phase"] == Phase.RUNNING).sum() == 120
    verbs = {(kind[0].verb, kind[0].resource) for kind in cluster.requests.kinds()}
    assert not {("POST", "pods"), ("POST", "replicasets"), ("PATCH", "pods/status"), ("DELETE", "pods")} & verbs


def test_nodes_are_those_that_the_scheduler_gives_pods_that_arrive() -> None:
    """The same services through the whole control plane, one a second: each pod lands where it would have run from the start."""
    mix = [{"cpu": "100m", "memory": "100Mi", "weight": 1, "image": "base"}]
    alike = {
        "workload__mix": mix,
        "workload__application": {"kind": "service", "replicas": 2},
    }  # slow start: one, then one
    before = play(scenario(**alike), 0.0)
    arriving = {
        "workload__running_at_start": 0,
        "workload__start_s": 0,
        "workload__rate_per_s": 1.0,
        "workload__horizon_s": 40.5,
    }
    after = play(scenario(**alike, **arriving, warm_up_s=0), 58.0)
    nodes = [cluster.pods.columns()["node"] for cluster in (before, after)]
    assert nodes[0][:80].tolist() == nodes[1][:80].tolist()


def test_a_user_deletes_a_service_that_ran_before() -> None:
    made = scenario(workload__application={**SERVICES, "lifetime_s": {"dist": "exponential", "mean": 60}}, horizon_s=58)
    result = simulate(made, seed=3)
    pods = result.pods
    gone = pods[pods.phase == "Deleted"]
    assert 3 < len(gone) < 117
    assert gone.requested_s.isna().all()
    assert gone.killed_s.notna().all()
    assert result.record.counters["pods_started"] == 0


def test_a_pod_that_crashes_away_is_replaced() -> None:
    """Its ReplicaSet hears of the loss: a new row, which starts as any other."""
    made = scenario(faults=[{"type": "node-drain", "at_s": [5], "count": 2}], horizon_s=58)
    result = simulate(made, seed=3)
    assert (result.pods.phase == "Running").sum() == 120
    fresh = result.pods[result.pods.requested_s.notna()]
    assert len(fresh) == (result.pods.phase == "Deleted").sum() > 0
    assert fresh.startup_s.notna().all()


def test_bare_pods_end_within_what_is_left_of_their_time() -> None:
    made = scenario(
        workload__application={"kind": "pod", "duration_s": 100}, workload__running_at_start=200, horizon_s=50
    )
    result = simulate(made, seed=1)
    ended = (result.pods.phase == "Succeeded").sum()
    assert 80 <= ended <= 118, "half of them, as ages are even in [0, 100] s"


def test_what_is_left_of_lives_is_the_residual_of_a_renewal_process() -> None:
    """Exponential lives have no memory; lives of constant length are met evenly in their middle."""
    streams = Streams(5)
    exponential = in_the_middle(lambda source, size: streams(source).exponential(50.0, size), streams)("a", 20_000)
    assert exponential.mean() == pytest.approx(50.0, rel=0.03)
    constant = in_the_middle(lambda source, size: np.full(size, 40.0), streams)("b", 20_000)
    assert constant.mean() == pytest.approx(20.0, rel=0.02)
    assert constant.max() < 40
    assert np.isinf(in_the_middle(lambda source, size: np.full(size, inf), streams)("c", 3)).all()


def test_they_move_no_draw_of_those_that_arrive() -> None:
    with_them, without = (
        scenario(workload__running_at_start=count, workload__start_s=0, workload__rate_per_s=1.0) for count in (40, 0)
    )
    loads = [made.checked_workload().build(made.setting(), Streams(1)) for made in (with_them, without)]
    new = ~loads[0].app_running
    assert (loads[0].app_time_s[new] == loads[1].app_time_s).all()
    specs = [
        [load.templates[row] for row in load.app_template[keep]]
        for load, keep in zip(loads, (new, slice(None)), strict=True)
    ]
    assert specs[0] == specs[1]


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        ({"workload__application": {"kind": "job"}}, "is for pods and services"),
        ({"workload__running_at_start": -1}, "running_at_start"),
        ({"workload__running_at_start": 2000}, "fit on no node"),
        ({"tenants": {"count": 1, "quota": {"pods": 10}}}, "exceed the quota"),
        ({"network__node_prefix": 29}, "no address is left"),
    ],
)
def test_what_cannot_run_is_found_before_the_run(sets: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        simulate(scenario(**sets))
