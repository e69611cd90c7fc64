"""Hyper: hyperd and runV."""

from __future__ import annotations

from typing import ClassVar

from sim.base.rand import Dist, Lognormal
from sim.base.spec import param
from sim.kubelet.runtimes.catalog import RUNTIMES
from sim.kubelet.runtimes.virtual_machine import VirtualMachineSpec

HYPER = "hyper.sh, 2015, remembered: starts in about 350 ms with 28 MB; hyperd's repository says below one second; our split"


@RUNTIMES.register("hyper")
class Hyper(VirtualMachineSpec):
    """Hyper: runV starts a QEMU virtual machine with a tiny init, maps the root file system that Docker's storage driver made into
    it, and starts the container there; hyperd is the daemon that the kubelet talks to (through frakti)."""

    label: ClassVar[str] = "hyper"

    sandbox_cpu_s: float = param(0.02, "hyperd's work", source=HYPER, unverified=True, ge=0, le=60)
    monitor_cpu_s: float = param(0.08, "work of starting QEMU", source=HYPER, unverified=True, ge=0, le=60)
    boot_cpu_s: float = param(0.10, "work of booting the guest", source=HYPER, unverified=True, ge=0, le=60)
    boot_wait_s: Dist = param(
        Lognormal(median=0.02, sigma=0.35, maximum=30), "the guest's own waiting", source=HYPER, unverified=True
    )
    container_cpu_s: float = param(
        0.03, "work of starting one container in the guest", source=HYPER, unverified=True, ge=0, le=60
    )
    container_wait_s: Dist = param(
        Lognormal(median=0.07, sigma=0.35, maximum=30),
        "the storage driver's root file system and its mapping into the guest",
        source=HYPER,
        unverified=True,
    )
    monitor_memory_bytes: int = param(8_000_000, "host memory of QEMU", source=HYPER, unverified=True, ge=0, le=2**40)
    sandbox_memory_bytes: int = param(
        20_000_000, "the guest's resident memory", source=HYPER, unverified=True, ge=0, le=2**40
    )
