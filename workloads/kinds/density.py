"""Kubernetes' density test: fill the cluster to so many pods a node."""

from __future__ import annotations

import numpy as np

from sim.base.errors import Problems
from sim.base.rand import Streams
from sim.base.spec import param
from sim.state.objects import PodSpec, Toleration, pairs
from sim.workload import WORKLOADS, AppKind, Load, Setting, WorkloadSpec
from workloads.draws import MAX_ITEMS
from workloads.images import check_image, most_popular
from workloads.shapes import CpuAmount, MemoryAmount, Shape

SOURCE = "Kubernetes perf-tests, ClusterLoader2 density test"
TENANT = "density"
TOLERATIONS = tuple(
    Toleration(key=f"node.kubernetes.io/{what}", operator="Exists", effect="NoExecute", toleration_s=900)
    for what in ("not-ready", "unreachable")
)
"""The test's pods stay for 15 minutes on a node that does not answer."""


@WORKLOADS.register("density")
class Density(WorkloadSpec):
    """Kubernetes' density test: deployments that fill every node to `pods_per_node`, then single pods to time starts.

    Open loop: deployments are posted so that pods are offered at `rate_per_s`, whether or not earlier ones run.
    """

    pods_per_node: int = param(30, "pods for each node of the scenario", source=SOURCE, ge=1, le=10_000)
    rate_per_s: float = param(20.0, "pods a second that are asked for", source=SOURCE, gt=0, le=1e6)
    nodes_per_namespace: int = param(100, "nodes whose pods share a namespace", source=SOURCE, ge=1, le=1_000_000)
    replicas: int | None = param(
        None, "pods of one deployment; none: all of a namespace, as in the test", ge=1, le=MAX_ITEMS
    )
    cpu: CpuAmount = param("1m", "CPU request of a saturation pod", source=SOURCE)
    memory: MemoryAmount = param("10M", "memory request of a saturation pod", source=SOURCE)
    image: str = param("", "image of all pods; empty: the scenario's most popular one")
    latency_pods: int = param(
        0, "deployments of one pod after the fill; the test has 500, or one a node if more", ge=0, le=MAX_ITEMS
    )
    latency_rate_per_s: float = param(5.0, "latency pods a second", source=SOURCE, gt=0, le=1e6)
    latency_start_s: float | None = param(
        None, "when latency pods begin; none: when the last deployment is offered", ge=0, le=1e9
    )
    latency_cpu: CpuAmount = param("100m", "CPU request of a latency pod", source=SOURCE)
    latency_memory: MemoryAmount = param("350M", "memory request of a latency pod", source=SOURCE)

    def check(self, setting: Setting, path: str, problems: Problems) -> None:
        check_image(self.image, setting, f"{path}.image", problems)
        if setting.nodes < 1:
            problems.add(path, setting.nodes, "nodes are none to fill", "give the scenario node pools")
        total = self.pods_per_node * setting.nodes + self.latency_pods
        if total > MAX_ITEMS:
            problems.add(f"{path}.pods_per_node", self.pods_per_node, f"makes {total:,} pods, more than {MAX_ITEMS:,}")

    def build(self, setting: Setting, streams: Streams) -> Load:
        problems = Problems("density workload")
        self.check(setting, "workload", problems)
        problems.raise_if_any()
        fill_s, pods, namespace = self._fill(setting.nodes)
        namespaces = int(namespace[-1]) + 1
        offered_s = float(pods.sum()) / self.rate_per_s
        latency_start_s = offered_s if self.latency_start_s is None else self.latency_start_s
        latency = np.arange(self.latency_pods)
        time_s = np.concatenate([fill_s, latency_start_s + latency / self.latency_rate_per_s])
        pods = np.concatenate([pods, np.ones(self.latency_pods, np.int64)])
        template = np.concatenate([namespace, namespaces + latency % namespaces])
        kept = np.flatnonzero(time_s < setting.horizon_s)
        order = kept[np.argsort(time_s[kept], kind="stable")]
        pods, size = pods[order], len(order)
        return Load(
            templates=self._templates(namespaces, setting),
            tenants=(TENANT,),
            app_time_s=time_s[order],
            app_end_s=np.full(size, np.inf),
            app_kind=np.full(size, AppKind.SERVICE, np.int8),
            app_template=template[order].astype(np.int32),
            app_tenant=np.zeros(size, np.int32),
            app_pods=pods.astype(np.int32),
            app_parallelism=pods.astype(np.int32),
            pod_duration_s=np.full(int(pods.sum()), np.inf),
        )

    def _fill(self, nodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(time, pods, namespace) of each deployment, namespace after namespace; the last has the remaining nodes."""
        total, share = self.pods_per_node * nodes, self.pods_per_node * self.nodes_per_namespace
        first = np.arange(0, total, share)  # the first pod of each namespace
        size = np.minimum(share, total - first)
        replicas = min(self.replicas or share, share)
        deployments = -(-size // replicas)
        namespace = np.repeat(np.arange(len(first)), deployments)
        begin = (np.arange(len(namespace)) - np.repeat(np.cumsum(deployments) - deployments, deployments)) * replicas
        pods = np.minimum(replicas, size[namespace] - begin)
        return (first[namespace] + begin) / self.rate_per_s, pods, namespace

    def _templates(self, namespaces: int, setting: Setting) -> tuple[PodSpec, ...]:
        """The saturation pod of each namespace, then the latency pod of each where there are any."""
        image = self.image or most_popular(setting)
        groups = [("saturation", Shape(cpu=self.cpu, memory=self.memory))]
        if self.latency_pods:
            groups.append(("latency", Shape(cpu=self.latency_cpu, memory=self.latency_memory)))
        return tuple(
            PodSpec(
                namespace=f"density-{index + 1}",
                labels=pairs({"group": group, "name": f"{group}-deployment"}),
                containers=(shape.container(image),),
                tolerations=TOLERATIONS,
            )
            for group, shape in groups
            for index in range(namespaces)
        )
