"""Kubernetes' load test: sizes, pace and phases as its description has them, and a run of it."""

from __future__ import annotations

import numpy as np
import pytest

import sim
from sim.base.errors import InputError
from sim.base.rand import Streams
from sim.scenario import Scenario
from workloads.kinds.load import LoadTest


def cluster(**values: object) -> Scenario:
    return Scenario.load("quick", {
        "nodes.pools.general.count": 50, "horizon_s": 2_000, "images": {}, "workload": {"type": "load", **values},
    })


def test_three_sizes_share_the_pods_by_their_parts() -> None:
    load = LoadTest().build(cluster().setting(), Streams(1))
    sizes, counts = np.unique(load.app_pods, return_counts=True)
    assert sizes.tolist() == [5, 30, 250]
    assert (sizes * counts).tolist() == pytest.approx([750, 375, 375], abs=125)  # half, a quarter, a quarter of 1,500


def test_each_phase_keeps_its_pace_and_waits_for_the_one_before() -> None:
    spec = LoadTest(rate_per_s=20, delete_rate_per_s=40, settle_s=15)
    load = spec.build(cluster().setting(), Streams(1))
    total = int(load.app_pods.sum())
    assert load.app_time_s[-1] + load.app_pods[-1] / 20 == pytest.approx(total / 20)
    assert load.changes[0].at_s == pytest.approx(total / 20 + 15)
    assert len(load.changes) == len(load.app_pods)
    wanted = np.array([change.what.replicas for change in load.changes])
    assert (wanted >= load.app_pods * 0.5 - 0.5).all()
    assert (wanted <= load.app_pods * 1.5 + 0.5).all()
    assert load.app_end_s[0] == pytest.approx(2 * (total / 20 + 15))
    assert np.diff(load.app_end_s) == pytest.approx(wanted[:-1] / 40)


def test_too_few_nodes_for_any_deployment_are_refused() -> None:
    with pytest.raises(InputError, match="too few for a single deployment"):
        cluster(pods_per_node=1).replace({"nodes.pools.general.count": 4}).check()


def test_every_pod_runs_is_rescaled_and_goes() -> None:
    result = sim.simulate(cluster(rate_per_s=60, delete_rate_per_s=60, settle_s=20).replace({
        "nodes.pools.general.count": 34, "horizon_s": 260, "scheduler.qps": 500, "controllers.qps": 500}))
    pods = result.pods
    assert len(pods) > 1_000
    assert pods["startup_s"].notna().sum() > 0.95 * 1_000
    assert result.series["pods_running"].max() > 900
    assert result.series["pods_running"].iloc[-1] < 0.1 * result.series["pods_running"].max()
