"""Parameters of the namespace controller."""

from __future__ import annotations

from sim.base.spec import Spec, param

K20 = "Kubernetes 1.20 source, pkg/controller/namespace"


class NamespaceSpec(Spec):
    """How namespaces are emptied."""

    workers: int = param(10, "namespaces emptied at a time", source=K20, ge=1, le=10_000)
    qps_factor: float = param(20.0, "of the controllers' client requests per second", source=K20, gt=0, le=1e6)
    burst_factor: int = param(100, "of the controllers' client burst", source=K20, ge=1, le=1_000_000)
    grace_s: float = param(
        5.0,
        "from the news of a deletion to its first look: API servers are to hear of it first",
        source=K20,
        ge=0,
        le=3600,
    )
