"""Namespaces that are deleted with a tenant: everything in them goes, nothing new comes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.controllers.namespace import TYPES
from sim.state.pods import Phase
from sim.workload import AppKind
from tests.controllers.loads import run
from tests.worked.scenarios import exact, load_of

FAST = {"controllers__qps": 1000, "controllers__burst": 1000}


def leaving(at_s: float = 20.0, **sets: object):
    return exact(horizon_s=120, tenants__overrides={"tenant-1": {"leaves_at_s": at_s}}, **FAST, **sets)


def sent(cluster) -> dict[tuple[str, str, int], int]:
    """Requests by verb, resource and code."""
    columns = cluster.requests.columns()
    counts: dict[tuple[str, str, int], int] = {}
    for number, (operation, _, code) in enumerate(cluster.requests.kinds()):
        key = (operation.verb, operation.resource, code)
        counts[key] = counts.get(key, 0) + int(columns["count"][columns["kind"] == number].sum())
    return counts


def test_an_empty_namespace_takes_five_seconds_and_two_requests_a_type():
    """Deleted at 20 s: after 5 s one GET, a DELETECOLLECTION and a LIST of each type, one LIST more of pods, a status, the
    finalizer. Nobody else sends a thing for it."""
    cluster = run(leaving(), load_of((1.0, AppKind.JOB, 0)), 24.9)
    before = sent(cluster)
    cluster.clock.run_until(60.0)
    after = sent(cluster)
    new = {key: count - before.get(key, 0) for key, count in after.items() if count != before.get(key, 0)}
    expected = {("DELETECOLLECTION", name, 200): 1 for name in TYPES} | {("LIST", name, 200): 1 for name in TYPES}
    expected[("LIST", "pods", 200)] = 2
    expected |= {
        ("GET", "namespaces", 200): 1,
        ("PUT", "namespaces/status", 200): 1,
        ("PUT", "namespaces/finalize", 200): 1,
    }
    assert new == expected
    assert cluster.controllers.namespaces.removed == 1


@pytest.mark.parametrize("kind", [AppKind.SERVICE, AppKind.STATEFUL_SET, AppKind.POD, AppKind.JOB, AppKind.DAEMON_SET])
def test_everything_in_it_goes(kind):
    """Marked at 20 s, first look at 25 s; pods' grace is 30 s, of which 5 have passed: the next look is 30/2 + 1 s after the
    first. Pods end at once here, so then the namespace goes."""
    load = load_of((1.0, kind, 1 if kind is AppKind.DAEMON_SET else 3), cpu_millicores=10)
    cluster = run(leaving(), load, 40.9)
    columns = cluster.pods.columns()
    assert ((columns["delete_requested_s"] > 25) & (columns["delete_requested_s"] < 26)).all()
    assert cluster.controllers.namespaces.removed == 0
    cluster.clock.run_until(120.0)
    columns = cluster.pods.columns()
    assert (columns["phase"] == Phase.DELETED).all()
    assert cluster.pods.rows == len(columns["phase"])
    assert cluster.controllers.namespaces.removed == 1
    assert cluster.storage.objects("pods", "tenant-1") == 0
    assert not cluster.controllers.replicasets.sets


def test_nothing_new_is_admitted():
    """A Job asked for at 22 s and a bare pod at 23 s are refused with 403; so is what came before and grows later."""
    load = load_of((1.0, AppKind.SERVICE, 1), (22.0, AppKind.JOB, 2), (23.0, AppKind.POD, 1), cpu_millicores=10)
    cluster = run(leaving(), load, 120.0)
    phases = cluster.pods.columns()["phase"]
    assert phases.tolist() == [Phase.DELETED, Phase.REFUSED, Phase.REFUSED, Phase.REFUSED]
    counts = sent(cluster)
    assert counts["POST", "jobs", 403] == 1
    assert counts["POST", "pods", 403] == 1


def test_its_user_has_nothing_left_to_delete():
    """The user would delete the Deployment at 60 s; it went at 25 s with the namespace, and is deleted and counted once."""
    cluster = run(leaving(), load_of((1.0, AppKind.SERVICE, 1), cpu_millicores=10, end_s=60.0), 120.0)
    assert ("DELETE", "deployments", 200) not in sent(cluster)
    assert sent(cluster)["DELETECOLLECTION", "deployments", 200] == 2
    assert cluster.storage._objects["deployments"] == 0


def test_other_namespaces_stay():
    load = load_of((1.0, AppKind.SERVICE, 2), (1.0, AppKind.SERVICE, 2), cpu_millicores=10, priority=(0, 1))
    templates = tuple(replace(each, namespace=f"tenant-{number + 1}") for number, each in enumerate(load.templates))
    load = replace(load, templates=templates, tenants=("tenant-1", "tenant-2"), app_tenant=np.array([0, 1], np.int32))
    cluster = run(leaving(tenants__count=2), load, 120.0)
    assert cluster.pods.columns()["phase"].tolist() == [Phase.DELETED] * 2 + [Phase.RUNNING] * 2
