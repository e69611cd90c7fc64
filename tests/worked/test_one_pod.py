"""One pod's way on an idle cluster, every timestamp derived from the scenario's constants."""

from __future__ import annotations

from math import ceil, floor

import numpy as np
import pytest

from sim.base.rand import Streams
from sim.simulate import Cluster, simulate
from sim.state.pods import Phase
from sim.workload import AppKind
from tests.worked.scenarios import MS, exact, load_of

STEPS = {"namespace_s": 6 * MS, "veth_s": 4 * MS, "ipam_s": 1 * MS, "attach_s": 1 * MS, "links_up_s": 1 * MS, "address_s": 1 * MS,
         "routes_s": 1 * MS, "port_s": 0, "noise": 1}
"""The plug-in's steps under the kernel's lock: 15 ms in all."""
PUT = (1 + 0.5 + 2) * MS
"""One write alone: batch and put work on the leader, then one fsync."""
HEAR = (1 + 0.5) * MS
"""A change reaches its watchers: encoded for all of them side by side, then the wire."""
REPORT = (2 + 3 + 5) * MS + PUT
"""A status update: GET (API server, etcd range), then PATCH (API server, etcd write)."""


@pytest.fixture(scope="module")
def one():
    scenario = exact(network__cni__setup_cpu_s=10 * MS, network__cni__steps=STEPS)
    load = load_of((1.0, AppKind.POD, 1), duration_s=10.0)
    result = simulate(scenario, load, seed=5)
    return result.pods.iloc[0], Cluster(scenario, load, Streams(5)).kubelets.node(0)


def test_control_plane_part(one):
    pod, _ = one
    at = {"requested_s": 1.0, "post_sent_s": 1.0}
    at["created_s"] = 1.0 + 10 * MS + PUT  # no quota, no other load: API server work, then the write
    at["queued_s"] = at["created_s"] + HEAR
    at["popped_s"] = at["queued_s"]  # the scheduler is idle
    at["scheduled_s"] = at["popped_s"] + 4 * MS
    at["bind_sent_s"] = at["scheduled_s"]  # tokens are there
    at["bound_s"] = at["bind_sent_s"] + 8 * MS + PUT
    at["kubelet_seen_s"] = at["bound_s"] + HEAR
    for name, expected in at.items():
        assert pod[name] == pytest.approx(expected, abs=1e-9), name


def test_node_part(one):
    pod, node = one
    at = {"worker_started_s": pod["kubelet_seen_s"] + 1 * MS}
    at["volumes_ready_s"] = at["worker_started_s"] + 5 * MS + 300 * MS
    at["network_started_s"] = at["volumes_ready_s"]  # containerd attaches the network first
    at["network_ready_s"] = at["network_started_s"] + (10 + 15) * MS
    at["sandbox_ready_s"] = at["network_ready_s"] + (20 + 80) * MS
    at["pull_started_s"] = at["sandbox_ready_s"]
    # 50 MB: round trips, then one flow held to the node's 100 MB/s (the registry could send 200), then unpacking at 1 GB/s
    at["pull_ready_s"] = at["pull_started_s"] + (50 + 500 + 50) * MS
    at["containers_started_s"] = at["pull_ready_s"] + (30 + 70) * MS
    for name, expected in at.items():
        assert pod[name] == pytest.approx(expected, abs=1e-8), name
    # The next PLEG relist: the node's phase, then every second.
    phase = node.relist_phase_s
    relist = phase + ceil((pod["containers_started_s"] - phase) / 1.0)
    assert pod["observed_s"] == pytest.approx(relist, abs=1e-8)
    assert pod["running_s"] == pytest.approx(relist + REPORT, abs=1e-8)
    assert pod["watched_s"] == pytest.approx(relist + REPORT + HEAR, abs=1e-8)


def test_end_part(one):
    pod, node = one
    finished = pod["containers_started_s"] + 10.0
    assert pod["finished_s"] == pytest.approx(finished, abs=1e-8)
    relist = node.relist_phase_s + floor(finished - node.relist_phase_s) + 1
    detach = node_delete_s()
    assert pod["gone_s"] == pytest.approx(relist + detach + REPORT, abs=1e-8)
    assert pod["phase"] == Phase.SUCCEEDED.name.capitalize()


def node_delete_s() -> float:
    """Time of one CNI DEL on an idle node: the plug-in's own figure."""
    from sim.network.cni import CNI

    plugin = CNI["bridge"]()
    return float(plugin.delete_lock_s + plugin.delete_grace_s)


def test_idle_stages_cost_nothing(one):
    pod, _ = one
    assert pod["attempts"] == 1
    assert not np.isnan(pod["watched_s"])
