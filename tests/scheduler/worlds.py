"""Small random clusters for property tests: nodes, pod specs and changes, drawn from a seed."""

from __future__ import annotations

import numpy as np

from sim.state.objects import (
    Affinity,
    Container,
    ContainerPort,
    LabelSelector,
    NodeImage,
    NodeSelectorTerm,
    NodeSpec,
    Owner,
    PodAffinityTerm,
    PodSpec,
    PreferredNodeTerm,
    Requirement,
    Taint,
    Toleration,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
    pairs,
    quantities,
)

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
RACK = "rack"
KEYS = (HOSTNAME, ZONE, RACK)
APPS = ("web", "db", "batch")
MIB = 2**20


def random_node(rng: np.random.Generator, index: int) -> NodeSpec:
    """A node; some lack labels, some are tainted, cordoned, tiny or without room for pods."""
    labels = {"disk": str(rng.choice(["ssd", "hdd"]))}
    if rng.random() < 0.95:
        labels[HOSTNAME] = f"n{index}" if rng.random() < 0.95 else "shared"
    if rng.random() < 0.85:
        labels[ZONE] = f"z{rng.integers(3)}"
    if rng.random() < 0.5:
        labels[RACK] = f"r{rng.integers(4)}"
    taints = []
    if rng.random() < 0.15:
        taints.append(Taint("spot", "", str(rng.choice(["NoSchedule", "PreferNoSchedule", "NoExecute"]))))
    if rng.random() < 0.2:
        taints.append(Taint("old", "yes", "PreferNoSchedule"))
    room = {"cpu": int(rng.choice([0, 2000, 4000, 4000, 8000])), "memory": int(rng.choice([2, 8, 16])) * 1024 * MIB}
    room["pods"] = int(rng.choice([0, 4, 110]))
    if rng.random() < 0.2:
        room["example.com/gpu"] = int(rng.integers(0, 3))
    images = (NodeImage(("web:v1",), 400 * MIB),) if rng.random() < 0.2 else ()
    avoided = (Owner("ReplicaSet", "rs", "uid-rs"),) if rng.random() < 0.1 else ()
    cordoned = bool(rng.random() < 0.05)
    return NodeSpec(f"n{index}", pairs(labels), tuple(taints), cordoned, quantities(room), images, avoided)


def _selector(rng: np.random.Generator) -> LabelSelector | None:
    draw = rng.random()
    if draw < 0.1:
        return LabelSelector()
    if draw < 0.15:
        return None
    if draw < 0.3:
        return LabelSelector((), (Requirement("app", "In", APPS[: int(rng.integers(1, 3))]),))
    return LabelSelector(pairs({"app": str(rng.choice(APPS))}))


def _term(rng: np.random.Generator) -> PodAffinityTerm:
    return PodAffinityTerm(str(rng.choice(KEYS)), _selector(rng))


def _weighted(rng: np.random.Generator) -> tuple[WeightedPodAffinityTerm, ...]:
    return tuple(WeightedPodAffinityTerm(int(rng.integers(1, 101)), _term(rng)) for _ in range(rng.integers(1, 3)))


def random_pod(rng: np.random.Generator) -> PodSpec:
    """A pod spec; most features are absent most of the time."""
    requests = {}
    if rng.random() < 0.8:
        requests["cpu"] = int(rng.choice([0, 50, 250, 333, 1000]))
    if rng.random() < 0.8:
        requests["memory"] = int(rng.choice([16, 100, 777, 2048])) * MIB
    if rng.random() < 0.08:
        requests["example.com/gpu"] = 1
    ports = (ContainerPort(8080, 80),) if rng.random() < 0.08 else ()
    container = Container("c", "web:v1" if rng.random() < 0.2 else "", quantities(requests), (), ports)
    affinity = None
    if rng.random() < 0.4:
        affinity = Affinity(
            node_required=(NodeSelectorTerm((Requirement("disk", "In", ("ssd",)),)),) if rng.random() < 0.3 else None,
            node_preferred=(PreferredNodeTerm(7, NodeSelectorTerm((Requirement(ZONE, "In", ("z0", "z1")),))),)
            if rng.random() < 0.4
            else (),
            pod_required=(_term(rng),) if rng.random() < 0.25 else (),
            anti_required=(_term(rng),) if rng.random() < 0.25 else (),
            pod_preferred=_weighted(rng) if rng.random() < 0.3 else (),
            anti_preferred=_weighted(rng) if rng.random() < 0.3 else (),
        )
    constraints = []
    for key in KEYS:
        if rng.random() < 0.15:
            action = str(rng.choice(["DoNotSchedule", "ScheduleAnyway"]))
            taints = str(rng.choice(["Honor", "Ignore"]))
            minimum = int(rng.integers(1, 4)) if action == "DoNotSchedule" and rng.random() < 0.3 else None
            constraints.append(
                TopologySpreadConstraint(
                    int(rng.integers(1, 4)), key, action, _selector(rng), minimum, None, taints
                )
            )
    tolerations = (Toleration("spot", "Exists"),) if rng.random() < 0.3 else ()
    return PodSpec(
        namespace=str(rng.choice(["default", "team"])),
        labels=pairs({"app": str(rng.choice(APPS))}),
        containers=(container,),
        affinity=affinity,
        topology_spread_constraints=tuple(constraints),
        tolerations=tolerations,
        node_selector=pairs({"disk": "ssd"}) if rng.random() < 0.05 else (),
        owner=Owner("ReplicaSet", "rs", "uid-rs") if rng.random() < 0.3 else None,
        priority=int(rng.choice([0, 0, 10])),
    )
