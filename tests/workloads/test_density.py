"""Kubernetes' density test as a workload, by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from sim.base.errors import InputError, Problems
from sim.base.rand import Streams
from sim.workload import AppKind, Setting
from workloads import Density

MakeSetting = Callable[..., Setting]


def test_one_deployment_a_namespace(setting: MakeSetting) -> None:
    """250 nodes of 30 pods: namespaces of 100, 100 and 50 nodes; at 100 pods a second one deployment in 30 s."""
    load = Density(rate_per_s=100).build(setting(nodes=250), Streams(1))
    assert load.app_time_s.tolist() == [0, 30, 60]
    assert load.app_pods.tolist() == [3000, 3000, 1500]
    assert [load.templates[row].namespace for row in load.app_template.tolist()] == [
        "density-1",
        "density-2",
        "density-3",
    ]
    assert set(load.app_kind.tolist()) == {AppKind.SERVICE}
    assert load.owners() == {f"density-{i}": "density" for i in (1, 2, 3)}
    spec = load.templates[0]
    assert spec.containers[0].requests == (("cpu", 1), ("memory", 10_000_000))
    assert spec.containers[0].image == "web"  # the most popular
    assert [(each.key, each.toleration_s) for each in spec.tolerations] == [
        ("node.kubernetes.io/not-ready", 900),
        ("node.kubernetes.io/unreachable", 900),
    ]


def test_smaller_deployments(setting: MakeSetting) -> None:
    """15 nodes of 2 pods, 10 nodes a namespace, deployments of 8: 8 + 8 + 4 pods, then 8 + 2."""
    load = Density(pods_per_node=2, nodes_per_namespace=10, replicas=8, rate_per_s=1).build(
        setting(nodes=15), Streams(1)
    )
    assert load.app_pods.tolist() == [8, 8, 4, 8, 2]
    assert load.app_time_s.tolist() == [0, 8, 16, 20, 28]
    assert load.app_template.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("nodes", "per_node", "share", "replicas"), [(1, 1, 1, 1), (7, 3, 2, 4), (13, 30, 100, 7), (5, 2, 5, 99)]
)
def test_every_node_gets_its_pods(setting: MakeSetting, nodes: int, per_node: int, share: int, replicas: int) -> None:
    """Against a plain count: pod after pod into namespaces and deployments."""
    load = Density(pods_per_node=per_node, nodes_per_namespace=share, replicas=replicas, rate_per_s=50).build(
        setting(nodes=nodes), Streams(1)
    )
    deployments: list[list[int]] = []
    for pod in range(nodes * per_node):
        namespace, within = divmod(pod, share * per_node)
        if within % replicas == 0:
            deployments.append([pod, namespace, 0])
        deployments[-1][2] += 1
    assert load.app_pods.tolist() == [count for _, _, count in deployments]
    assert load.app_template.tolist() == [namespace for _, namespace, _ in deployments]
    np.testing.assert_allclose(load.app_time_s, [first / 50 for first, _, _ in deployments])


def test_latency_pods_follow_the_fill(setting: MakeSetting) -> None:
    load = Density(pods_per_node=10, rate_per_s=10, latency_pods=3).build(setting(nodes=20), Streams(1))
    assert load.app_time_s.tolist() == [0, 20, 20.2, 20.4]
    assert load.app_pods.tolist() == [200, 1, 1, 1]
    spec = load.templates[load.app_template[1]]
    assert dict(spec.labels)["group"] == "latency"
    assert spec.containers[0].requests == (("cpu", 100), ("memory", 350_000_000))
    early = Density(pods_per_node=10, rate_per_s=10, latency_pods=1, latency_start_s=5).build(
        setting(nodes=20), Streams(1)
    )
    assert early.app_time_s.tolist() == [0, 5]


def test_what_does_not_fit_the_horizon_is_not_asked_for(setting: MakeSetting) -> None:
    load = Density(rate_per_s=100).build(setting(nodes=250, horizon_s=31.0), Streams(1))
    assert load.app_pods.tolist() == [3000, 3000]
    assert load.pods == 6000


def test_bad_scenarios(setting: MakeSetting) -> None:
    problems = Problems("scenario")
    Density(image="wep").check(setting(nodes=0), "workload", problems)
    assert [str(problem) for problem in problems.found] == [
        "workload.image: 'wep' is no image of the scenario; did you mean 'web'?",
        "workload: 0 nodes are none to fill; give the scenario node pools",
    ]
    with pytest.raises(InputError, match="more than 20,000,000"):
        Density(pods_per_node=10_000).build(setting(nodes=100_000), Streams(1))
