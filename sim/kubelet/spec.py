"""Parameters of the kubelet and its node."""

from __future__ import annotations

from sim.base.rand import Dist, Lognormal, Uniform
from sim.base.spec import Spec, param
from sim.images.spec import NodeImagesSpec

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
    status_period_s: float = param(
        10.0, "status manager's batch period; the phase differs from node to node", source=K20, gt=0, le=3600
    )
    reclaim_s: float = param(
        1.9,
        "from a deleted pod's terminated status until its volumes and cgroup are gone, so that it may be removed",
        source="our measurement of Kubernetes 1.20.2: deletion takes 2.4 s + uniform(0, 10 s)",
        ge=0,
        le=600,
    )
    volume_poll_s: float = param(
        0.3, "poll period while waiting for volumes", source="Kubernetes 1.20 source, volume manager", gt=0, le=60
    )
    lease_period_s: float = param(10.0, "renewal period of the node's lease", source=K20, gt=0, le=3600)
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
    kill_s: Dist = param(
        Lognormal(median=0.5, sigma=0.8, maximum=30.0),
        "time containers take to stop after SIGTERM; cut at the pod's grace period",
        unverified=True,
    )
