"""Parameters of the controller manager."""

from __future__ import annotations

from sim.base.spec import Spec, param

K20 = "Kubernetes 1.20 source, controller-manager defaults"


class ControllerManagerSpec(Spec):
    """ReplicaSet and Job controllers, each with workers and a client with its own rate limit."""

    machine: str = param("control-plane", "the machine it runs on")
    qps: float = param(20.0, "client requests per second of each controller", source=K20, gt=0, le=1e6)
    burst: int = param(30, "client burst of each controller", source=K20, ge=1, le=1_000_000)
    replicaset_workers: int = param(5, "concurrent ReplicaSet syncs", source=K20, ge=1, le=10_000)
    job_workers: int = param(5, "concurrent Job syncs", source=K20, ge=1, le=10_000)
    burst_replicas: int = param(500, "most pods one ReplicaSet sync creates", source=K20, ge=1, le=100_000)
    slow_start_initial: int = param(
        1, "first batch of parallel creations; each whole success doubles it", source=K20, ge=1, le=10_000
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
    garbage_workers: int = param(20, "concurrent deletions by the garbage collector", source=K20, ge=1, le=10_000)
    retry_base_s: float = param(
        0.005, "work queue's first back-off after a failed sync, doubled each time", source=K20, gt=0, le=60
    )
    retry_max_s: float = param(1000.0, "work queue's largest back-off", source=K20, gt=0, le=1e5)
    job_backoff_s: float = param(
        10.0, "a Job's first back-off after a failed creation, doubled each time", source=K20, gt=0, le=3600
    )
    job_backoff_max_s: float = param(360.0, "a Job's largest back-off", source=K20, gt=0, le=1e5)
