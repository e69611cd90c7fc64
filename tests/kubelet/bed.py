"""A tiny cluster of round constants for pods that are more than plain."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

from sim.base.rand import Streams
from sim.kubelet.node import Node
from sim.simulate import Cluster
from sim.state.objects import Behaviour, Container, PodSpec
from sim.workload import AppKind, Load
from tests.worked.scenarios import MS, exact, load_of

CREATE = 70 * MS
START = 30 * MS
"""Creating and starting a container."""
SYNC = 5 * MS


def one_pod(
    spec: PodSpec, duration_s: float = inf, kind: AppKind = AppKind.POD, pods: int = 1, end_s: float = inf, **sets: Any
) -> tuple[Cluster, Node]:
    """A cluster of one node that `spec`'s pods are asked for at 1 s; run it with `cluster.clock.run_until`."""
    base: dict[str, Any] = {"images": {}, "horizon_s": 100_000, "kubelet.resync_s": 10, **sets}
    scenario = exact().replace(base)
    load: Load = load_of((1.0, kind, pods), duration_s=duration_s, end_s=end_s)
    load = replace(load, templates=(replace(spec, namespace="tenant-1"),))
    cluster = Cluster(scenario, load, Streams(5))
    return cluster, cluster.kubelets.node(0)


def container(name: str = "main", behaviour: Behaviour | None = None, **fields: Any) -> Container:
    return Container(name=name, requests=(("cpu", 100), ("memory", 100 * 2**20)), behaviour=behaviour, **fields)


def next_relist(node: Node, at_s: float) -> float:
    """The next tick of the node's relist after a moment."""
    period_s = 1.0
    return at_s + period_s - (at_s - node.relist_phase_s) % period_s


def times(cluster: Cluster, pod: int = 0) -> dict[str, float]:
    return {name: column[pod] for name, column in cluster.pods.times.items()}
