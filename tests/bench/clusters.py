"""The cluster that the recorded speeds of the real kube-scheduler were measured on, built in a core.

N identical nodes of 32 CPU, 128 GiB, 110 pods, 6 labels each, 3 zones round-robin, no taints; 10 placed pods a node,
100 applications, 500 to 1,100 millicores and 1 to 2 GiB each; the pods of app-7 refuse their own kind on a host.
"""

from __future__ import annotations

import numpy as np

from sim.scheduler.core import Core
from sim.scheduler.profiles import profile
from sim.state.objects import (
    Affinity,
    Container,
    LabelSelector,
    NodeSelectorTerm,
    NodeSpec,
    Owner,
    PodAffinityTerm,
    PodSpec,
    PreferredNodeTerm,
    Requirement,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
    pairs,
    quantities,
)

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
MIB = 2**20
PODS_PER_NODE = 10


def node(index: int) -> NodeSpec:
    labels = {
        HOSTNAME: f"node-{index}",
        ZONE: f"zone-{index % 3}",
        "topology.kubernetes.io/region": "region-0",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "disk": ("ssd", "hdd")[index % 2],
    }
    room = {"cpu": 32_000, "memory": 128 * 1024 * MIB, "pods": 110, "ephemeral-storage": 100 * 1024 * MIB}
    return NodeSpec(f"node-{index}", pairs(labels), allocatable=quantities(room))


def container(cpu_millicores: int, memory_mib: int) -> Container:
    return Container("main", "", quantities({"cpu": cpu_millicores, "memory": memory_mib * MIB}))


def of_app(app: str) -> LabelSelector:
    return LabelSelector(pairs({"app": app}))


APART = Affinity(anti_required=(PodAffinityTerm(HOSTNAME, of_app("app-7")),))
PLAIN = PodSpec(labels=pairs({"app": "plain"}), containers=(container(500, 512),))
REPLICA_SET = PodSpec(
    labels=pairs({"app": "app-7"}), containers=(container(500, 512),), owner=Owner("ReplicaSet", "rs-7", "uid-7")
)
AFFINITY_SPREAD = PodSpec(
    labels=pairs({"app": "app-7"}),
    containers=(container(500, 512),),
    affinity=Affinity(
        node_preferred=(PreferredNodeTerm(10, NodeSelectorTerm((Requirement("disk", "In", ("ssd",)),))),),
        anti_required=(PodAffinityTerm(HOSTNAME, of_app("app-7")),),
        pod_preferred=(WeightedPodAffinityTerm(50, PodAffinityTerm(ZONE, of_app("app-8"))),),
    ),
    topology_spread_constraints=(
        TopologySpreadConstraint(5, ZONE, "DoNotSchedule", of_app("app-7")),
        TopologySpreadConstraint(1, HOSTNAME, "ScheduleAnyway", of_app("app-7")),
    ),
)


def placed_specs() -> list[PodSpec]:
    """One spec an application."""
    return [
        PodSpec(
            labels=pairs({"app": f"app-{app}"}),
            containers=(container(500 + 100 * (app % 7), 1024 + 128 * (app % 8)),),
            affinity=APART if app == 7 else None,
        )
        for app in range(100)
    ]


def build(nodes: int, percentage: int = 100, seed: int = 1) -> Core:
    """The core with `nodes` nodes and ten times as many placed pods; N/10 of them are app-7's, each on its own node."""
    core = Core(profile("1.34"), "random", percentage, np.random.default_rng(seed))
    core.set_controller("ReplicaSet", "default", "rs-7", of_app("app-7"))
    for index in range(nodes):
        core.add_node(node(index))
    ids = [core.intern(spec) for spec in placed_specs()]
    others = [app for app in range(100) if app != 7]
    pod = 0
    for index in range(nodes):
        for place in range(PODS_PER_NODE):
            app = 7 if place == 0 and index % 10 == 0 else others[(index * PODS_PER_NODE + place) % 99]
            core.assume(pod, ids[app], index)
            pod += 1
    return core
