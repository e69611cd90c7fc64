"""A 3 GB image to 2,600 nodes from peer to peer in 30 s, and what images cost a run that hardly pulls."""

from __future__ import annotations

import cProfile
import pstats
import time

import pytest

from sim.scenario import Scenario
from sim.simulate import simulate

pytestmark = pytest.mark.bench


def test_a_large_image_to_2600_nodes() -> None:
    """The run's own processor time: the bound is for an idle machine."""
    scenario = Scenario.load(
        "quick",
        {
            "horizon_s": 120,
            "sample_period_s": 5,
            "nodes.count": 2600,
            "nodes.pools.general.allocatable": {"cpu": 8, "memory": "32Gi", "pods": 1},
            "machines.control-plane.cores": 32,
            "scheduler": {"qps": 5000, "burst": 5000},
            "controllers": {"qps": 5000, "burst": 5000},
            "images": {
                "base": None,
                "server": None,
                "big": {"size_bytes": "3GB", "layers": [{"digest": "l", "size_bytes": "1500MB"}]},
            },
            "registry": {"type": "kraken", "unpack_bytes_per_s": 1e9},
            "kubelet.images.dirty_bytes": "20Gi",
            "workload": {"type": "density", "pods_per_node": 1, "rate_per_s": 2600},
        },
    )
    simulate(scenario.replace({"nodes.count": 3, "horizon_s": 10}))  # compiles
    begun = time.process_time()
    result = simulate(scenario)
    assert time.process_time() - begun < 30
    assert (result.pods["phase"] == "Running").all()
    assert result.record.counters["image_bytes"] == 2600 * 3_000_000_000


def test_images_that_are_there_cost_next_to_nothing() -> None:
    """Function calls in sim/images are under a hundredth of a run in which few pods pull."""
    scenario = Scenario.load("public-cloud", {"horizon_s": 30, "warm_up_s": 5})
    simulate(scenario)
    profile = cProfile.Profile()
    profile.runcall(simulate, scenario)
    calls = {"images": 0, "all": 0}
    for (file, _, _), (_, count, *_) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        calls["all"] += count
        calls["images"] += count if "/sim/images/" in file else 0
    assert calls["images"] < 0.01 * calls["all"], calls
