"""RunD: a Kata-like secure container made for many and fast starts."""

from __future__ import annotations

from typing import ClassVar

from sim.base.rand import Dist, Lognormal
from sim.base.spec import param
from sim.kubelet.runtimes.catalog import RUNTIMES
from sim.kubelet.runtimes.virtual_machine import VirtualMachineSpec

RUND = "RunD (USENIX ATC'22), abstract: over 200 starts a second and over 2,500 sandboxes on a node of 384 GB; amounts our guess"


@RUNTIMES.register("rund")
class RunD(VirtualMachineSpec):
    """RunD: guests cloned from a template with a condensed kernel, a read-only root file system of the host, and cgroups taken from
    a pool by renaming, so that neither storage nor the cgroup lock holds up many starts at once."""

    label: ClassVar[str] = "rund"

    sandbox_cpu_s: float = param(0.03, "work of the shim and its records", source=RUND, unverified=True, ge=0, le=60)
    monitor_cpu_s: float = param(0.03, "work of starting the monitor", source=RUND, unverified=True, ge=0, le=60)
    boot_cpu_s: float = param(
        0.15, "work of booting a guest without the template", source=RUND, unverified=True, ge=0, le=60
    )
    clone_cpu_s: float = param(0.02, "work of mapping the template", source=RUND, unverified=True, ge=0, le=60)
    template: bool = param(True, "virtual machines are cloned from a template", source=RUND)
    container_wait_s: Dist = param(
        Lognormal(median=0.02, sigma=0.35, maximum=30), "creating one container", source=RUND, unverified=True
    )
    cgroup_lock_s: float = param(
        0.1e-3, "time that a start holds the kernel's cgroup lock: a rename", source=RUND, unverified=True, ge=0, le=10
    )
    storage_lock_s: float = param(
        0.0, "time that a start holds the storage driver's lock: its file system is there", source=RUND, ge=0, le=10
    )
    monitor_memory_bytes: int = param(
        20_000_000, "host memory of monitor and shim", source=RUND, unverified=True, ge=0, le=2**40
    )
