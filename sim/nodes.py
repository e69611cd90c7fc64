"""Which nodes a cluster has: pools of like nodes, spread over zones, or the nodes of a recorded workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, field_validator

from sim.base.errors import Problems
from sim.base.fields import Named, QuantityText
from sim.base.rand import Dist, Distribution, Lognormal
from sim.base.spec import Choice, Spec, param
from sim.base.units import parse_amount, parse_quantity
from sim.kubelet.runtimes import RUNTIMES, RuntimeSpec
from sim.node_lifecycle.spec import DrainSpec, JoinSpec
from sim.state.names import dns_label_fault, is_native_resource, label_key_fault, label_value_fault
from sim.state.objects import NodeSpec, Taint, pairs, quantities

K20 = "Kubernetes 1.20 source, kubelet defaults"

DEFAULT_ALLOCATABLE = {"cpu": "8", "memory": "32Gi", "pods": "110"}
"""What a node gives where its pool does not say; 110 pods: Kubernetes 1.20 source, kubelet defaults."""


def _label_key(text: str) -> str:
    if fault := label_key_fault(text):
        raise ValueError(fault)
    return text


def _label_value(text: str) -> str:
    if fault := label_value_fault(text):
        raise ValueError(fault)
    return text


LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[str, AfterValidator(_label_value)]


class TaintSpec(Spec):
    """Keeps pods off a node unless they tolerate it; the v1 form."""

    key: LabelKey = param(..., "the taint's key")
    value: LabelValue = param("", "the taint's value")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = param("NoSchedule", "what it does to other pods")


class PoolSpec(Spec):
    """Nodes that are alike but for their zone."""

    count: int = param(1, "nodes in the pool; its weight where `nodes.count` is set", ge=0, le=1_000_000)
    allocatable: dict[LabelKey, QuantityText] = param(
        DEFAULT_ALLOCATABLE,
        "what a node gives to pods, as a v1 Node says it; extended resources are whole numbers",
        source="8 cores and 32 GiB: our choice; " + K20,
    )
    cores: float | None = param(
        None,
        "processor cores that kubelet, runtime and pulls share on a node; null: as many as allocatable cpu",
        gt=0,
        le=4096,
    )
    runtime: Annotated[RuntimeSpec, Choice(RUNTIMES)] | None = param(
        None, "container runtime of these nodes; null: the scenario's"
    )
    zones: tuple[LabelValue, ...] = param(("zone-1",), "zones that the nodes are put in by turns", min_length=1)
    region: LabelValue = param("region-1", "the zones' region")
    minimum: int = param(0, "nodes that the autoscaler leaves", ge=0, le=1_000_000)
    maximum: int | None = param(
        None, "nodes that the autoscaler may grow it to; null: it neither grows nor shrinks", ge=1, le=1_000_000
    )
    boot_s: Dist = param(
        Lognormal(median=45.0, sigma=0.3, maximum=600.0),
        "from a machine's order until its kubelet runs",
        unverified=True,
    )
    join_at_s: float | None = param(
        None, "its nodes are not there at the beginning but ordered at this time; null: they are there", ge=0, le=1e9
    )
    join_over_s: float = param(0.0, "they are ordered one after the other over so long", ge=0, le=1e9)
    labels: dict[LabelKey, LabelValue] = param({}, "further labels of each node")
    taints: tuple[TaintSpec, ...] = param((), "taints of each node, as a v1 Node says them")

    @field_validator("allocatable", mode="before")
    @classmethod
    def _standard_resources(cls, value: Any) -> Any:
        return {**DEFAULT_ALLOCATABLE, **value} if isinstance(value, dict) else value

    @field_validator("allocatable")
    @classmethod
    def _countable(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if (name == "pods" or not is_native_resource(name)) and parse_quantity(text).denominator != 1:
                raise ValueError(f"'{name}' must be a whole number, not {text}")
        return value

    @property
    def amounts(self) -> dict[str, int]:
        """Allocatable in base units: cpu in millicores, memory in bytes, others as counts."""
        return {name: parse_amount(name, text) for name, text in self.allocatable.items()}

    @property
    def node_cores(self) -> float:
        """Cores that the node's own work shares."""
        return self.cores if self.cores is not None else self.amounts["cpu"] / 1000


DEFAULT_BOOT: Distribution = PoolSpec.model_fields["boot_s"].default


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """One node of the simulated cluster."""

    spec: NodeSpec
    pool: str
    zone: str
    cores: float
    """Processor cores that kubelet, runtime and image pulls share."""
    boot_s: Distribution = DEFAULT_BOOT
    """From its machine's order until its kubelet runs."""


class NodesSpec(Spec):
    """The cluster's nodes: pools by name, or those that come with the workload."""

    from_workload: bool = param(False, "take the nodes that a recorded workload brings; then no pools and no count")
    count: int | None = param(
        None,
        "nodes in all; the pools' counts are then weights (largest remainder). null: each pool's own count",
        ge=1,
        le=1_000_000,
    )
    pools: Named[PoolSpec] = param({}, "pools by name; none: one pool, `general`, of the default shape")
    join: JoinSpec = JoinSpec()
    drain: DrainSpec = DrainSpec()
    zone_labels: tuple[LabelKey, ...] = param(
        ("topology.kubernetes.io/zone",),
        "labels that carry a node's zone",
        source="Kubernetes well-known labels: topology.kubernetes.io since 1.17, failure-domain.beta before",
    )
    region_labels: tuple[LabelKey, ...] = param(
        ("topology.kubernetes.io/region",),
        "labels that carry a node's region",
        source="Kubernetes well-known labels: topology.kubernetes.io since 1.17, failure-domain.beta before",
    )

    @property
    def all_pools(self) -> dict[str, PoolSpec]:
        """The pools, or the default one."""
        return self.pools or ({} if self.from_workload else {"general": PoolSpec()})

    def pool_counts(self) -> dict[str, int]:
        """Nodes in each pool. With `count`, shares by largest remainder; ties go to the pool that stands first."""
        weights = {name: pool.count for name, pool in self.all_pools.items()}
        total = sum(weights.values())
        if self.count is None or not total:
            return weights
        shares = {name: divmod(self.count * weight, total) for name, weight in weights.items()}
        counts = {name: whole for name, (whole, _) in shares.items()}
        by_remainder = sorted(shares, key=lambda name: -shares[name][1])
        for name in by_remainder[: self.count - sum(counts.values())]:
            counts[name] += 1
        return counts

    def build(self, recorded: Sequence[NodeSpec] = ()) -> tuple[ClusterNode, ...]:
        """Every node, pool by pool. recorded: the workload's nodes, used with `from_workload`."""
        if self.from_workload:
            return tuple(self._recorded(node) for node in recorded)
        return tuple(
            self._node(name, pool, index)
            for name, count in self.pool_counts().items()
            for pool in (self.all_pools[name],)
            if pool.join_at_s is None
            for index in range(count)
        )

    def later(self) -> tuple[ClusterNode, ...]:
        """Every node that may join during the run: those of pools with a `join_at_s`, and what pools with a `maximum` may grow by."""
        counts = self.pool_counts()
        return tuple(
            self._node(name, pool, index)
            for name, pool in self.all_pools.items()
            for index in range(0 if pool.join_at_s is not None else counts[name], max(counts[name], pool.maximum or 0))
        )

    @property
    def most(self) -> int:
        """Nodes that there may be in all."""
        return sum(max(count, self.all_pools[name].maximum or 0) for name, count in self.pool_counts().items())

    def _recorded(self, node: NodeSpec) -> ClusterNode:
        labels = dict(node.labels)
        zone = next((labels[key] for key in self.zone_labels if key in labels), "")
        return ClusterNode(node, "workload", zone, dict(node.allocatable).get("cpu", 1000) / 1000)

    def _node(self, pool_name: str, pool: PoolSpec, index: int) -> ClusterNode:
        name = f"{pool_name}-{index}"
        zone = pool.zones[index % len(pool.zones)]
        labels = {
            "kubernetes.io/hostname": name,
            **dict.fromkeys(self.zone_labels, zone),
            **dict.fromkeys(self.region_labels, pool.region),
            **pool.labels,
        }
        taints = tuple(Taint(taint.key, taint.value, taint.effect) for taint in pool.taints)
        spec = NodeSpec(name, pairs(labels), taints, allocatable=quantities(pool.amounts))
        return ClusterNode(spec, pool_name, zone, pool.node_cores, pool.boot_s)

    def check(self, path: str, problems: Problems) -> None:
        """Add what does not go together."""
        if self.from_workload:
            if self.pools:
                problems.add(
                    f"{path}.pools",
                    list(self.pools),
                    "must be empty where the nodes come with the workload",
                    f"set {path}.from_workload to false, or remove the pools",
                )
            if self.count is not None:
                problems.add(
                    f"{path}.count",
                    self.count,
                    "must be null where the nodes come with the workload",
                    f"set {path}.from_workload to false, or remove the count",
                )
            return
        if not sum(self.pool_counts().values()):
            problems.add(
                f"{path}.pools",
                {name: pool.count for name, pool in self.pools.items()},
                "make a cluster of 0 nodes",
                "give a pool a count of at least 1",
            )
        counts = self.pool_counts()
        if all(pool.join_at_s is not None for pool in self.all_pools.values()):
            problems.add(f"{path}.pools", list(self.pools), "all join later", "a cluster begins with at least one node")
        for name, pool in self.pools.items():
            if pool.maximum is not None and not pool.minimum <= counts[name] <= pool.maximum:
                rule = f"does not go with the pool's nodes ({counts[name]}), which lie between its minimum ({pool.minimum}) and it"
                problems.add(f"{path}.pools.{name}.maximum", pool.maximum, rule)
            if fault := dns_label_fault(name):
                problems.add(f"{path}.pools", name, fault, "the pool's name begins its nodes' names")
