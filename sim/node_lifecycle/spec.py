"""Parameters of nodes that come and go: how they join, and the cluster autoscaler."""

from __future__ import annotations

from typing import Literal

from sim.base.spec import Spec, param

CA = "Kubernetes autoscaler source, cluster-autoscaler flag defaults"
TLS = "Kubernetes 1.20 source, kubelet TLS bootstrap and csrapproving and csrsigning controllers"


class JoinSpec(Spec):
    """What a node that joins asks of the control plane, from its kubelet's start until pods may come."""

    certificate: bool = param(True, "it asks for a client certificate, which controllers approve and sign", source=TLS)
    sign_s: float = param(
        0.1,
        "from a certificate's request until the controllers have approved and signed it, besides their writes",
        unverified=True,
        ge=0,
        le=60,
    )
    watches: int = param(
        18,
        "watches that kubelet and kube-proxy open, each after a LIST",
        source="k8s-1m, Kubernetes 1.32: 18 watches a node",
        ge=0,
        le=1000,
    )
    network_s: float = param(
        5.0,
        "from its address range until the network plug-in's agent says that it is ready",
        unverified=True,
        ge=0,
        le=3600,
    )
    status_s: float = param(
        10.0,
        "period of the kubelet's looks at itself: it says Ready with the first one after its network is",
        source="Kubernetes 1.20 source, kubelet defaults",
        gt=0,
        le=3600,
    )
    cidr_qps: float = param(
        20.0,
        "requests a second of the controller that gives nodes their address ranges",
        source="Kubernetes 1.20 source, controller manager",
        gt=0,
        le=1e6,
    )
    cidr_burst: int = param(30, "its burst", source="Kubernetes 1.20 source, controller manager", ge=1, le=1_000_000)


class DrainSpec(Spec):
    """`kubectl drain`."""

    retry_s: float = param(
        5.0, "wait after an eviction that a disruption budget refused", source="kubectl drain: 5 s", gt=0, le=3600
    )
    poll_s: float = param(
        1.0, "how often it looks whether the pods are gone", source="kubectl drain: 1 s", gt=0, le=3600
    )
    max_unavailable_share: float = param(
        1.0,
        "of an application's pods that may be away at a time because of drains: the disruption budget of every application of "
        "more than one pod",
        gt=0,
        le=1,
    )


class AutoscalerSpec(Spec):
    """The cluster autoscaler: grows pools that have a `maximum` for pods that fit nowhere, and takes idle nodes away."""

    scan_s: float = param(10.0, "how often it looks", source=CA, gt=0, le=3600)
    expander: Literal["random", "least-waste", "most-pods"] = param(
        "random", "which pool grows, where several would help", source=CA
    )
    max_nodes: int | None = param(
        None, "nodes of the whole cluster at most; null: no limit", source=CA, ge=1, le=1_000_000
    )
    scan_cpu_s: float = param(0.05, "work of one look, on the controllers' machine", unverified=True, ge=0, le=60)
    estimate_cpu_s: float = param(2.0e-4, "work of trying one pod on one template node", unverified=True, ge=0, le=1)
    scale_down: bool = param(True, "take idle nodes away", source=CA)
    utilisation: float = param(
        0.5,
        "a node is idle when its pods ask for less than this share of its cpu and of its memory",
        source=CA,
        ge=0,
        le=1,
    )
    unneeded_s: float = param(600.0, "so long it must have been idle", source=CA, ge=0, le=1e6)
    after_add_s: float = param(600.0, "and so long nothing was added", source=CA, ge=0, le=1e6)
    empty_at_once: int = param(10, "empty nodes taken away in one look", source=CA, ge=1, le=10_000)
    shut_down_s: float = param(30.0, "from a node's removal until its machine is gone", unverified=True, ge=0, le=1e6)
