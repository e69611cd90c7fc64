"""Time to make a load: whole seconds must not pass before a run begins. Minimum of some repeats, one core."""

import time
from collections.abc import Callable

import pytest

from sim.base.rand import Streams
from sim.workload import Load, Setting, WorkloadSpec
from workloads import Density, Poisson

MakeSetting = Callable[..., Setting]


def fastest(workload: WorkloadSpec, setting: Setting, repeats: int = 3) -> tuple[float, Load]:
    """(seconds of the fastest build, its load)."""
    best = float("inf")
    for _ in range(repeats):
        begun = time.perf_counter()
        load = workload.build(setting, Streams(1))
        best = min(best, time.perf_counter() - begun)
    return best, load


@pytest.mark.bench
@pytest.mark.parametrize(
    ("workload", "nodes", "pods", "limit_s"),
    [
        (Density(rate_per_s=100), 5_000, 150_000, 0.5),
        (Density(rate_per_s=1000), 100_000, 3_000_000, 1.0),
        (Poisson(rate_per_s=250), 1, 150_000, 0.5),
        (Poisson(rate_per_s=1667), 1, 1_000_000, 3.0),
    ],
    ids=["density-150k", "density-3M", "poisson-150k", "poisson-1M"],
)
def test_loads_are_made_quickly(
    setting: MakeSetting, workload: WorkloadSpec, nodes: int, pods: int, limit_s: float
) -> None:
    """Limits are many times what a quiet machine needs: they catch a loop over pods, not a busy neighbour."""
    seconds, load = fastest(workload, setting(nodes=nodes, horizon_s=1e9 if isinstance(workload, Density) else 600.0))
    print(f"{load.pods:,} pods in {seconds:.3f} s, {seconds / load.pods * 1e9:.0f} ns a pod")
    assert load.pods == pytest.approx(pods, rel=0.02)
    assert seconds < limit_s
