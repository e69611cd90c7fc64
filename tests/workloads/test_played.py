"""Loads played by the simulator: every tenant and namespace a load brings is served, and no end is counted twice."""

from pathlib import Path

import numpy as np
import pytest

from sim.result.result import Result
from sim.scenario import Scenario
from sim.simulate import simulate
from sim.workload import WorkloadSpec
from workloads import Density, FromManifests, Openb, Stream, Synthetic

DATA = Path(__file__).parent / "data"


def play(workload: WorkloadSpec, own_nodes: bool = False, horizon_s: float = 60.0) -> Result:
    """The load on five nodes, or on those that it brings."""
    nodes = {"from_workload": True} if own_nodes else {"pools": {"default": {"count": 5}}}
    return simulate(Scenario(horizon_s=horizon_s, nodes=nodes, workload=workload))


def phases(result: Result) -> dict[str, int]:
    return {phase: count for phase, count in result.pods["phase"].value_counts().to_dict().items() if count}


def test_namespaces_of_the_density_test_may_be_used() -> None:
    assert phases(play(Density(pods_per_node=8, rate_per_s=20, replicas=10))) == {"Running": 40}


def test_tenants_and_nodes_of_manifests() -> None:
    workload = FromManifests(paths=str(DATA / "shop.yaml"), job_duration_s=5)
    result = play(workload, own_nodes=True)
    assert phases(result) == {"Running": 4, "Succeeded": 4}
    assert set(result.pods["tenant"].astype(str)) == {"shop", "tenant-1-a"}


def test_quotas_of_manifests_hold(tmp_path: Path) -> None:
    text = (DATA / "shop.yaml").read_text().replace('pods: "10"', 'pods: "2"').replace("count/jobs.batch: 4", "cpu: 9")
    (tmp_path / "shop.yaml").write_text(text)
    workload = FromManifests(paths=str(tmp_path / "shop.yaml"))
    result = play(workload, own_nodes=True)
    shop = result.pods[result.pods["namespace"] == "shop"]
    assert int((shop["phase"] == "Running").sum()) == 2  # of four


def test_the_small_trace_on_its_own_nodes() -> None:
    """Compressed twofold. At 175 s pod-gave-up wants a GPU and 18.7 cores: node-b's GPUs are all with pod-multi, node-c
    has 16 cores, node-d's GPUs are with pod-early and the best-effort pod-done, which it preempts; at 250 s its user
    deletes it. pod-early and pod-cpu still run when the recording ends."""
    workload = Openb(nodes_csv=str(DATA / "nodes.csv"), pods_csv=str(DATA / "pods.csv"), time_compression=2.0)
    result = play(workload, own_nodes=True, horizon_s=600.0)
    ends = dict(
        zip(["early", "done", "failed", "multi", "gave-up", "cpu"], result.pods["phase"].astype(str), strict=True)
    )
    assert ends == {
        "early": "Running",
        "done": "Deleted",
        "failed": "Succeeded",
        "multi": "Succeeded",
        "gave-up": "Deleted",
        "cpu": "Running",
    }


@pytest.mark.parametrize("lifetime_s", [4.0, 7.3])
def test_a_job_deleted_while_it_runs_ends_once(lifetime_s: float) -> None:
    """Run times end before, during and after the kill: each pod ends either by itself or by the deletion."""
    duration_s = {"dist": "uniform", "low": 1, "high": 12}
    application = {"kind": "job", "completions": 10, "lifetime_s": lifetime_s, "duration_s": duration_s}
    stream = Stream(arrivals={"type": "steady", "rate_per_s": 1, "count": 10}, application=application)
    pods = play(Synthetic(streams={"jobs": stream})).pods
    assert len(pods) == 100
    assert set(pods["phase"].astype(str)) <= {"Deleted", "Succeeded"}
    assert not np.any(pods["phase"].eq("Succeeded") & pods["killed_s"].notna())
