"""Parameters of the kubelet and its node."""

from __future__ import annotations

from typing import Literal

from sim.base.rand import Dist, Lognormal, Uniform
from sim.base.spec import Spec, param
from sim.images.spec import NodeImagesSpec
from sim.kubelet.eviction import EvictionSpec
from sim.kubelet.static_pods import StaticPodSpec

K20 = "Kubernetes 1.20 source, kubelet defaults"


class KubeletSpec(Spec):
    """The node agent: sync loop, pod workers, status manager, heartbeats."""

    hollow_on: str | None = param(
        None,
        "hollow nodes, as kubemark has them: the machine of the control plane that does the work of all kubelets; "
        "null: each on its own node",
    )
    qps: float = param(5.0, "client requests per second", source=K20, gt=0, le=1e6)
    burst: int = param(10, "client burst", source=K20, ge=1, le=1_000_000)
    events_per_start: int = param(
        5,
        "events posted per pod start (Pulled, Created, Started, ...)",
        source="Kubernetes 1.20 source, kubelet events of one container",
        ge=0,
        le=100,
    )
    relist_period_s: float = param(
        1.0, "PLEG relist period; the phase differs from node to node", source=K20, gt=0, le=3600
    )
    pleg: Literal["generic", "evented"] = param(
        "generic",
        "how the kubelet learns of its containers: it asks for all of them every `relist_period_s`, or the runtime tells",
        source="Kubernetes 1.26 to 1.34: gate EventedPLEG, off by default",
    )
    event_latency_s: float = param(
        0.01,
        "a container event's way from the runtime to the pod's status, with evented PLEG",
        unverified=True,
        ge=0,
        le=60,
    )
    sync_tick_s: float = param(
        1.0, "the sync loop looks this often which pods are to be synced again", source=K20, gt=0, le=60
    )
    status_period_s: float = param(
        10.0, "status manager's batch period; the phase differs from node to node", source=K20, gt=0, le=3600
    )
    reclaim_s: float = param(
        1.9,
        "from a deleted pod's terminated status until its volumes and cgroup are gone, so that it may be removed: housekeeping "
        "runs every 2 s, and its last run before a status batch is this long before it",
        source="our measurement of Kubernetes 1.20.2: deletion takes 2.4 s + uniform(0, 10 s)",
        ge=0,
        le=600,
    )
    looks_at_end: int = param(
        3,
        "GETs of a terminated pod's object beside those that come with a status: PLEG's events and housekeeping each force one",
        source="our measurement of Kubernetes 1.20.2: 5 GETs, 1 PATCH and 1 DELETE by the kubelet a deletion",
        ge=0,
        le=100,
    )
    volume_poll_s: float = param(
        0.3, "poll period while waiting for volumes", source="Kubernetes 1.20 source, volume manager", gt=0, le=60
    )
    lease_period_s: float = param(10.0, "renewal period of the node's lease", source=K20, gt=0, le=3600)
    node_leases: bool = param(
        True,
        "nodes renew leases; false: they write their whole status instead",
        source="Kubernetes 1.14: gate NodeLease on",
    )
    node_status_period_s: float = param(
        10.0,
        "between a kubelet's looks at its node's object",
        source=K20 + ": nodeStatusUpdateFrequency",
        gt=0,
        le=86400,
    )
    node_status_report_s: float = param(
        300.0,
        "between writes of a node's status that has not changed; without leases: `node_status_period_s`",
        source=K20 + ": nodeStatusReportFrequency",
        gt=0,
        le=86400,
    )
    dispatch_cpu_s: float = param(
        5.0e-4, "sync loop and dispatch to a pod worker, on the node", unverified=True, ge=0, le=10
    )
    sync_cpu_s: float = param(
        5.0e-3, "one syncPod besides runtime, image and network work, on the node", unverified=True, ge=0, le=10
    )
    serial_image_pulls: bool = param(True, "pull one image at a time", source=K20)
    images: NodeImagesSpec = NodeImagesSpec()
    resync_s: Dist = param(
        Uniform(low=10.0, high=15.0),
        "from a failed sync of a pod to the next",
        source="Kubernetes 1.20 source, pod workers: 10 s and up to half of it more",
    )
    crash_back_off_s: float = param(
        10.0, "CrashLoopBackOff: wait after a container's second end; doubles", source=K20, gt=0, le=3600
    )
    crash_back_off_max_s: float = param(300.0, "CrashLoopBackOff: longest wait", source=K20, gt=0, le=86400)
    crash_back_off_reset_s: float = param(
        600.0,
        "a container that ran longer than this begins without a wait",
        source=K20 + ": twice the longest",
        gt=0,
        le=86400,
    )
    sidecars: bool = param(
        True,
        "init containers with restartPolicy Always run beside the others; false: they are init containers like all others",
        source="Kubernetes 1.29: gate SidecarContainers on; alpha in 1.28",
    )
    probe_start_jitter: bool = param(
        True,
        "a probe's ticks begin at a random part of its period after the pod came to the node",
        source="Kubernetes 1.20 source, prober worker; since 1.22 only just after the kubelet's own start",
    )
    probe_on_sync: bool = param(
        False,
        "a pod that is not ready is probed at once when it is synced, not only at ticks",
        source="Kubernetes 1.22 source, prober manager: manual trigger",
    )
    minimum_grace_s: float = param(
        2.0, "grace period that a container has at least, whatever its hooks took", source=K20, ge=0, le=60
    )
    eviction: EvictionSpec = EvictionSpec()
    static_pods: tuple[StaticPodSpec, ...] = param((), "pods that each kubelet runs from files of its own")
    kill_s: Dist = param(
        Lognormal(median=0.5, sigma=0.8, maximum=30.0),
        "time containers take to stop after SIGTERM; cut at the pod's grace period",
        unverified=True,
    )
