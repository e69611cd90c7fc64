"""Parameters of the scheduler process; the rules of scheduling are in profiles."""

from __future__ import annotations

from sim.base.spec import Spec, param

K20 = "Kubernetes 1.20 source, scheduler defaults"
SPEED = "our measurement of kube-scheduler 1.34.1 in-process, one core"


class SchedulerSpec(Spec):
    """kube-scheduler: a serial scheduling cycle, asynchronous binding under a client rate limit."""

    machine: str = param("control-plane", "the machine it runs on")
    replicas: int = param(
        1, "processes of which the one that holds the lease schedules; see leader_election", ge=1, le=16
    )
    profile: str = param("1.34", "named set of plugins, weights and arithmetic")
    configuration: str | None = param(
        None, "path of a KubeSchedulerConfiguration file; overrides profile and the fields it sets"
    )
    percentage_of_nodes_to_score: int = param(
        0, "nodes that must be feasible before the search stops, percent; 0 = adaptive", source=K20, ge=0, le=100
    )
    qps: float = param(50.0, "client requests per second", source=K20, gt=0, le=1e6)
    burst: int = param(100, "client burst", source=K20, ge=1, le=1_000_000)
    parallelism: int = param(16, "goroutines that filter and score", source=K20, ge=1, le=1024)
    pod_initial_backoff_s: float = param(
        1.0, "back-off of a pod after its first failed attempt", source=K20, gt=0, le=3600
    )
    pod_max_backoff_s: float = param(10.0, "largest back-off", source=K20, gt=0, le=3600)
    cycle_cpu_s: float = param(
        1.5e-4, "one scheduling cycle, besides filtering and scoring nodes", source=SPEED, ge=0, le=1
    )
    filter_cpu_s: float = param(1.0e-6, "filter one node with the default plugins", source=SPEED, ge=0, le=1)
    score_cpu_s: float = param(1.1e-6, "score one feasible node with the default plugins", source=SPEED, ge=0, le=1)
    dry_run_cpu_s: float = param(
        2.0e-5, "preemption: try one node without its less important pods", unverified=True, ge=0, le=1
    )
    bind_cpu_s: float = param(
        1.0e-3,
        "binding cycle: client side of the binding and the event",
        source="our measurement: 4 to 6 ms CPU of kube-scheduler 1.20.2 per pod, all of it",
        ge=0,
        le=1,
    )
