"""Docker behind dockershim."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from sim.base.rand import Dist, Lognormal
from sim.base.spec import param
from sim.kubelet.runtimes.catalog import RUNTIMES, Process, RuntimeSpec

if TYPE_CHECKING:
    from sim.kubelet.node import Node

STARTS = (
    "arXiv 2602.15214: Docker start on SSD 568 ms, 8 to 10 ms of it namespaces; less our guess of 30 ms in the client"
)
CONCURRENCY = "LightVM (SOSP'17), remembered: Docker starts in 150 ms first and in about 1 s beside 1,000 containers"
THIN_POOL = "Docker documentation: device mapper's thin-pool transactions are serial; the amount is our guess"
DEVICE_MAPPER_LOCK_S = 0.1


@RUNTIMES.register("docker")
class Docker(RuntimeSpec):
    """Docker through dockershim: the daemon creates and starts the pause container, the network is attached to it, then each
    container is created and started in its namespaces. The pause container costs what any container costs."""

    label: ClassVar[str] = "docker"

    sandbox_cpu_s: float = param(
        0.13,
        "work of creating and starting the pause container",
        source=STARTS + "; our split",
        unverified=True,
        ge=0,
        le=60,
    )
    sandbox_wait_s: Dist = param(
        Lognormal(median=0.376, sigma=0.35, maximum=30),
        "waiting for disk and daemon beside it",
        source=STARTS + "; our split",
        unverified=True,
    )
    container_cpu_s: float = param(
        0.13, "work of starting one container", source=STARTS + "; our split", unverified=True, ge=0, le=60
    )
    container_wait_s: Dist = param(
        Lognormal(median=0.376, sigma=0.35, maximum=30),
        "creating one container: its root file system, records on disk, the daemon",
        source=STARTS + "; our split",
        unverified=True,
    )
    per_sandbox_s: float = param(
        0.85e-3,
        "added to each start by every pod that is on the node already",
        source=CONCURRENCY,
        unverified=True,
        ge=0,
        le=1,
    )
    storage_driver: Literal["overlay2", "devicemapper"] = param(
        "overlay2",
        "device mapper holds its thin pool's lock for 0.1 s a container, overlay only its mount",
        source=THIN_POOL,
        unverified=True,
    )

    def run_pod_sandbox(self, node: Node, attach_network: Callable[[], Process]) -> Process:
        yield from self.boot_sandbox(node)
        yield from attach_network()

    def storage_hold_s(self) -> float:
        return DEVICE_MAPPER_LOCK_S if self.storage_driver == "devicemapper" else self.storage_lock_s
