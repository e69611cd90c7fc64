"""CRI-O with runc: conmon watches each container."""

from __future__ import annotations

from typing import ClassVar

from sim.base.rand import Dist, Lognormal
from sim.base.spec import param
from sim.kubelet.runtimes.catalog import RUNTIMES, RuntimeSpec

LIKE = "taken from containerd: the same runc and overlay; no figure of its own found"


@RUNTIMES.register("cri-o")
class CriO(RuntimeSpec):
    """CRI-O: the pause process starts in a namespace that its pinns helper made; each container has a conmon process."""

    label: ClassVar[str] = "cri-o"

    sandbox_wait_s: Dist = param(
        Lognormal(median=0.08, sigma=0.35, maximum=30), "waiting for disk and conmon", source=LIKE, unverified=True
    )
    container_wait_s: Dist = param(
        Lognormal(median=0.12, sigma=0.35, maximum=30),
        "creating one container: its layers' mount, records on disk, conmon",
        source=LIKE,
        unverified=True,
    )
    list_cpu_s: float = param(
        0.0956e-3,
        "the runtime's work a container in each relist of the kubelet",
        source=LIKE,
        unverified=True,
        ge=0,
        le=1,
    )
    status_cpu_s: float = param(
        0.477e-3, "the kubelet's own work a container in each relist", source=LIKE, unverified=True, ge=0, le=1
    )
