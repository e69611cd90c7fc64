"""Kata Containers with Cloud Hypervisor."""

from __future__ import annotations

from typing import ClassVar

from sim.base.spec import param
from sim.kubelet.runtimes.catalog import RUNTIMES
from sim.kubelet.runtimes.virtual_machine import VirtualMachineSpec

CI = "Kata Containers CI baseline 2024: 0.47 s to the workload through containerd; shim, agent and containers as with QEMU"


@RUNTIMES.register("kata-clh")
class KataCloudHypervisor(VirtualMachineSpec):
    """Kata with Cloud Hypervisor: the same shim and guest as with QEMU, a smaller machine model and a direct kernel boot."""

    label: ClassVar[str] = "kata-clh"

    monitor_cpu_s: float = param(0.02, "work of starting the monitor", source=CI, unverified=True, ge=0, le=60)
    boot_cpu_s: float = param(
        0.20, "work of booting the guest's kernel and agent", source=CI, unverified=True, ge=0, le=60
    )
