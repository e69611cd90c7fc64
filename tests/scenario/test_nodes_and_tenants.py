"""Pools become nodes, tenants become namespaces with quotas: worked examples."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.nodes import NodesSpec, PoolSpec, TaintSpec
from sim.scenario import Scenario
from sim.state.objects import NodeSpec, Taint, quantities
from sim.tenancy.spec import TenantsSpec


def test_counts_become_weights_by_largest_remainder() -> None:
    """10 nodes for 5 : 3 : 1 are 5.56, 3.33 and 1.11: 5 + 3 + 1, and the one left goes to the largest remainder."""
    pools = {"a": PoolSpec(count=5), "b": PoolSpec(count=3), "c": PoolSpec(count=1)}
    assert NodesSpec(pools=pools).pool_counts() == {"a": 5, "b": 3, "c": 1}
    assert NodesSpec(pools=pools, count=10).pool_counts() == {"a": 6, "b": 3, "c": 1}


def test_equal_remainders_go_to_the_first_pool() -> None:
    pools = {"b": PoolSpec(), "a": PoolSpec()}
    assert NodesSpec(pools=pools, count=3).pool_counts() == {"b": 2, "a": 1}


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=6).filter(any), st.integers(1, 10**6))
def test_shares_add_up_and_are_within_one_of_exact(weights: list[int], count: int) -> None:
    nodes = NodesSpec(count=count, pools={f"p{i}": PoolSpec(count=weight) for i, weight in enumerate(weights)})
    counts = list(nodes.pool_counts().values())
    assert sum(counts) == count
    assert all(
        abs(got * sum(weights) - count * weight) < sum(weights) for got, weight in zip(counts, weights, strict=True)
    )


def test_nodes_say_what_their_pool_says() -> None:
    pool = PoolSpec(
        count=3, allocatable={"cpu": "3500m", "nvidia.com/gpu": 2}, zones=("x", "y"), region="r",
        labels={"size": "big"}, taints=(TaintSpec(key="gpu"),),
    )  # fmt: skip
    first, second, third = NodesSpec(pools={"gpu": pool}).build()
    assert [node.spec.name for node in (first, second, third)] == ["gpu-0", "gpu-1", "gpu-2"]
    assert [node.zone for node in (first, second, third)] == ["x", "y", "x"]
    assert dict(second.spec.labels) == {
        "kubernetes.io/hostname": "gpu-1", "size": "big",
        "topology.kubernetes.io/zone": "y", "topology.kubernetes.io/region": "r",
    }  # fmt: skip
    assert dict(first.spec.allocatable) == {"cpu": 3500, "memory": 32 * 2**30, "pods": 110, "nvidia.com/gpu": 2}
    assert first.spec.taints == (Taint("gpu", "", "NoSchedule"),)
    assert (first.pool, first.cores) == ("gpu", 3.5)
    assert NodesSpec(pools={"p": PoolSpec(cores=64)}).build()[0].cores == 64


def test_zone_labels_follow_the_version() -> None:
    """Well-known labels: topology.kubernetes.io since 1.17, failure-domain.beta.kubernetes.io before."""
    for version, expected in {"1.12": {"failure-domain.beta"}, "1.20": {"failure-domain.beta", "topology"}}.items():
        node = Scenario(kubernetes=version).nodes.build()[0]
        assert {key.split(".kubernetes.io")[0] for key, _ in node.spec.labels if key.endswith("/zone")} == expected


def test_recorded_nodes_are_taken_as_they_are() -> None:
    recorded = NodeSpec("n1", (("topology.kubernetes.io/zone", "z"),), allocatable=quantities({"cpu": 96000}))
    (node,) = NodesSpec(from_workload=True).build([recorded])
    assert node.spec is recorded
    assert (node.zone, node.cores) == ("z", 96)


def test_tenants_by_zipf() -> None:
    """Exponent 1 over 4 tenants: 1, 1/2, 1/3, 1/4, together 25/12."""
    tenants = TenantsSpec(count=4).build()
    assert [tenant.share for tenant in tenants] == pytest.approx([12 / 25, 6 / 25, 4 / 25, 3 / 25])
    assert [tenant.namespaces for tenant in tenants] == [("tenant-1",), ("tenant-2",), ("tenant-3",), ("tenant-4",)]
    assert {tenant.share for tenant in TenantsSpec(count=4, zipf_exponent=0).build()} == {0.25}


def test_overrides_replace_what_they_name() -> None:
    spec = TenantsSpec.model_validate({
        "count": 3, "namespaces_per_tenant": 2, "zipf_exponent": 0,
        "quota": {"pods": 10, "requests.cpu": "1500m", "requests.memory": "1Gi"},
        "overrides": {"tenant-2": {"weight": 2, "namespaces": 1, "quota": {"pods": 5}}, "tenant-3": {"quota": {}}},
    })  # fmt: skip
    first, second, third = spec.build()
    assert first.namespaces == ("tenant-1-1", "tenant-1-2")
    assert first.hard == {"pods": 10, "requests.cpu": 1500, "requests.memory": 2**30}
    assert (second.namespaces, second.hard, second.share) == (("tenant-2",), {"pods": 5}, 0.5)
    assert third.hard == {}


def test_the_setting_is_what_the_scenario_says() -> None:
    scenario = Scenario.load("public-cloud")
    setting = scenario.setting()
    assert (setting.nodes, setting.horizon_s, len(setting.tenants), len(setting.images)) == (1000, 600, 50, 40)
    assert setting.tenant_weight.sum() == pytest.approx(1)
    zones = Counter(node.zone for node in scenario.nodes.build())  # 800 nodes by turns and 200 by turns
    assert zones == {"zone-1": 267 + 67, "zone-2": 267 + 67, "zone-3": 266 + 66}
    assert max(image.size_bytes for image in scenario.images.values()) <= 1.5 * 2**30
