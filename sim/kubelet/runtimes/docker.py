"""Docker behind dockershim."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.base.rand import Dist, Lognormal
from sim.base.spec import param
from sim.kubelet.runtimes.catalog import RUNTIMES, Process, RuntimeSpec

if TYPE_CHECKING:
    from sim.kubelet.node import Node

STARTS = "arXiv 2602.15214: Docker start on SSD 568 ms, 8 to 10 ms of it namespaces"


@RUNTIMES.register("docker")
class Docker(RuntimeSpec):
    """Docker through dockershim: the daemon creates the pause container, then each container."""

    sandbox_cpu_s: float = param(
        0.08,
        "work of creating and starting the pause container",
        source=STARTS + "; our split",
        unverified=True,
        ge=0,
        le=60,
    )
    sandbox_wait_s: Dist = param(
        Lognormal(median=0.20, sigma=0.35, maximum=30),
        "waiting for disk and daemon beside it",
        source=STARTS + "; our split",
        unverified=True,
    )
    container_cpu_s: float = param(
        0.12, "work of creating and starting one container", source=STARTS + "; our split", unverified=True, ge=0, le=60
    )
    container_wait_s: Dist = param(
        Lognormal(median=0.35, sigma=0.35, maximum=30),
        "waiting for disk and daemon beside it",
        source=STARTS + "; our split",
        unverified=True,
    )

    def run_pod_sandbox(self, node: Node, attach_network: Callable[[], Process]) -> Process:
        yield node.machine.work(self.sandbox_cpu_s)
        yield node.wait("docker.sandbox", self.sandbox_wait_s)
        yield from attach_network()

    def start_container(self, node: Node) -> Process:
        yield node.machine.work(self.container_cpu_s)
        yield node.wait("docker.container", self.container_wait_s)
