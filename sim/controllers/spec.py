"""Parameters of the controller manager."""

from __future__ import annotations

from sim.base.spec import Spec, param
from sim.controllers.endpoint_slices import EndpointsSpec
from sim.controllers.namespace_spec import NamespaceSpec
from sim.controllers.node_lifecycle import NodeLifecycleSpec

K20 = "Kubernetes 1.20 source, controller-manager defaults"
K34 = "Kubernetes 1.34 source, pkg/controller/job"


class ControllerManagerSpec(Spec):
    """Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs, nodes' life cycle, garbage: each with workers and
    a client with its own rate limit."""

    machine: str = param("control-plane", "the machine it runs on")
    replicas: int = param(
        1,
        "controller managers, of which one leads (see `leader_election`); a new leader lists everything anew",
        ge=1,
        le=100,
    )
    qps: float = param(20.0, "client requests per second of each controller", source=K20, gt=0, le=1e6)
    burst: int = param(30, "client burst of each controller", source=K20, ge=1, le=1_000_000)
    deployment_workers: int = param(5, "concurrent Deployment syncs", source=K20, ge=1, le=10_000)
    replicaset_workers: int = param(5, "concurrent ReplicaSet syncs", source=K20, ge=1, le=10_000)
    stateful_set_workers: int = param(5, "concurrent StatefulSet syncs", source=K20, ge=1, le=10_000)
    daemon_set_workers: int = param(2, "concurrent DaemonSet syncs", source=K20, ge=1, le=10_000)
    job_workers: int = param(5, "concurrent Job syncs", source=K20, ge=1, le=10_000)
    cron_job_workers: int = param(
        5, "concurrent CronJob syncs where each is queued for its next time", source=K20, ge=1, le=10_000
    )
    burst_replicas: int = param(500, "most pods one ReplicaSet or Job sync creates", source=K20, ge=1, le=100_000)
    burst_daemons: int = param(250, "most pods one DaemonSet sync creates or deletes", source=K20, ge=1, le=100_000)
    slow_start_initial: int = param(
        1, "first batch of parallel creations; each whole success doubles it", source=K20, ge=1, le=10_000
    )
    logarithmic_scale_down: bool = param(
        False,
        "which pods go first: ages that lie within a factor of two are alike",
        source="Kubernetes source, feature LogarithmicScaleDown: on from 1.22",
    )
    sync_cpu_s: float = param(
        2.0e-4,
        "one sync of one owner, besides its requests",
        source="our measurement: 2 to 3 ms CPU of the controller manager per pod, all controllers",
        ge=0,
        le=1,
    )
    create_cpu_s: float = param(
        5.0e-4,
        "client side of one pod creation and its watch events",
        source="our measurement: 2 to 3 ms CPU of the controller manager per pod, all controllers",
        ge=0,
        le=1,
    )
    status_write_s: float = param(
        0.005,
        "how long one status write takes, in which further changes of the object gather for the next",
        source="our measurement of Kubernetes 1.20.2: a POST takes 2 to 3 ms with one client, a PATCH costs half as much again",
        ge=0,
        le=10,
    )
    aggregate_status_writes: bool = param(
        True,
        "status writes that nobody decides on are counted, and served together every second; false: each is simulated. "
        "Together they meet in fewer, larger batches of etcd's log",
    )
    quota_workers: int = param(5, "concurrent counts of ResourceQuotas", source=K20, ge=1, le=10_000)
    quota_resync_s: float = param(300.0, "every ResourceQuota is counted anew in this period", source=K20, gt=0, le=1e6)
    resync_s: float = param(
        43_200.0,
        "least period in which every informer hands all that it holds to its controllers; each process draws once to twice of it",
        source=K20 + ": --min-resync-period",
        gt=0,
        le=1e8,
    )
    stateful_set_resync_s: float = param(
        0.0,
        "every StatefulSet is looked at anew in this period; 0: only when all informers are",
        source="Kubernetes 1.12 source, pkg/controller/statefulset: 30 s; none since 1.15 (release notes)",
        ge=0,
        le=1e6,
    )
    garbage_workers: int = param(20, "concurrent deletions by the garbage collector", source=K20, ge=1, le=10_000)
    retry_base_s: float = param(
        0.005, "work queue's first back-off after a failed sync, doubled each time", source=K20, gt=0, le=60
    )
    retry_max_s: float = param(1000.0, "work queue's largest back-off", source=K20, gt=0, le=1e5)
    job_backoff_s: float = param(
        10.0, "a Job's first back-off after a failed creation, doubled each time", source=K20, gt=0, le=3600
    )
    job_backoff_max_s: float = param(360.0, "a Job's largest back-off", source=K20, gt=0, le=1e5)
    job_pod_backoff_s: float = param(
        10.0, "from a Job's first failed pod to the next one, doubled each time", source=K20, gt=0, le=3600
    )
    job_pod_backoff_max_s: float = param(360.0, "the largest of these", source=K20 + "; 600 s since 1.27", gt=0, le=1e5)
    job_batch_s: float = param(
        0.0, "changes of a Job's pods gather for this long before a sync", source=K34, ge=0, le=60
    )
    job_finalizers: bool = param(False, "each finished pod of a Job is counted through a finalizer", source=K34)
    cron_job_poll_s: float = param(
        10.0,
        "all CronJobs are looked at in this period; 0: each is queued for its next time",
        source="Kubernetes 1.20 source, pkg/controller/cronjob; queued since 1.21",
        ge=0,
        le=3600,
    )
    terminated_pod_threshold: int = param(
        12_500, "ended pods that may stay; beyond, the oldest are deleted", source=K20, ge=1, le=100_000_000
    )
    terminated_pod_check_s: float = param(20.0, "between two looks at ended pods", source=K20, gt=0, le=3600)
    orphan_quarantine_s: float = param(
        40.0,
        "from when a node was found gone to the deletion of its pods",
        source=K20 + ", pkg/controller/podgc; none in 1.12",
        ge=0,
        le=1e5,
    )
    node_lifecycle: NodeLifecycleSpec = NodeLifecycleSpec()
    endpoints: EndpointsSpec = EndpointsSpec()
    namespaces: NamespaceSpec = NamespaceSpec()
