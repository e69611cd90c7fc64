"""Edges of a pod's life: deletions that meet a start, replacements, empty and oversized owners, ends in mid-flight."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from sim.simulate import simulate
from sim.workload import AppKind
from tests.worked.scenarios import exact, load_of


def phases(result) -> dict[str, int]:
    counts = result.pods["phase"].value_counts()
    return counts[counts > 0].to_dict()


@pytest.mark.parametrize("kind", list(AppKind))
def test_deleted_before_the_creation_is_answered(kind):
    """Asked for at 1 s, deleted 1 ms later, while the POST is still under way: nothing may stay behind, nothing may come back."""
    result = simulate(exact(horizon_s=120), load_of((1.0, kind, 4), end_s=1.001), seed=1)
    assert set(phases(result)) <= {"Deleted", "Waiting"}
    assert len(result.pods) == 4, "pods of a deleted owner are not replaced"


@pytest.mark.parametrize("at_s", [1.02, 1.05, 1.3, 1.5, 2.0, 2.6])
@pytest.mark.parametrize("kind", list(AppKind))
def test_deleted_at_any_moment_of_the_start(kind, at_s):
    """Between the POST and Running there is a worker or a controller in charge at every moment: all pods go, none is replaced."""
    result = simulate(exact(horizon_s=120), load_of((1.0, kind, 4), end_s=at_s), seed=1)
    assert set(phases(result)) <= {"Deleted", "Waiting"}
    assert len(result.pods) == 4


def preempting(victims: AppKind, urgent_s: float, end_s: float = inf, **sets: object):
    """A node of 8 CPUs full of 8 pods of low priority; at `urgent_s` come 2 bare pods of high priority."""
    load = load_of((1.0, victims, 8), (urgent_s, AppKind.POD, 2), cpu_millicores=1000, priority=(0, 100))
    ends = np.array([end_s, inf])
    load = type(load)(**{**{name: getattr(load, name) for name in load.__dataclass_fields__}, "app_end_s": ends})
    return simulate(exact(horizon_s=200, **sets), load, seed=1)


@pytest.mark.parametrize("kind", [AppKind.SERVICE, AppKind.JOB])
def test_preempted_pods_are_replaced_by_their_owner(kind):
    """8 of 8 CPUs taken, 2 more important pods: 2 victims go, 2 replacements wait for room."""
    result = preempting(kind, 10.0)
    assert phases(result) == {"Running": 8, "Deleted": 2, "Pending": 2}
    urgent = result.pods.iloc[8:10]
    assert (urgent["phase"] == "Running").all()
    assert (result.pods.iloc[10:]["phase"] == "Pending").all()


def test_preempted_bare_pods_are_not_replaced():
    assert phases(preempting(AppKind.POD, 10.0)) == {"Running": 8, "Deleted": 2}


@pytest.mark.parametrize("kind", [AppKind.SERVICE, AppKind.JOB])
def test_victims_that_were_not_bound_yet_are_replaced_too(kind):
    """A binding takes 1 s: the important pods come while victims have a node but no binding, which then finds no pod."""
    result = preempting(kind, 1.5, apiserver__bind_cpu_s=1.0)
    found = phases(result)
    assert found["Running"] + found["Pending"] == 10
    assert found["Deleted"] == len(result.pods) - 10 == 2
    assert np.isnan(result.pods.query("phase == 'Deleted'")["bound_s"]).any()


@pytest.mark.parametrize("kind", [AppKind.SERVICE, AppKind.JOB])
def test_replacements_go_with_their_owner(kind):
    """The owner is deleted at 60 s: its replacements go as its first pods do."""
    result = preempting(kind, 10.0, end_s=60.0)
    assert phases(result) == {"Running": 2, "Deleted": 10}


def test_a_set_is_synced_by_one_worker_at_a_time():
    """40 replicas, burst_replicas 8, pods lost meanwhile or not: created in syncs of at most 8, one after the other."""
    result = simulate(exact(controllers__burst_replicas=8, controllers__qps=1000, controllers__burst=1000),
                      load_of((1.0, AppKind.SERVICE, 40), cpu_millicores=10), seed=1)
    assert phases(result) == {"Running": 40}
    sent = np.sort(result.pods["post_sent_s"].to_numpy())
    batches = np.diff(np.flatnonzero(np.concatenate([[True], np.diff(sent) > 1e-9, [True]])))
    assert batches.tolist() == [1, 2, 4, 1] * 5  # slow start within each sync


def test_more_parallelism_than_completions():
    result = simulate(exact(), load_of((1.0, AppKind.JOB, 3), duration_s=5.0, parallelism=10), seed=1)
    assert phases(result) == {"Succeeded": 3}


@pytest.mark.parametrize("kind", [AppKind.SERVICE, AppKind.JOB])
def test_no_pods_at_all(kind):
    result = simulate(exact(), load_of((1.0, kind, 0), end_s=5.0), seed=1)
    assert len(result.pods) == 0
    assert result.summary() is not None
    assert result.bottlenecks() is not None
    assert result.limits()


def test_horizon_before_the_first_arrival():
    result = simulate(exact(horizon_s=0.5, sample_period_s=0.1), load_of((1.0, AppKind.POD, 3)), seed=1)
    assert phases(result) == {"Waiting": 3}
    assert result.record.counters["pods_requested"] == 0
    assert not result.record.reasons


@pytest.mark.parametrize("horizon_s", [1.005, 1.02, 1.03, 1.4, 1.6])
def test_horizon_in_mid_flight(horizon_s):
    """The run ends while a request, a cycle, a pull is under way: every pod is in some phase, and the run says where it waits."""
    result = simulate(exact(horizon_s=horizon_s), load_of((1.0, AppKind.POD, 3)), seed=1)
    assert len(result.pods) == 3
    assert sum(phases(result).values()) == 3
    assert result.record.end_s == horizon_s


@pytest.mark.parametrize("serial", [True, False])
def test_an_image_is_pulled_once_for_pods_that_start_together(serial):
    """Four pods of one image on one node: one pull of 50 MB, at the node's 100 MB/s, whether pulls are serial or not."""
    result = simulate(exact(kubelet__serial_image_pulls=serial), load_of((1.0, AppKind.POD, 4)), seed=1)
    assert phases(result) == {"Running": 4}
    assert result.record.counters["image_pulls"] == 1
    assert result.record.counters["image_bytes"] == 50_000_000
