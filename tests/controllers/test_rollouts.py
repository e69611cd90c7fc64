"""Deployments, StatefulSets and DaemonSets in a tiny cluster: order, bounds and times of what they do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.simulate import simulate
from sim.state.applications import Change, DaemonSetOptions, DeploymentOptions, Roll, Scale, StatefulSetOptions
from sim.workload import AppKind
from tests.controllers.loads import one_app, run
from tests.worked.scenarios import exact

FAST = {"controllers__qps": 1000, "controllers__burst": 1000}


def alive(pods, at_s: float, template: int | None = None) -> int:
    """Pods stored and not asked to go at a time."""
    there = (pods["created_s"] <= at_s) & ~(pods["delete_requested_s"] <= at_s)
    return int((there & (pods["template"] == template)).sum() if template is not None else there.sum())


def ready(pods, at_s: float) -> int:
    """Pods that run and were not asked to go."""
    return int(((pods["running_s"] <= at_s) & ~(pods["delete_requested_s"] <= at_s)).sum())


def test_a_rolling_update_of_ten():
    """25 % and 25 %: surge 3, unavailable 2. First 3 new ones and 2 old ones less, then 2 new ones more (8 + 5 = 13); the rest
    follows as new ones become ready. Never above 13, never fewer than 8 ready, in the end ten new ones."""
    load = one_app(AppKind.SERVICE, 10, changes=[Change(20.0, 0, Roll(1))], revisions=2)
    result = simulate(exact(horizon_s=90, **FAST), load, seed=1)
    pods = result.pods
    assert (pods["phase"] == "Running").sum() == 10
    assert (pods[pods["phase"] == "Running"]["template"] == 1).all()
    times = np.unique(np.concatenate([pods[name].dropna().to_numpy() for name in ("created_s", "delete_requested_s")]))
    after = times[times > 15]
    assert max(alive(pods, at_s) for at_s in after) == 13
    assert min(ready(pods, at_s) for at_s in after) >= 8
    # the first step is over 0.2 s after the change, before any new pod can be ready
    assert (alive(pods, 20.3, 0), alive(pods, 20.3, 1)) == (8, 5)
    rolling = pods[pods["template"] == 1]
    assert len(rolling) == 10
    assert rolling["requested_s"].min() > 20.0


def test_recreate_waits_for_the_last_old_pod():
    load = one_app(AppKind.SERVICE, 4, DeploymentOptions(recreate=True), [Change(20.0, 0, Roll(1))], revisions=2)
    pods = simulate(exact(horizon_s=90, **FAST), load, seed=1).pods
    old, new = pods[pods["template"] == 0], pods[pods["template"] == 1]
    assert (old["phase"] == "Deleted").all()
    assert (new["phase"] == "Running").all()
    assert len(new) == 4
    assert new["post_sent_s"].min() >= old["gone_s"].max()


def test_surge_alone_and_absence_alone():
    """Surge 0: old ones go first, never more than wanted. Unavailable 0: new ones come first, never fewer ready."""
    for surge, unavailable in ((0, 2), (2, 0)):
        options = DeploymentOptions(max_surge=surge, max_unavailable=unavailable)
        load = one_app(AppKind.SERVICE, 6, options, [Change(20.0, 0, Roll(1))], revisions=2)
        pods = simulate(exact(horizon_s=200, **FAST), load, seed=1).pods
        moments = [
            at_s
            for name in ("created_s", "delete_requested_s", "running_s")
            for at_s in pods[name].dropna()
            if at_s > 19
        ]
        assert max(alive(pods, at_s) for at_s in moments) == 6 + surge
        assert min(ready(pods, at_s) for at_s in moments) >= 6 - unavailable
        assert (pods[pods["phase"] == "Running"]["template"] == 1).all()


def test_scaling_up_and_down():
    """2 at 1 s, 5 from 20 s on, 1 from 40 s on: the youngest go first."""
    load = one_app(AppKind.SERVICE, 2, changes=[Change(20.0, 0, Scale(5)), Change(40.0, 0, Scale(1))])
    pods = simulate(exact(horizon_s=90, controllers__logarithmic_scale_down=False, **FAST), load, seed=1).pods
    assert [alive(pods, at_s) for at_s in (19.0, 25.0, 45.0)] == [2, 5, 1]
    gone = pods["delete_requested_s"].notna()
    assert len(pods) == 5
    assert pods[gone]["created_s"].min() >= pods[~gone]["created_s"].max()


def test_a_change_of_mind_in_the_middle():
    """A third revision while the second is on its way: old sets of both shrink, only the third remains."""
    changes = [Change(20.0, 0, Roll(1)), Change(21.5, 0, Roll(2))]
    cluster = run(exact(horizon_s=120, **FAST), one_app(AppKind.SERVICE, 10, changes=changes, revisions=3), 120.0)
    deployment = cluster.controllers.deployments.deployments[0]
    assert [(each.template, each.wanted) for each in deployment.sets] == [(0, 0), (1, 0), (2, 10)]
    first, second = cluster.controllers.deployments.rollouts
    assert np.isnan(first.ended_s)
    assert second.ended_s > second.begun_s


def test_an_update_that_cannot_go_on_says_so():
    """New pods want 9 of 8 cores: they never run, 8 of 10 old ones stay, and after the deadline the Deployment is stuck."""
    load = one_app(
        AppKind.SERVICE, 10, DeploymentOptions(progress_deadline_s=30), [Change(20.0, 0, Roll(1))], revisions=2
    )
    old, new = load.templates
    (container,) = new.containers
    load = replace(load, templates=(old, replace(new, containers=(replace(container, requests=(("cpu", 9000),)),))))
    cluster = run(exact(horizon_s=120, **FAST), load, 100.0)
    (rollout,) = cluster.controllers.deployments.rollouts
    assert rollout.stalled
    assert np.isnan(rollout.ended_s)
    columns = cluster.pods.columns()
    assert int(((columns["template"] == 0) & np.isnan(columns["delete_requested_s"])).sum()) == 8


def test_old_revisions_are_forgotten_beyond_the_limit():
    changes = [Change(20.0 * (number + 1), 0, Roll(number + 1)) for number in range(3)]
    load = one_app(AppKind.SERVICE, 2, DeploymentOptions(revision_history_limit=1), changes, revisions=4)
    cluster = run(exact(horizon_s=150, **FAST), load, 150.0)
    assert [each.template for each in cluster.controllers.deployments.deployments[0].sets] == [2, 3]
    assert len(cluster.controllers.replicasets.sets) == 2


def test_a_stateful_set_starts_in_order():
    """Each pod is posted when the one before it is ready: its Running is heard (1 ms a watcher and 0.5 ms), then one sync
    (0.2 ms) before the POST."""
    pods = simulate(exact(horizon_s=60, **FAST), one_app(AppKind.STATEFUL_SET, 3), seed=1).pods
    assert (pods["phase"] == "Running").all()
    sent, running = pods["post_sent_s"].to_numpy(), pods["running_s"].to_numpy()
    for before, after in ((0, 1), (1, 2)):
        assert running[before] < sent[after] < running[before] + 0.05


def test_a_parallel_stateful_set_does_not_wait():
    options = StatefulSetOptions(parallel=True)
    pods = simulate(exact(horizon_s=60, **FAST), one_app(AppKind.STATEFUL_SET, 3, options), seed=1).pods
    assert pods["post_sent_s"].max() < pods["running_s"].min()


def test_a_stateful_set_is_updated_from_the_end_down_to_the_partition():
    """Ordinals 3 and 2 are replaced, 3 first; a new one is posted when the object of the old one has gone."""
    load = one_app(AppKind.STATEFUL_SET, 4, StatefulSetOptions(partition=2), [Change(30.0, 0, Roll(1))], revisions=2)
    pods = simulate(exact(horizon_s=120, **FAST), load, seed=1).pods
    running = pods[pods["phase"] == "Running"]
    assert sorted(running["template"]) == [0, 0, 1, 1]
    gone = pods[pods["phase"] == "Deleted"].sort_values("delete_requested_s")
    assert gone.index.tolist() == [3, 2]
    new = pods[pods["template"] == 1].sort_values("created_s")
    assert (new["post_sent_s"].to_numpy() >= gone["gone_s"].to_numpy()).all()
    assert gone["delete_requested_s"].iloc[1] > new["running_s"].iloc[0]


def test_a_stateful_set_shrinks_from_the_end():
    load = one_app(AppKind.STATEFUL_SET, 4, changes=[Change(30.0, 0, Scale(2))])
    pods = simulate(exact(horizon_s=120, **FAST), load, seed=1).pods
    gone = pods[pods["phase"] == "Deleted"].sort_values("delete_requested_s")
    assert gone.index.tolist() == [3, 2]
    assert gone["delete_requested_s"].iloc[1] > gone["gone_s"].iloc[0]


def test_a_daemon_set_has_one_pod_a_node():
    scenario = exact(horizon_s=60, nodes__pools__general__count=7, **FAST)
    pods = simulate(scenario, one_app(AppKind.DAEMON_SET, 7), seed=1).pods
    assert (pods["phase"] == "Running").all()
    assert sorted(pods["node"]) == [f"general-{number}" for number in range(7)]


def test_a_daemon_set_is_updated_node_by_node():
    """maxUnavailable 1 of 4: an old pod goes when all others are ready; its successor comes when it has gone."""
    scenario = exact(horizon_s=200, nodes__pools__general__count=4, **FAST)
    load = one_app(AppKind.DAEMON_SET, 4, DaemonSetOptions(), [Change(20.0, 0, Roll(1))], revisions=2)
    pods = simulate(scenario, load, seed=1).pods
    running = pods[pods["phase"] == "Running"]
    assert sorted(running["node"]) == [f"general-{number}" for number in range(4)]
    assert running["created_s"].min() > 20
    moments = pods[["delete_requested_s", "running_s"]].stack()
    assert min(ready(pods, at_s) for at_s in moments[moments > 19]) == 3


@pytest.mark.parametrize("kind", [AppKind.STATEFUL_SET, AppKind.DAEMON_SET])
def test_deleted_pods_go_with_their_owner(kind):
    scenario = exact(horizon_s=120, nodes__pools__general__count=3, **FAST)
    pods = simulate(scenario, one_app(kind, 3, end_s=40.0), seed=1).pods
    assert (pods["phase"] == "Deleted").all()
