"""What limits a room, against the theory of that limit: whole runs of a cluster whose every duration is a constant."""

from __future__ import annotations

import numpy as np
import pytest

from sim.apiserver.aggregate import Aggregate
from sim.apiserver.reflector import WATCHES_PER_NODE
from sim.apiserver.request import RENEW_LEASE
from sim.base.rand import Streams
from sim.engine.program import PIECE_S
from sim.result.result import Result
from sim.scenario import Scenario
from sim.simulate import Cluster, simulate
from sim.workload import AppKind
from tests.worked.scenarios import MS, exact, load_of


def steady(rate_per_s: float, pods: int, start_s: float = 1.0) -> tuple[tuple[float, AppKind, int], ...]:
    return tuple((start_s + index / rate_per_s, AppKind.POD, 1) for index in range(pods))


def requests_of(result: Result, verb: str, resource: str, code: int | None = None) -> int:
    rows = result.requests
    rows = rows[(rows["verb"] == verb) & (rows["resource"] == resource)]
    return int(rows["count"].sum() if code is None else rows[rows["code"] == code]["count"].sum())


def test_bindings_wait_for_the_schedulers_client():
    """80 pods/s against 50 requests/s and a burst of 100: the k-th binding waits (k - 100)/50 - k/80 s, if that is above 0.

    The bucket is never full after the first pod, so until t it has made 100 + 50 t tokens.
    """
    pods = 600
    load = load_of(*steady(80, pods), cpu_millicores=1)
    result = simulate(exact(scheduler__qps=50, scheduler__burst=100, nodes__pools__general__count=10), load, seed=1)
    table = result.pods.sort_values("scheduled_s")
    wait = (table["bind_sent_s"] - table["scheduled_s"]).to_numpy()
    asked = table["scheduled_s"].to_numpy() - table["scheduled_s"].iloc[0]
    expected = np.maximum(0, (np.arange(1, pods + 1) - 100) / 50 - asked)
    assert wait == pytest.approx(expected, abs=1e-6)
    assert wait[-1] > 2
    limit = result.bottlenecks().iloc[0]
    assert limit["resource"] == "scheduler client"
    assert limit["peak_utilisation"] == pytest.approx(1.0)


def test_a_scale_up_waits_for_its_controllers_client():
    """A Deployment of 400 replicas against 20 requests/s and a burst of 30 takes (400 - 30)/20 s: the client is what limits,
    although the pods wait in the controller's sync and not at the client.
    """
    scenario = exact(controllers__qps=20, controllers__burst=30, sample_period_s=0.5)
    result = simulate(scenario, load_of((1.0, AppKind.SERVICE, 400), cpu_millicores=1), seed=1)
    sent = result.pods["post_sent_s"]
    assert sent.max() - sent.min() == pytest.approx(370 / 20, abs=0.5)
    limit = result.bottlenecks().iloc[0]
    assert (limit["resource"], limit["verdict"], limit["stage"]) == (
        "replicaset-controller client",
        "limits",
        "controller",
    )
    assert limit["wait_per_pod_s"] == pytest.approx((sent - 1.0).mean(), rel=0.15)


def test_who_finds_no_seat_comes_again_after_retry_after():
    """One writing seat and three POSTs at once: one is stored, two are told to come again, then one of those."""
    seats = {"type": "max-in-flight", "max_mutating_in_flight": 1, "retry_after_s": 7}
    scenario = exact(apiserver__flow_control=seats)
    result = simulate(scenario, load_of((1.0, AppKind.POD, 3)), seed=1)
    assert requests_of(result, "POST", "pods", 429) == 3
    created = np.sort(result.pods["created_s"].to_numpy())
    answer = 13.5 * MS
    assert created == pytest.approx([1 + answer, 8 + answer, 15 + answer], abs=1e-6)


def test_aggregated_requests_that_find_no_seat_come_again_after_retry_after():
    """Ten leases while all writing seats are taken: ten are refused at once, and ten are served 3 s later."""
    given = {"type": "max-in-flight", "max_mutating_in_flight": 5, "retry_after_s": 3}
    cluster = Cluster(exact(apiserver__flow_control=given), load_of((100.0, AppKind.POD, 0)), Streams(1))
    seats = cluster.api.flow_control.writing
    taken = [seats.enter() for _ in range(5)]
    Aggregate(cluster.clock, cluster.api, "system:node").send(RENEW_LEASE, 10)
    cluster.clock.run_until(1.0)
    for request in taken:
        seats.leave(request)
    cluster.clock.run_until(10.0)
    columns, kinds = cluster.requests.columns(), cluster.requests.kinds()
    rows = zip(columns["kind"], columns["count"], columns["time_s"], strict=True)
    answers = [(kinds[kind][2], count, time_s) for kind, count, time_s in rows]
    assert [(code, count) for code, count, _ in answers] == [(429, 10), (200, 10)]
    assert answers[1][2] == pytest.approx(3, abs=0.02)


def test_a_busy_registry_shares_its_link():
    """Four nodes pull 50 MB each at once from 200 MB/s: 50 MB/s each, 1 s; 50 ms of round trips before, 50 ms of unpacking after."""
    scenario = exact(nodes__pools__general__count=4)
    result = simulate(scenario, load_of((1.0, AppKind.POD, 4)), seed=1)
    assert result.pods["node"].nunique() == 4
    pull = result.pods["pull_ready_s"] - result.pods["pull_started_s"]
    assert pull.mean() == pytest.approx(1.1, abs=0.02)  # the four begin a few ms apart, one binding after the other
    assert result.record.counters["image_bytes"] == 4 * 50_000_000
    assert result.record.counters["image_pulls"] == 4


def test_a_pod_costs_exactly_its_requests():
    """Start: one POST, one binding, two GETs, two status PATCHes, the scheduler's event and the kubelet's five.

    Source of the counts: requests counted per pod, Kubernetes 1.20.2.
    """
    result = simulate(exact(kubelet__events_per_start=5), load_of((1.0, AppKind.POD, 7)), seed=1)
    assert (result.pods["phase"] == "Running").all()
    counts = {
        ("POST", "pods"): 1,
        ("POST", "pods/binding"): 1,
        ("GET", "pods"): 2,
        ("PATCH", "pods/status"): 2,
        ("POST", "events"): 6,
        ("DELETE", "pods"): 0,
    }
    for (verb, resource), count in counts.items():
        assert requests_of(result, verb, resource) == 7 * count, (verb, resource)
    ended = simulate(exact(horizon_s=100), load_of((1.0, AppKind.POD, 7), end_s=20.0), seed=1)
    assert (ended.pods["phase"] == "Deleted").all()
    assert requests_of(ended, "DELETE", "pods") == 2 * 7
    assert requests_of(ended, "PATCH", "pods/status") == 3 * 7


@pytest.mark.parametrize(("nodes", "period_s"), [(1, 10), (7, 10), (300, 10), (300, 0.5)])
def test_heartbeats_are_as_many_as_nodes_and_periods(nodes: int, period_s: float):
    """Evenly spread: after T seconds T x nodes / period are due. Those of the last tick are still under way."""
    scenario = exact(horizon_s=60, kubelet__lease_period_s=period_s).replace({"nodes.pools.general.count": nodes})
    result = simulate(scenario, load_of((1.0, AppKind.POD, 0)), seed=1)
    due = 60 * nodes / period_s
    assert due - 0.2 * nodes / period_s - 1 <= requests_of(result, "PUT", "leases") <= due


def test_used_core_seconds_are_the_counted_work():
    """Utilisation x time x cores of the control plane = requests, encodings, writes and cycles, each times its cost."""
    scenario = exact()
    cluster = Cluster(scenario, load_of((1.0, AppKind.POD, 40), cpu_millicores=10), Streams(1))
    cluster.clock.run_until(60.0)
    used, _ = cluster.machines["control-plane"].meter.read()
    costs = {
        "POST pods": 10,
        "POST pods/binding": 8,
        "GET pods": 2,
        "PATCH pods/status": 5,
        "POST events": 10,
        "PUT leases": 0,
    }
    columns, kinds = cluster.requests.columns(), cluster.requests.kinds()
    requests = sum(
        int(columns["count"][columns["kind"] == index].sum()) * costs[f"{operation.verb} {operation.resource}"]
        for index, (operation, _, _) in enumerate(kinds)
    )
    etcd = cluster.etcd.batches * 1 + cluster.etcd.puts * 0.5 + cluster.etcd.ranges * 3
    bookmarks = 60 / scenario.apiserver.watch.bookmark_period_s * WATCHES_PER_NODE * 1  # to the one node's watches
    work = requests + etcd + cluster.watch.events * 1 + bookmarks + cluster.scheduler.attempts * 4
    assert 0 <= work * MS - used + 1e-9 <= PIECE_S  # what etcd owes for less than one piece is not on the cores yet


def test_littles_law_holds_for_pods_that_start():
    """Mean number starting = arrival rate x mean time from the binding to Running, over a whole run of the quick scenario."""
    scenario = Scenario.load(
        "quick", {"horizon_s": 300, "sample_period_s": 0.1, "workload.rate_per_s": 5, "nodes.count": 50}
    )
    result = simulate(scenario)
    pods = result.pods
    inside = (pods["running_s"].fillna(300) - pods["bound_s"]).sum() / 300
    assert result.series["pods_starting"].mean() == pytest.approx(inside, rel=0.01)


def test_summaries_leave_out_what_was_asked_for_in_the_warm_up():
    result = simulate(
        exact(warm_up_s=10), load_of((1.0, AppKind.POD, 3), (20.0, AppKind.POD, 5), cpu_millicores=10), seed=1
    )
    assert len(result.pods) == 8
    assert result.summary().loc["request_to_running", "count"] == 5
