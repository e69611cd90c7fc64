"""Eviction under memory and disk pressure, and what a kubelet refuses, on the tiny cluster."""

from __future__ import annotations

import pytest

from sim.kubelet.node import Node
from sim.kubelet.node_admission import admit, release
from sim.kubelet.plan import plan_of
from sim.simulate import simulate
from sim.state.objects import Behaviour, Container, ContainerPort, PodSpec
from sim.state.pods import Phase
from sim.workload import AppKind
from tests.kubelet.bed import container, one_pod
from tests.worked.scenarios import exact, load_of

GIB = 2**30


def grower(name: str, requests_gib: float, gib_per_100_s: float) -> Container:
    course = ((0.0, 0.0), (100.0, gib_per_100_s * GIB))
    return Container(
        name=name,
        requests=(("cpu", 100), ("memory", int(requests_gib * GIB))),
        behaviour=Behaviour(memory_bytes=course, stops_in_s=1.0),
    )


def test_a_growing_pod_is_put_out_at_the_first_look_after_memory_is_short():
    """One pod grows by 0.4 GiB a second on a node that can give 32 GiB (hard threshold included in what the system keeps):
    after 80 s less than the threshold is free; the next look, every 10 s, evicts it with no grace."""
    cluster, node = one_pod(PodSpec(containers=(grower("leak", 1, 40),), restart_policy="Always"))
    cluster.clock.run_until(300)
    started_s = cluster.pods.times["containers_started_s"][0]
    short_s = started_s + 80.0
    phase_s = node.status_phase_s % 10.0
    look_s = short_s + (phase_s - short_s) % 10.0
    assert cluster.pods.ids["phase"][0] == Phase.FAILED
    assert cluster.kubelets.workers.reasons[0] == "Evicted"
    ended_s = cluster.pods.times["gone_s"][0]
    assert look_s < ended_s < look_s + 0.2  # killed at once, network taken down, status stored
    assert cluster.kubelets.workers.eviction.evictions == 1
    assert (node.containers, node.sandboxes, node.admitted_pods) == (0, 0, 0)


def test_the_condition_lasts_five_minutes_longer():
    cluster, node = one_pod(PodSpec(containers=(grower("leak", 1, 40),), restart_policy="Always"))
    heard: list[tuple[float, str, bool]] = []
    cluster.kubelets.workers.eviction.on_condition.append(
        lambda _, name, holds: heard.append((cluster.clock.now, name, holds))
    )
    cluster.clock.run_until(600)
    (on_s, name, _), (off_s, _, holds) = heard
    assert name == "MemoryPressure"
    assert not holds
    assert 300 < off_s - on_s <= 320
    assert not node.conditions


def test_replicas_that_are_evicted_are_replaced():
    """A service's pods leak: the controller replaces each that its node puts out; none is lost."""
    cluster, _ = one_pod(
        PodSpec(containers=(grower("leak", 1, 20),), restart_policy="Always"), kind=AppKind.SERVICE, pods=3
    )
    cluster.clock.run_until(200)
    phases = list(cluster.pods.ids["phase"])
    assert phases.count(Phase.FAILED) >= 1
    assert sum(phase in (Phase.RUNNING, Phase.SCHEDULED, Phase.PENDING) for phase in phases) == 3


def test_pods_that_write_too_much_are_put_out():
    writer = Behaviour(disk_bytes=((0.0, 0.0), (50.0, 95 * GIB)))
    cluster, _ = one_pod(
        PodSpec(containers=(container(behaviour=writer),), restart_policy="Always"),
        **{"kubelet.images.disk_bytes": 100 * GIB, "kubelet.images.other_disk_bytes": 10 * GIB},
    )
    cluster.clock.run_until(200)
    assert cluster.kubelets.workers.reasons == {0: "Evicted"}


def test_a_soft_threshold_gives_time_and_grace():
    """2 GiB free is short after 75 s; 20 s later a pod goes, with the grace that it is allowed."""
    soft = {
        "kubelet.eviction.memory_soft_bytes": 2 * GIB,
        "kubelet.eviction.memory_soft_grace_s": 20,
        "kubelet.eviction.max_pod_grace_s": 5,
    }
    slow = Behaviour(memory_bytes=((0.0, 0.0), (75.0, 30 * GIB + 100 * 2**20), (400.0, 31 * GIB)), stops_in_s=60.0)
    cluster, _ = one_pod(PodSpec(containers=(container(behaviour=slow),), restart_policy="Always"), **soft)
    cluster.clock.run_until(300)
    started_s, gone_s = (cluster.pods.times[name][0] for name in ("containers_started_s", "gone_s"))
    assert 75 + 20 < gone_s - started_s < 75 + 10 + 20 + 10 + 5 + 1
    assert cluster.kubelets.workers.reasons[0] == "Evicted"


def node_of(**allocatable: int) -> Node:
    from experiments.validate.node_bench import a_node
    from sim.kubelet.runtimes import RUNTIMES

    node = a_node(1, 1, RUNTIMES["fake"]())
    node.allocatable = {"cpu": 1000, "memory": GIB, "pods": 3, **allocatable}
    return node


def plan(priority: int = 0, port: int = 0, **requests: int):
    ports = (ContainerPort(port),) if port else ()
    containers = (Container("c", requests=tuple(sorted(requests.items())), ports=ports),)
    return plan_of(PodSpec(containers=containers, priority=priority), False, False, None)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ({"cpu": 600}, {"cpu": 500}, "OutOfcpu"),
        ({"cpu": 600}, {"cpu": 400}, ""),
        ({"memory": GIB}, {"memory": 1}, "OutOfmemory"),
        ({"port": 80}, {"port": 80}, "NodePorts"),
        ({"port": 80}, {"port": 81}, ""),
        ({}, {"gpu": 1}, "OutOfgpu"),
    ],
)
def test_what_a_kubelet_refuses(first, second, reason):
    node = node_of()
    assert admit(node, plan(**first)) == ""
    assert admit(node, plan(**second)) == reason
    if reason:
        release(node, plan(**first))
        assert admit(node, plan(**second)) == ("" if reason != "OutOfgpu" else reason)


def test_no_more_pods_than_the_node_takes():
    node = node_of()
    assert [admit(node, plan()) for _ in range(4)] == ["", "", "", "OutOfpods"]


def test_under_pressure_the_least_are_refused():
    node = node_of()
    node.conditions.add("MemoryPressure")
    assert admit(node, plan()) == "Evicted"
    assert admit(node, plan(cpu=10)) == ""
    assert admit(node, plan(priority=2_000_000_000)) == ""
    node.conditions.add("DiskPressure")
    assert admit(node, plan(cpu=10)) == "Evicted"


def test_runtime_classes_and_pools():
    """Pods of a class run under its runtime and are charged for its overhead; pools have runtimes of their own."""
    scenario = exact().replace(
        {
            "images": {},
            "runtime_classes": {"kata": {"runtime": "kata-qemu", "overhead": {"memory": "160Mi", "cpu": "250m"}}},
            "nodes.pools.general.runtime": "fake",
        }
    )
    load = load_of((1.0, AppKind.POD, 1), (1.0, AppKind.POD, 1), priority=(0, 1))
    plain, other = load.templates
    from dataclasses import replace

    result = simulate(scenario, replace(load, templates=(plain, replace(other, runtime_class="kata"))), seed=1)
    start_s = (result.pods["containers_started_s"] - result.pods["sandbox_started_s"]).tolist()
    cpu = result.pods["cpu_millicores"].tolist()
    assert cpu == [100, 350]
    assert start_s[0] < 0.1 < 0.5 < start_s[1]


STATIC = [{"name": "kube-proxy", "cpu": "200m", "memory": "128Mi", "containers": 2}]


def test_static_pods_take_their_share_and_are_mirrored():
    scenario = exact().replace({"images": {}, "kubelet.static_pods": STATIC, "nodes.pools.general.count": 3})
    result = simulate(scenario, load_of((1.0, AppKind.POD, 1)), seed=1)
    requests = result.requests
    posted = requests[(requests.verb == "POST") & (requests.resource == "pods")]["count"].sum()
    assert posted == 1 + 3  # the pod, and a mirror pod a node
    assert set(result.nodes["allocatable_cpu"]) == {8000 - 200}
    assert set(result.nodes["allocatable_pods"]) == {110 - 1}


def test_a_static_pod_that_does_not_fit_is_found_before_the_run():
    from sim.base.errors import InputError

    scenario = exact().replace({"kubelet.static_pods": [{**STATIC[0], "cpu": "9"}]})
    with pytest.raises(InputError, match=r"kube-proxy.*more cpu than the nodes of pool general"):
        simulate(scenario, load_of((1.0, AppKind.POD, 1)), seed=1)


def test_an_idle_node_costs_no_events():
    """Ten times the nodes, the same pods: only the aggregated ticks differ, and those do not grow with the nodes."""
    events = []
    for count in (20, 200):
        scenario = exact().replace({"images": {}, "nodes.pools.general.count": count, "horizon_s": 30})
        events.append(simulate(scenario, load_of((1.0, AppKind.POD, 5)), seed=1).record.counters["events"])
    assert events[1] - events[0] <= 40


def test_a_plain_pod_with_its_image_starts_in_25_events():
    """From the watch event to the status Running stored and heard of, requests to API server and etcd included: the events of a
    run, less those of the same run whose kubelets do nothing."""
    from sim.base.rand import Streams
    from sim.simulate import Cluster

    def nothing(node, pod):
        yield from ()

    events = []
    for start in (None, nothing):
        scenario = exact().replace({"images": {}, "nodes.pools.general.count": 50, "horizon_s": 60})
        cluster = Cluster(scenario, load_of((1.0, AppKind.POD, 200)), Streams(1))
        if start is not None:
            cluster.kubelets.workers.start = start  # type: ignore[method-assign]
        cluster.clock.run_until(60)
        events.append(cluster.clock.events)
    assert (events[0] - events[1]) / 200 <= 25


def test_a_node_short_of_memory_is_tainted_until_it_recovers():
    """The kubelet reports its condition, a controller taints the node: the scheduler sends nobody there who does not tolerate it."""
    cluster, _ = one_pod(PodSpec(containers=(grower("leak", 1, 40),), restart_policy="Always"))
    tainted: list[tuple[float, bool]] = []
    while cluster.clock.now < 600:
        cluster.clock.run_until(cluster.clock.now + 1)
        taints = [taint.key for taint in cluster.core.nodes.specs[0].taints]
        if bool(taints) != (tainted[-1][1] if tainted else False):
            tainted.append((cluster.clock.now, bool(taints)))
            assert taints in ([], ["node.kubernetes.io/memory-pressure"])
    (on_s, _), (off_s, _) = tainted
    evicted_s = cluster.pods.times["gone_s"][0]
    assert abs(on_s - evicted_s) < 2
    assert 300 < off_s - on_s < 325
