"""Intel Clear Containers: 1 with kvmtool, 2 with qemu-lite, as OCI runtimes of Docker."""

from __future__ import annotations

from typing import ClassVar

from sim.base.rand import Dist, Lognormal
from sim.base.spec import param
from sim.kubelet.runtimes.catalog import RUNTIMES
from sim.kubelet.runtimes.docker import STARTS
from sim.kubelet.runtimes.virtual_machine import VirtualMachineSpec

LWN = "LWN, 2015, remembered: starts below 150 to 200 ms with 18 to 20 MB a container; our split"
CI = "Clear Containers CI, marked as an example: /bin/true through Docker takes 0.5 to 1.5 s; our split"
UNDER_DOCKER = STARTS + "; what the Docker daemon itself waits for"


class ClearContainersSpec(VirtualMachineSpec):
    """Both: Docker's daemon makes the root file system and calls the runtime in runC's place, which starts a virtual machine."""

    sandbox_cpu_s: float = param(
        0.09, "the Docker daemon's and the runtime's work", source=UNDER_DOCKER, unverified=True, ge=0, le=60
    )
    sandbox_wait_s: Dist = param(
        Lognormal(median=0.33, sigma=0.35, maximum=30),
        "waiting for disk and daemon",
        source=UNDER_DOCKER,
        unverified=True,
    )
    container_wait_s: Dist = param(
        Lognormal(median=0.10, sigma=0.35, maximum=30), "creating one container in the guest", unverified=True
    )


@RUNTIMES.register("clear-containers-1")
class ClearContainers1(ClearContainersSpec):
    """Clear Containers 1: kvmtool, a minimal guest whose memory is shared through DAX."""

    label: ClassVar[str] = "clear-containers-1"

    monitor_cpu_s: float = param(0.02, "work of starting kvmtool", source=LWN, unverified=True, ge=0, le=60)
    boot_cpu_s: float = param(0.12, "work of booting the guest", source=LWN, unverified=True, ge=0, le=60)
    boot_wait_s: Dist = param(
        Lognormal(median=0.03, sigma=0.35, maximum=30), "the guest's own waiting", source=LWN, unverified=True
    )
    monitor_memory_bytes: int = param(4_000_000, "host memory of kvmtool", source=LWN, unverified=True, ge=0, le=2**40)
    sandbox_memory_bytes: int = param(
        15_000_000, "the guest's resident memory", source=LWN, unverified=True, ge=0, le=2**40
    )


@RUNTIMES.register("clear-containers-2")
class ClearContainers2(ClearContainersSpec):
    """Clear Containers 2: qemu-lite, a proxy and a shim a container."""

    label: ClassVar[str] = "clear-containers-2"

    monitor_cpu_s: float = param(0.05, "work of starting qemu-lite", source=CI, unverified=True, ge=0, le=60)
    boot_cpu_s: float = param(0.18, "work of booting the guest", source=CI, unverified=True, ge=0, le=60)
    monitor_memory_bytes: int = param(
        25_000_000, "host memory of qemu-lite, proxy and shim", unverified=True, ge=0, le=2**40
    )
    sandbox_memory_bytes: int = param(45_000_000, "the guest's resident memory", unverified=True, ge=0, le=2**40)
