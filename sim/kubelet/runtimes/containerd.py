"""containerd with runc, through the CRI plugin."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.base.rand import Dist, Lognormal
from sim.base.spec import param
from sim.kubelet.runtimes.catalog import RUNTIMES, Process, RuntimeSpec

if TYPE_CHECKING:
    from sim.kubelet.node import Node

CRI = "Kubernetes blog 2018-05: containerd 1.1 uses 68 % less runtime CPU than Docker 18.03; applied to Docker's values"


@RUNTIMES.register("containerd")
class Containerd(RuntimeSpec):
    """containerd and runc: the network namespace is attached first, then the pause container starts in it."""

    sandbox_cpu_s: float = param(
        0.03, "work of creating and starting the pause container", source=CRI, unverified=True, ge=0, le=60
    )
    sandbox_wait_s: Dist = param(
        Lognormal(median=0.08, sigma=0.35, maximum=30),
        "waiting for disk and shim beside it",
        source=CRI,
        unverified=True,
    )
    container_cpu_s: float = param(
        0.04, "work of creating and starting one container", source=CRI, unverified=True, ge=0, le=60
    )
    container_wait_s: Dist = param(
        Lognormal(median=0.12, sigma=0.35, maximum=30),
        "waiting for disk and shim beside it",
        source=CRI,
        unverified=True,
    )

    def run_pod_sandbox(self, node: Node, attach_network: Callable[[], Process]) -> Process:
        yield from attach_network()
        yield node.machine.work(self.sandbox_cpu_s)
        yield node.wait("containerd.sandbox", self.sandbox_wait_s)

    def start_container(self, node: Node) -> Process:
        yield node.machine.work(self.container_cpu_s)
        yield node.wait("containerd.container", self.container_wait_s)
