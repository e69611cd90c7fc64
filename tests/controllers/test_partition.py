"""The API server cut off from etcd: requests wait, and fail when they are given up."""

from __future__ import annotations

import pytest

from sim.state.pods import Phase
from sim.workload import AppKind
from tests.controllers.loads import one_app, run
from tests.worked.scenarios import exact, load_of

MS = 0.001


def cut(duration_s: float, at_s: float = 10.0, **sets: object):
    return exact(
        horizon_s=120,
        faults=[{"type": "partition", "component": "etcd", "at_s": [at_s], "duration_s": duration_s}],
        **sets,
    )


def test_a_short_cut_makes_requests_late():
    """Cut from 10 to 15 s; a pod posted at 12 s spends 10 ms in the API server, waits for 15 s, and is stored as ever: 0.5 ms to
    take the write in, 1 ms for the batch, 2 ms for the disk."""
    cluster = run(cut(5.0), load_of((12.0, AppKind.POD, 1)), 60.0)
    columns = cluster.pods.columns()
    assert columns["created_s"][0] == pytest.approx(15.0 + 3.5 * MS, abs=1e-6)
    assert columns["phase"][0] == Phase.RUNNING


def test_a_long_cut_makes_them_fail():
    """A pod posted at 12 s is given up after 34 s: 500, refused. A reconnection afterwards brings nothing of it."""
    cluster = run(cut(60.0), load_of((12.0, AppKind.POD, 1)), 100.0)
    assert cluster.pods.columns()["phase"][0] == Phase.REFUSED
    kinds, columns = cluster.requests.kinds(), cluster.requests.columns()
    (kind,) = (
        number for number, (operation, _, code) in enumerate(kinds) if code == 500 and operation.resource == "pods"
    )
    assert columns["time_s"][columns["kind"] == kind].tolist() == pytest.approx([46.0 + 10 * MS])
    assert cluster.etcd.refused == {"context deadline exceeded": 1}


def test_what_was_asked_for_before_goes_on_after_it():
    """A Deployment of 3 scales nothing during the cut; all its pods run a while after it."""
    cluster = run(cut(50.0, at_s=1.005), one_app(AppKind.SERVICE, 3), 110.0)
    phases = cluster.pods.columns()["phase"]
    assert set(phases.tolist()) <= {Phase.RUNNING, Phase.REFUSED}


def test_nobody_leads_without_etcd():
    """Two controller managers: the leader's renewals wait, so it ceases, and nobody can take over before the end at 70 s."""
    cluster = run(cut(60.0, controllers__replicas=2), load_of((1.0, AppKind.POD, 1)), 69.0)
    assert cluster.managers.leader == ""
    cluster.clock.run_until(110.0)
    assert cluster.managers.leader
