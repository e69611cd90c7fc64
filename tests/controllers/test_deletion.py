"""What is deleted with what: in the background and in the foreground, with its node, and before it is replaced."""

from __future__ import annotations

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.controllers.daemon_set import next_failed_backoff_s
from sim.scenario import Scenario
from sim.state.applications import DeploymentOptions, StatefulSetOptions
from sim.state.pods import Phase
from sim.workload import AppKind
from tests.controllers.loads import one_app, run
from tests.worked.scenarios import exact

FAST = {"controllers__qps": 1000, "controllers__burst": 1000}
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"


def sent(cluster, verb, resource, client=""):
    """Times of the answers to such requests that were granted."""
    columns = cluster.requests.columns()
    kinds = [
        number
        for number, (operation, name, code) in enumerate(cluster.requests.kinds())
        if operation.verb == verb and operation.resource == resource and client in name and code < 300
    ]
    rows = np.isin(columns["kind"], kinds)
    assert (columns["count"][rows] == 1).all()
    return columns["time_s"][rows]


def test_in_the_background_the_owner_goes_first():
    """A Deployment of 2, deleted at 20 s: it, then its set, then its pods."""
    cluster = run(exact(horizon_s=120, **FAST), one_app(AppKind.SERVICE, 2, end_s=20.0), 120.0)
    (deployment_s,), (set_s,) = sent(cluster, "DELETE", "deployments"), sent(cluster, "DELETE", "replicasets")
    assert deployment_s < set_s < cluster.pods.columns()["gone_s"].min()
    assert len(sent(cluster, "PATCH", "deployments")) == 0


def test_in_the_foreground_the_owner_goes_last():
    """The same: it is marked, its set is marked, its pods are deleted and go; then the set loses its finalizer, then it does.

    The collector reads the Deployment when it is marked, when it looks at the set, and twice before the end; the set when it is
    marked and for each of the 2 pods before their deletion, once for each that has gone, once more before the end, and itself
    before it is deleted; each pod once.
    """
    options = DeploymentOptions(foreground=True)
    cluster = run(exact(horizon_s=120, **FAST), one_app(AppKind.SERVICE, 2, options, end_s=20.0), 120.0)
    gone_s = cluster.pods.columns()["gone_s"]
    (deployment_s,), (set_s,) = sent(cluster, "PATCH", "deployments"), sent(cluster, "PATCH", "replicasets")
    assert gone_s.max() < set_s < deployment_s
    assert len(sent(cluster, "DELETE", "deployments")) == len(sent(cluster, "DELETE", "replicasets")) == 1
    assert len(sent(cluster, "GET", "deployments", COLLECTOR)) == 4
    assert len(sent(cluster, "GET", "replicasets", COLLECTOR)) == 7
    assert len(sent(cluster, "GET", "pods", COLLECTOR)) == 2
    assert len(sent(cluster, "DELETE", "pods", COLLECTOR)) == 2
    assert not cluster.controllers.garbage.holds
    assert not cluster.controllers.deployments.deployments


def test_a_stateful_set_in_the_foreground():
    """3 pods; while they end no other is created."""
    options = StatefulSetOptions(foreground=True, parallel=True)
    cluster = run(exact(horizon_s=120, **FAST), one_app(AppKind.STATEFUL_SET, 3, options, end_s=30.0), 120.0)
    columns = cluster.pods.columns()
    assert cluster.pods.rows == 3
    assert sent(cluster, "PATCH", "statefulsets") > columns["gone_s"].max()
    assert (columns["phase"] == Phase.DELETED).all()


def test_foreground_deletion_without_deletion_is_refused():
    application = {"kind": "service", "foreground_deletion": True}
    workload = {"type": "synthetic", "streams": {"web": {"application": application}}}
    with pytest.raises(InputError, match="set lifetime_s"):
        Scenario.load("quick").replace({"workload": workload}).checked_workload()


@pytest.mark.parametrize("kind", [AppKind.STATEFUL_SET, AppKind.DAEMON_SET])
def test_a_failed_pod_is_deleted_before_another_comes(kind):
    """One pod fails at 20 s: one DELETE by its controller, which removes the object at once, then one POST."""
    cluster = run(exact(horizon_s=60, **FAST), one_app(kind, 1), 20.0)
    posted = len(sent(cluster, "POST", "pods"))
    cluster.pods.ids["phase"][0] = Phase.FAILED
    cluster.pods.times["gone_s"][0] = 20.0
    cluster.watch.publish("pods", "finished", 0)
    cluster.clock.run_until(60.0)
    (deleted_s,) = sent(cluster, "DELETE", "pods")
    assert len(sent(cluster, "POST", "pods")) == posted + 1
    assert 20 < deleted_s < sent(cluster, "POST", "pods")[-1] < 20.1
    assert cluster.pods.ids["phase"][1] == Phase.RUNNING


def test_a_node_whose_daemon_fails_again_and_again_is_left_alone():
    assert next_failed_backoff_s(0.0, 5.0) == 1.0
    assert next_failed_backoff_s(1.0, 5.0) == 2.0
    assert next_failed_backoff_s(512.0, 600.0) == 900.0
    assert next_failed_backoff_s(512.0, 1801.0) == 1.0  # forgotten


@pytest.mark.parametrize(("quarantine_s", "deleted_s"), [(40.0, 160.0), (0.0, 120.0)])
def test_pods_of_a_node_that_is_gone_are_collected(quarantine_s, deleted_s):
    """Its object is removed at 105 s; looks are at 100, 120, … s: found gone at 120 s, and after the quarantine the node is read,
    2 ms and a range of etcd, and its daemon deleted without grace. A node that came again meanwhile keeps its pod."""
    fault = {"type": "node-crash", "at_s": [1e5], "nodes": ["general-0"], "down_s": 1}
    scenario = exact(
        horizon_s=300,
        nodes__pools__general__count=3,
        faults=[fault],
        controllers__orphan_quarantine_s=quarantine_s,
        **FAST,
    )
    cluster = run(scenario, one_app(AppKind.DAEMON_SET, 3), 105.0)
    daemons = {node: pod for pod, node in enumerate(cluster.pods.columns()["node"].tolist())}
    cluster.park.removed(0)
    cluster.park.removed(1)
    cluster.clock.run_until(110.0)
    cluster.park.joined(1)
    cluster.clock.run_until(300.0)
    gone_s = cluster.pods.columns()["gone_s"]
    assert deleted_s + 0.01 < gone_s[daemons[0]] < deleted_s + 0.05
    assert np.isnan(gone_s[[daemons[1], daemons[2]]]).all()
    assert cluster.controllers.pod_gc.orphans == 1
    assert len(sent(cluster, "DELETE", "pods")) == 1
