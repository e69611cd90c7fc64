"""ReplicaSets, jobs, quotas, deletion: small cases whose counts and times are derived."""

from __future__ import annotations

import numpy as np
import pytest

from sim.simulate import simulate
from sim.state.pods import Phase
from sim.workload import AppKind
from tests.worked.scenarios import MS, exact, load_of

PUT = 3.5 * MS
CREATE = 10 * MS + PUT


def test_slow_start_doubles_its_batches():
    """7 replicas: 1, then 2, then 4 at once; each batch starts when the whole one before it is stored.

    Writes of one batch meet in etcd: they arrive together, the first opens a batch of one, the others share the next.
    """
    result = simulate(exact(controllers__qps=1000, controllers__burst=1000), load_of((1.0, AppKind.SERVICE, 7)), seed=1)
    sent = np.sort(result.pods["post_sent_s"].to_numpy())
    created = np.sort(result.pods["created_s"].to_numpy())
    assert len(set(np.round(sent[1:3], 9))) == 1
    assert len(set(np.round(sent[3:7], 9))) == 1
    assert sent[1] == pytest.approx(created[0], abs=1e-9)
    assert sent[3] == pytest.approx(created[2], abs=1e-9)
    # User's POST, heard by the Deployment controller (one watcher: 1 ms to encode, 0.5 ms on the way), its sync and its POST,
    # heard by the ReplicaSet controller, its sync, then the first pod.
    heard, sync = 1.5 * MS, 0.2 * MS
    assert sent[0] == pytest.approx(1.0 + CREATE + heard + sync + CREATE + heard + sync, abs=1e-9)
    assert created[0] - sent[0] == pytest.approx(CREATE, abs=1e-9)


def test_client_rate_limit_paces_a_scale_up():
    """20 requests a second, burst 30: of 130 replicas the last is sent (130 - 30) / 20 = 5 s after the first, to within the slow start."""
    result = simulate(exact(controllers__qps=20, controllers__burst=30), load_of((1.0, AppKind.SERVICE, 130)), seed=1)
    sent = np.sort(result.pods["post_sent_s"].to_numpy())
    # Tokens regained during the early batches (5 batches of 13.5 ms and more) shorten it by at most 0.2 s.
    assert 4.75 <= sent[-1] - sent[0] <= 5.0


def test_job_keeps_its_parallelism():
    """6 completions, 2 at a time, 5 s each: never more than 2 unfinished, all end."""
    result = simulate(exact(), load_of((1.0, AppKind.JOB, 6), duration_s=5.0, parallelism=2), seed=1)
    pods = result.pods
    assert (pods["phase"] == "Succeeded").all()
    events = sorted([(t, 1) for t in pods["created_s"]] + [(t, -1) for t in pods["gone_s"]])
    inside = np.cumsum([step for _, step in events])
    assert inside.max() == 2


def test_quota_admits_exactly_its_limit():
    """A quota of 5 pods and 8 bare pods at once: 5 are stored, 3 answered 403 and given up."""
    scenario = exact(tenants__quota={"pods": "5"})
    result = simulate(scenario, load_of((1.0, AppKind.POD, 8)), seed=1)
    phases = result.pods["phase"].value_counts()
    assert phases["Running"] == 5
    assert phases["Refused"] == 3
    refused = result.requests.query("code == 403")
    assert refused["count"].sum() == 3


def test_quota_is_released_when_pods_end():
    """The same quota and a job of 8, 10 s each: its controller tries again, and all 8 end."""
    scenario = exact(tenants__quota={"pods": "5"}, horizon_s=120)
    result = simulate(scenario, load_of((1.0, AppKind.JOB, 8), duration_s=10.0), seed=1)
    assert (result.pods["phase"] == "Succeeded").all()
    stored = sorted([(t, 1) for t in result.pods["created_s"]] + [(t, -1) for t in result.pods["gone_s"]])
    assert np.cumsum([step for _, step in stored]).max() == 5


def test_deleting_a_service_ends_its_pods():
    """A Deployment deleted at 20 s: DELETE, SIGTERM (0.4 s), relist, status, volumes reclaimed, the status manager's tick."""
    scenario = exact(kubelet__reclaim_s=2.0)
    result = simulate(scenario, load_of((1.0, AppKind.SERVICE, 3), end_s=20.0), seed=3)
    pods = result.pods
    assert (pods["phase"] == "Deleted").all()
    assert len(pods) == 3, "a deleted owner's pods are not replaced"
    kill = pods["killed_s"] - pods["delete_requested_s"]
    # DELETE: 6 ms work, range 3 ms, write 3.5 ms (later ones of the three share the next batch); heard 1.5 ms later
    assert kill.min() == pytest.approx(0.4 + (6 + 3 + 3.5 + 1.5) * MS, abs=1e-6)
    assert kill.max() < 0.4 + 30 * MS
    wait = pods["gone_s"] - pods["killed_s"]
    assert (wait > 2.0).all()
    assert (wait < 1.0 + 2.0 + 10.0 + 0.2).all()


def test_pods_without_room_say_why():
    """A node of 8 CPUs and 10 pods of 1 CPU: 8 run, 2 wait with the scheduler's reason."""
    result = simulate(exact(), load_of((1.0, AppKind.POD, 10), cpu_millicores=1000), seed=1)
    phases = result.pods["phase"].value_counts()
    assert phases["Running"] == 8
    assert phases["Pending"] == 2
    assert result.record.reasons == {"Insufficient cpu": 2}
    assert result.record.unschedulable_text.startswith("0/1 nodes are available: 1 Insufficient cpu.")


def test_room_given_back_is_used_by_those_who_wait():
    """The same with 10 s runs: the two come in as soon as their back-off allows after the first ones end."""
    result = simulate(exact(), load_of((1.0, AppKind.POD, 10), cpu_millicores=1000, duration_s=10.0), seed=1)
    assert (result.pods["phase"] == "Succeeded").all()
    late = np.sort(result.pods["scheduled_s"].to_numpy())[-2:]
    assert (late > result.pods["finished_s"].min()).all()
    assert result.pods["attempts"].max() >= 2
    assert Phase.SUCCEEDED.name.capitalize() in set(result.pods["phase"])
