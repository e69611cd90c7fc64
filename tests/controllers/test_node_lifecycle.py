"""Nodes that fall silent: marks, taints and evictions at the real times and rates."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from sim.controllers.node_lifecycle_rules import (
    UNREACHABLE_NO_EXECUTE,
    ZoneState,
    evicted_after_s,
    eviction_rate_per_s,
    zone_state,
)
from sim.state.objects import Toleration
from sim.workload import AppKind
from tests.controllers.loads import one_app, run
from tests.worked.scenarios import exact

FAST = {"controllers__qps": 1000, "controllers__burst": 1000}


@pytest.mark.parametrize(
    ("ready", "silent", "state"),
    [
        (10, 0, ZoneState.NORMAL),
        (0, 1, ZoneState.FULL),
        (1, 2, ZoneState.NORMAL),  # two are never a disruption
        (2, 3, ZoneState.PARTIAL),  # 60 %
        (5, 6, ZoneState.NORMAL),  # 54.5 %
        (9, 11, ZoneState.PARTIAL),  # 55 %
        (0, 0, ZoneState.NORMAL),
    ],
)
def test_zone_states(ready, silent, state):
    assert zone_state(ready, silent, 0.55) is state


@pytest.mark.parametrize(
    ("state", "nodes", "all_disrupted", "rate"),
    [
        (ZoneState.NORMAL, 10, False, 0.1),
        (ZoneState.PARTIAL, 51, False, 0.01),
        (ZoneState.PARTIAL, 50, False, 0.0),
        (ZoneState.FULL, 10, False, 0.1),  # other zones are heard of: it is this zone's fault
        (ZoneState.FULL, 10, True, 0.0),
    ],
)
def test_eviction_rates(state, nodes, all_disrupted, rate):
    assert eviction_rate_per_s(state, nodes, all_disrupted, 0.1, 0.01, 50) == rate


def test_how_long_pods_stay():
    key = UNREACHABLE_NO_EXECUTE.key
    assert evicted_after_s((), UNREACHABLE_NO_EXECUTE) == 0
    assert evicted_after_s((Toleration(key, "Exists", "", "NoExecute", 300),), UNREACHABLE_NO_EXECUTE) == 300
    assert evicted_after_s((Toleration(key, "Exists", "", "NoExecute"),), UNREACHABLE_NO_EXECUTE) == inf
    both = (Toleration(key, "Exists", "", "NoExecute", 300), Toleration("", "Exists", "", "", 60))
    assert evicted_after_s(both, UNREACHABLE_NO_EXECUTE) == 60


def crash(nodes: int, down_s: float = 1e6, names: tuple[str, ...] = ("general-0",), zones=("zone-1",), **sets: object):
    fault = {"type": "node-crash", "at_s": [100.0], "nodes": list(names), "down_s": down_s}
    return exact(
        horizon_s=1000,
        nodes__pools__general__count=nodes,
        nodes__pools__general__zones=list(zones),
        kubelet__lease_period_s=10,
        faults=[fault],
        **FAST,
        **sets,
    )


def test_a_dead_nodes_pods_are_replaced_after_340_seconds():
    """Down at 100 s. Its last renewal lies up to 10 s back, the monitor saw it at most 5 s later, misses it for 40 s: marked
    between 130 and 145 s. The pods' toleration lasts 300 s from the taint: evicted 300 s and a few requests after it, replaced
    at once; the old ones' objects stay, as no kubelet answers."""
    cluster = run(crash(4), one_app(AppKind.SERVICE, 8), 600.0)
    lifecycle = cluster.controllers.node_lifecycle
    marked_s = lifecycle._unreachable[0]
    assert 130 <= marked_s <= 145
    columns = cluster.pods.columns()
    dead = (columns["node"] == 0) & (columns["created_s"] < 100)
    assert dead.sum() == 2
    evicted_s = columns["delete_requested_s"][dead]
    # UPDATE of the node (8.5 ms: 5 ms work, 3.5 ms etcd), then the taint against new pods and that of evictions, one request
    # each; the zone's queue is tried at once; then the event's and the DELETE's way
    assert ((evicted_s > marked_s + 300) & (evicted_s < marked_s + 300.2)).all()
    assert np.isnan(columns["gone_s"][dead]).all()
    new = columns["created_s"] > 400
    assert new.sum() == 2
    assert (columns["node"][new] != 0).all()


def test_a_node_that_returns_in_time_keeps_its_pods():
    """Down for 20 s: nobody notices. Down for 120 s: marked and tainted, but back before its pods' toleration is over."""
    for down_s in (20.0, 120.0):
        cluster = run(crash(4, down_s), one_app(AppKind.SERVICE, 8), 900.0)
        assert cluster.controllers.node_lifecycle.evicted == 0
        assert not cluster.controllers.node_lifecycle._unreachable
        assert cluster.park.spec(0).taints == ()
        assert cluster.pods.rows == 8
        (replicaset,) = cluster.controllers.replicasets.sets.values()
        assert len(replicaset.ready) == 8


def test_nodes_of_a_healthy_zone_are_emptied_one_in_ten_seconds():
    """4 of 12 nodes die together: less than 55 %. They are marked at one look of the monitor or the next, and their pods are
    evicted 10 s apart, node by node."""
    names = tuple(f"general-{number}" for number in range(4))
    cluster = run(crash(12, names=names), one_app(AppKind.SERVICE, 24), 700.0)
    columns = cluster.pods.columns()
    dead = (columns["node"] < 4) & (columns["created_s"] < 100)
    assert dead.sum() == 8
    first = [columns["delete_requested_s"][dead & (columns["node"] == node)].min() for node in range(4)]
    gaps = np.diff(np.sort(first))
    assert (gaps >= 9.9).all()
    assert (gaps <= 10.5).all()


def test_a_small_zone_in_trouble_is_left_alone():
    """4 of 6 nodes of the only zone die: 67 %, and fewer than 50 nodes: nobody is evicted any more. The node that was missed
    first was tainted while the zone still looked healthy; its two pods go."""
    names = tuple(f"general-{number}" for number in range(4))
    cluster = run(crash(6, names=names), one_app(AppKind.SERVICE, 12), 900.0)
    assert cluster.controllers.node_lifecycle.evicted == 2
    assert len(cluster.controllers.node_lifecycle._unreachable) == 4


def test_when_nobody_is_heard_of_nobody_is_evicted():
    """All nodes of both zones: the controller takes its taints back."""
    names = tuple(f"general-{number}" for number in range(4))
    cluster = run(crash(4, names=names, zones=("zone-1", "zone-2")), one_app(AppKind.SERVICE, 8), 900.0)
    assert cluster.controllers.node_lifecycle.evicted == 0
    assert not cluster.controllers.node_lifecycle._tainted


def test_daemons_stay_on_silent_nodes():
    cluster = run(crash(4), one_app(AppKind.DAEMON_SET, 4), 900.0)
    assert cluster.controllers.node_lifecycle.evicted == 0
    assert cluster.pods.rows == 4


def test_without_eviction_taints_pods_are_deleted_five_minutes_after_the_last_renewal_seen():
    """As in 1.12: not 300 s after the mark (340 after the renewal) but 300 s after it, at the monitor's next look; daemons stay;
    a toleration without an end does not help."""
    cluster = run(crash(4, controllers__node_lifecycle__pod_eviction_timeout_s=300), one_app(AppKind.SERVICE, 8), 600.0)
    lifecycle = cluster.controllers.node_lifecycle
    columns = cluster.pods.columns()
    dead = (columns["node"] == 0) & (columns["created_s"] < 100)
    evicted_s = columns["delete_requested_s"][dead]
    assert len(evicted_s) == 2
    seen_s = lifecycle._seen_s[0]
    assert 90 <= seen_s <= 105
    assert ((evicted_s > seen_s + 300) & (evicted_s < seen_s + 300.3)).all()
    assert lifecycle.evicted == 2
    assert all(taint.effect == "NoSchedule" for taint in cluster.park.spec(0).taints)
    daemons = run(
        crash(4, controllers__node_lifecycle__pod_eviction_timeout_s=300), one_app(AppKind.DAEMON_SET, 4), 600.0
    )
    assert daemons.controllers.node_lifecycle.evicted == 0
