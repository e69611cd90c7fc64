"""Each conservation law catches a run that breaks it: a finished cluster, one number changed, the law that must speak."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.base.errors import InvariantError
from sim.base.rand import Streams
from sim.invariants import check_invariants
from sim.simulate import Cluster
from sim.state.pods import Phase
from sim.workload import AppKind
from tests.worked.scenarios import exact, load_of


@pytest.fixture
def cluster() -> Cluster:
    """Two nodes of 8 CPUs, 12 pods of 1 CPU that run, under a quota that they fill."""
    scenario = exact(nodes__pools__general__count=2, tenants__quota={"pods": "12", "requests.cpu": "12"})
    load = load_of((1.0, AppKind.POD, 12), cpu_millicores=1000)
    cluster = Cluster(scenario, load, Streams(1))
    cluster.clock.run_until(30.0)
    cluster.sampler.sample()
    check_invariants(cluster)
    assert (cluster.pods.columns()["phase"] == Phase.RUNNING).all()
    return cluster


def a_phase_that_is_none(cluster: Cluster) -> None:
    cluster.pods.ids["phase"][3] = len(Phase)


def a_stage_that_ends_before_it_starts(cluster: Cluster) -> None:
    cluster.pods.times["bound_s"][3] = cluster.pods.times["bind_sent_s"][3] - 0.001


def a_moment_that_has_not_come(cluster: Cluster) -> None:
    cluster.pods.times["watched_s"][3] = cluster.clock.now + 0.001


def an_end_of_a_pod_that_runs(cluster: Cluster) -> None:
    cluster.pods.times["gone_s"][3] = cluster.clock.now


def a_final_phase_without_an_end(cluster: Cluster) -> None:
    cluster.pods.ids["phase"][3] = Phase.SUCCEEDED


def pods_of_both_nodes_on_one(cluster: Cluster) -> None:
    for pod in range(12):
        cluster.pods.ids["node"][pod] = 0


def cores_busier_than_there_are(cluster: Cluster) -> None:
    cluster.machines["control-plane"].meter.in_use_s += 1000 * cluster.clock.now


def a_node_busier_than_its_cores(cluster: Cluster) -> None:
    next(iter(cluster.kubelets.nodes.values())).machine.meter.in_use_s += 1000 * cluster.clock.now


def a_quota_released_twice(cluster: Cluster) -> None:
    cluster.pod_control.release(3)


def a_quota_over_its_limit(cluster: Cluster) -> None:
    cluster.quotas.of["tenant-1"][0].used["pods"] += 1


def an_image_stored_that_was_not_sent(cluster: Cluster) -> None:
    cluster.images.stored_bytes += 1


def a_layer_lost_from_a_node(cluster: Cluster) -> None:
    next(iter(cluster.images.stores.values())).layers.clear()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (a_phase_that_is_none, "12 asked for, phases hold"),
        (a_stage_that_ends_before_it_starts, "1 end the stage 'bind request' before it starts, the first is pod 3"),
        (a_moment_that_has_not_come, "watched_s of 1 pods lies after the end"),
        (an_end_of_a_pod_that_runs, "gone_s and the final phases disagree"),
        (a_final_phase_without_an_end, "gone_s and the final phases disagree"),
        (pods_of_both_nodes_on_one, "nodes: 1 are over their allocatable cpu, the first is general-0: 12000 of 8000"),
        (cores_busier_than_there_are, "control-plane cores: "),
        (a_node_busier_than_its_cores, "general-"),
        (a_quota_released_twice, "quota tenant-1: pods used 11, live pods 12, limit 12"),
        (a_quota_over_its_limit, "quota tenant-1: pods used 13, live pods 12, limit 12"),
        (an_image_stored_that_was_not_sent, "images: "),
        (a_layer_lost_from_a_node, "not whole: ['app']"),
    ],
)
def test_damage_is_found(cluster: Cluster, damage: Callable[[Cluster], None], says: str) -> None:
    damage(cluster)
    with pytest.raises(InvariantError) as caught:
        check_invariants(cluster)
    assert says in str(caught.value)
