"""Firecracker microVMs behind Kata's shim."""

from __future__ import annotations

from typing import ClassVar

from sim.base.rand import Dist, Lognormal
from sim.base.spec import param
from sim.kubelet.runtimes.catalog import RUNTIMES
from sim.kubelet.runtimes.virtual_machine import VirtualMachineSpec

SPECIFICATION = (
    "Firecracker SPECIFICATION.md: monitor 8 CPU ms, 12 ms typical; boot to /sbin/init at most 125 ms; at most 5 MiB"
)
AGENT = "Kata's guest: what its boot takes beyond the kernel's init is our guess"


@RUNTIMES.register("firecracker")
class Firecracker(VirtualMachineSpec):
    """Firecracker: a minimal machine model without a shared file system, so root file systems are block devices of the host."""

    label: ClassVar[str] = "firecracker"

    monitor_cpu_s: float = param(8e-3, "work of starting the monitor", source=SPECIFICATION, ge=0, le=60)
    boot_cpu_s: float = param(
        0.148,
        "work of booting the guest: kernel to init (the specification's bound less its waiting), then the agent",
        source=SPECIFICATION + "; " + AGENT,
        unverified=True,
        ge=0,
        le=60,
    )
    boot_wait_s: Dist = param(
        Lognormal(median=0.025, sigma=0.35, maximum=30),
        "the guest's own waiting",
        source=SPECIFICATION,
        unverified=True,
    )
    storage_lock_s: float = param(
        5e-3,
        "of preparing a container, time that it holds device mapper's thin pool",
        unverified=True,
        ge=0,
        le=10,
    )
    monitor_memory_bytes: int = param(
        5 * 2**20 + 15_000_000,
        "host memory: the monitor's bound of 5 MiB, and Kata's shim (our guess of 15 MB)",
        source=SPECIFICATION,
        unverified=True,
        ge=0,
        le=2**40,
    )
