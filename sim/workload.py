"""What arrives: the seam between the workload makers and the simulation.

A workload spec is made into a `Load` before the run: applications in the order of their arrival, each with
the pods it asks for. What belongs to a pod (its duration, its image, its real usage) is drawn here, so
two designs of a cluster meet the same pods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from sim.apiserver.admission.objects import AdmissionObjects
from sim.base.errors import Problems
from sim.base.plugin import Catalog
from sim.base.rand import Streams
from sim.base.spec import Spec
from sim.state.applications import AppOptions, Change
from sim.state.budgets import PodDisruptionBudget
from sim.state.objects import NodeSpec, Pairs, PodSpec, Quantities

if TYPE_CHECKING:
    from sim.tenancy.script import Step


class AppKind(IntEnum):
    """How an application's pods are created and what follows when they end."""

    POD = 0
    """Bare pods: the user posts each pod itself."""
    SERVICE = 1
    """A Deployment's ReplicaSet: its controller posts the pods, batch by batch (slow start); they run until deleted."""
    JOB = 2
    """A Job: its controller posts at most `parallelism` pods at a time, each runs for its duration."""
    STATEFUL_SET = 3
    """A StatefulSet: pods with an order, by default one after the other, each when the one before it is ready."""
    DAEMON_SET = 4
    """A DaemonSet: one pod on each node that it may run on; its `app_pods` are rows for so many nodes."""
    CRON_JOB = 5
    """A CronJob: a Job at each of its times; its `app_pods` are rows for all of them together."""


@dataclass(frozen=True)
class Refusal:
    """One input row or document a reader left out, and why."""

    where: str
    reason: str


@dataclass(frozen=True)
class Load:
    """Applications and pods as columns. Row i of the `app_*` arrays is one application; its pods are the
    `app_pods[i]` consecutive rows of the `pod_*` arrays that start at `app_first_pod[i]`.
    """

    templates: tuple[PodSpec, ...]
    """The distinct pod specs."""
    tenants: tuple[str, ...]
    """Tenant names; a pod spec's namespace belongs to the tenant of its application."""
    app_time_s: np.ndarray
    """float64: simulated time at which the user asks for the application; rising."""
    app_end_s: np.ndarray
    """float64: when the user deletes it; inf = never."""
    app_kind: np.ndarray
    """int8: `AppKind`."""
    app_template: np.ndarray
    """int32: index into `templates`."""
    app_tenant: np.ndarray
    """int32: index into `tenants`."""
    app_pods: np.ndarray
    """int32: number of pods (replicas, completions)."""
    app_parallelism: np.ndarray
    """int32: a job's parallelism; for other kinds equal to `app_pods`."""
    pod_duration_s: np.ndarray
    """float64, one a pod: run time of its containers once started; inf = until deleted."""
    nodes: tuple[NodeSpec, ...] = ()
    """The trace's own nodes, for scenarios that take their nodes from the workload."""
    quotas: tuple[tuple[str, Quantities], ...] = ()
    """(namespace, hard limits) of each ResourceQuota that came with the input, in base units; they hold beside the
    scenario's own."""
    admission: AdmissionObjects = field(default_factory=AdmissionObjects)
    """Limit ranges, quotas with scopes, namespaces and webhook configurations that came with the input."""
    refused: tuple[Refusal, ...] = ()
    """What a reader left out."""
    rows_read: int = 0
    """Rows or documents a reader looked at; 0 for synthetic loads."""
    app_name: Sequence[str] = field(default=())
    """Names from the input, where it has them."""
    namespaces: tuple[tuple[str, Pairs], ...] = ()
    """Labels of namespaces that came with the input."""
    app_options: Mapping[int, AppOptions] = field(default_factory=dict)
    """What the objects of applications say beside their pods, by row; an application without has its kind's defaults."""
    changes: tuple[Change, ...] = ()
    """What users do to applications after having asked for them, by time."""
    script: tuple[Step, ...] = ()
    """Steps in which it is played, each waiting for what it must; then `app_time_s` and `app_end_s` mean nothing."""
    app_running: np.ndarray = field(default_factory=lambda: np.zeros(0, np.bool_))
    """bool: its pods run already when the clock starts, and nobody asks for it; empty: none does so."""
    budgets: tuple[PodDisruptionBudget, ...] = ()
    """PodDisruptionBudgets that came with the input: evictions keep them, preemption if it can."""
    nodes_run: bool = True
    """False: nodes are objects alone, as in tests of the control plane. No kubelet starts what is bound to them, none
    renews a lease, and a bound pod that is deleted goes at once where it has no grace period, else never."""

    def __post_init__(self) -> None:
        if np.any(np.diff(self.app_time_s) < 0):
            raise ValueError("app_time_s must not fall")
        if int(self.app_pods.sum()) != len(self.pod_duration_s):
            raise ValueError("one pod_duration_s a pod is needed")

    @property
    def app_first_pod(self) -> np.ndarray:
        """int64: first pod row of each application."""
        return np.concatenate([[0], np.cumsum(self.app_pods, dtype=np.int64)[:-1]]) if len(self.app_pods) else np.zeros(0, np.int64)

    def owners(self) -> dict[str, str]:
        """The tenant of every namespace that an application of this load is in."""
        used = np.unique(np.stack([self.app_template, self.app_tenant]), axis=1).T.tolist()
        return {self.templates[template].namespace: self.tenants[tenant] for template, tenant in used}

    @property
    def pods(self) -> int:
        """Number of pods asked for."""
        return len(self.pod_duration_s)


class WorkloadSpec(Spec):
    """Base of every entry of the workload catalog: parameters that can be made into a `Load`."""

    def build(self, setting: Setting, streams: Streams) -> Load:
        """Draw the whole load. Random draws come from streams named `workload.*` only."""
        raise NotImplementedError

    def check(self, setting: Setting, path: str, problems: Problems) -> None:
        """Add what is wrong with this workload in this scenario (missing file, unknown image) before anything runs."""


@dataclass(frozen=True)
class Setting:
    """What a workload may know of the scenario it is drawn for."""

    horizon_s: float
    tenants: tuple[str, ...]
    namespaces: tuple[tuple[str, ...], ...]
    """Namespaces of each tenant."""
    tenant_weight: np.ndarray
    """float64, one a tenant, sums to 1: its share of arrivals (Zipf)."""
    images: tuple[tuple[str, float], ...]
    """Image names with their popularity weights."""
    base_dir: str = "."
    """Folder against which relative paths of a scenario file are resolved."""
    nodes: int = 0
    """Number of nodes of the scenario's pools; 0 where the nodes come from the workload."""


WORKLOADS: Catalog[type[WorkloadSpec]] = Catalog("workloads", package="workloads.kinds")
"""Every workload a scenario may name; one file each under workloads/kinds."""
