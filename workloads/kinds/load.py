"""Kubernetes' load test: deployments of three sizes are created, rescaled once each, and deleted."""

from __future__ import annotations

import numpy as np

from sim.base.errors import Problems
from sim.base.rand import Streams
from sim.base.spec import param
from sim.state.applications import Change, Scale
from sim.state.objects import PodSpec, pairs
from sim.workload import WORKLOADS, AppKind, Load, Setting, WorkloadSpec
from workloads.draws import MAX_ITEMS
from workloads.images import check_image, most_popular
from workloads.shapes import CpuAmount, MemoryAmount, Shape

SOURCE = "Kubernetes perf-tests, ClusterLoader2 load test"
TENANT = "load"
GROUPS = (("big", 250, 0.25), ("medium", 30, 0.25), ("small", 5, 0.5))
"""(name, pods of one deployment, share of all pods). Source: ClusterLoader2 load test."""


@WORKLOADS.register("load")
class LoadTest(WorkloadSpec):
    """Kubernetes' load test: deployments of three sizes fill the cluster, are rescaled and deleted.

    Each is rescaled once, to between half and one and a half times its pods. Sizes too large for the cluster are left out. Open
    loop: each phase begins `settle_s` after the last request of the one before it, whether or not its pods run.
    Deployments of all sizes and namespaces come in a drawn order, so many pods a second.
    """

    pods_per_node: int = param(30, "pods for each node of the scenario", source=SOURCE, ge=1, le=10_000)
    rate_per_s: float = param(10.0, "pods a second that are created, and whose deployments are rescaled", source=SOURCE, gt=0, le=1e6)
    delete_rate_per_s: float = param(10.0, "pods a second whose deployments are deleted", source=SOURCE, gt=0, le=1e6)
    nodes_per_namespace: int = param(100, "nodes whose pods share a namespace", source=SOURCE, ge=1, le=1_000_000)
    settle_s: float = param(30.0, "between two phases", source="our choice: the test waits until all pods run", ge=0, le=1e6)
    rescale: bool = param(True, "rescale every deployment once", source=SOURCE)
    delete: bool = param(True, "delete every deployment in the end", source=SOURCE)
    cpu: CpuAmount = param("5m", "CPU request of a pod", source=SOURCE, unverified=True)
    memory: MemoryAmount = param("20M", "memory request of a pod", source=SOURCE, unverified=True)
    image: str = param("", "image of all pods; empty: the scenario's most popular one")

    def check(self, setting: Setting, path: str, problems: Problems) -> None:
        check_image(self.image, setting, f"{path}.image", problems)
        total = self.pods_per_node * setting.nodes
        if setting.nodes < 1:
            problems.add(path, setting.nodes, "nodes are none to fill", "give the scenario node pools")
        elif not any(_counts(total)):
            problems.add(f"{path}.pods_per_node", total, "pods are too few for a single deployment", "raise it, or the nodes")
        if total > MAX_ITEMS:
            problems.add(f"{path}.pods_per_node", self.pods_per_node, f"makes {total:,} pods, more than {MAX_ITEMS:,}")

    def build(self, setting: Setting, streams: Streams) -> Load:
        problems = Problems("load workload")
        self.check(setting, "workload", problems)
        problems.raise_if_any()
        total = self.pods_per_node * setting.nodes
        namespaces = -(-setting.nodes // self.nodes_per_namespace)
        counts = _counts(total)
        group = np.repeat(np.arange(len(GROUPS)), counts)
        namespace = np.concatenate([np.arange(count) % namespaces for count in counts])
        order = streams("workload.load.order").permutation(len(group))
        group, namespace = group[order], namespace[order]
        pods = np.array([size for _, size, _ in GROUPS], np.int64)[group]
        time_s = (np.cumsum(pods) - pods) / self.rate_per_s
        begin_s = float(pods.sum()) / self.rate_per_s + self.settle_s
        changes: tuple[Change, ...] = ()
        wanted = pods
        if self.rescale:
            wanted = np.maximum(1, np.rint(pods * streams("workload.load.scale").uniform(0.5, 1.5, len(pods))).astype(np.int64))
            at_s = begin_s + (np.cumsum(pods) - pods) / self.rate_per_s
            changes = tuple(
                Change(float(when), app, Scale(int(replicas)))
                for app, (when, replicas) in enumerate(zip(at_s, wanted, strict=True)) if when < setting.horizon_s
            )
            begin_s += float(pods.sum()) / self.rate_per_s + self.settle_s
        end_s = begin_s + (np.cumsum(wanted) - wanted) / self.delete_rate_per_s if self.delete else np.full(len(pods), np.inf)
        size = int(np.searchsorted(time_s, setting.horizon_s))
        template = group * namespaces + namespace
        return Load(
            templates=self._templates(namespaces, setting),
            tenants=(TENANT,),
            app_time_s=time_s[:size],
            app_end_s=end_s[:size],
            app_kind=np.full(size, AppKind.SERVICE, np.int8),
            app_template=template[:size].astype(np.int32),
            app_tenant=np.zeros(size, np.int32),
            app_pods=pods[:size].astype(np.int32),
            app_parallelism=pods[:size].astype(np.int32),
            pod_duration_s=np.full(int(pods[:size].sum()), np.inf),
            changes=tuple(change for change in changes if change.app < size),
        )

    def _templates(self, namespaces: int, setting: Setting) -> tuple[PodSpec, ...]:
        """The pod of each size in each namespace."""
        container = Shape(cpu=self.cpu, memory=self.memory).container(self.image or most_popular(setting))
        return tuple(
            PodSpec(namespace=f"load-{index + 1}", labels=pairs({"group": "load", "name": f"{name}-deployment"}), containers=(container,))
            for name, _, _ in GROUPS
            for index in range(namespaces)
        )


def _counts(total: int) -> list[int]:
    """Deployments of each size."""
    return [round(share * total / size) for _, size, share in GROUPS]
