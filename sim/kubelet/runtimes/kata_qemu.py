"""Kata Containers with QEMU."""

from __future__ import annotations

from typing import ClassVar

from sim.base.spec import param
from sim.kubelet.runtimes.catalog import RUNTIMES
from sim.kubelet.runtimes.virtual_machine import VirtualMachineSpec

CI = "Kata Containers CI baseline 2024: 0.64 s to the workload through containerd; our split"


@RUNTIMES.register("kata-qemu")
class KataQemu(VirtualMachineSpec):
    """Kata with QEMU: a shim a pod, a full machine model, the root file system through virtio-fs."""

    label: ClassVar[str] = "kata-qemu"

    monitor_cpu_s: float = param(
        0.13, "work of starting QEMU and its machine model", source=CI, unverified=True, ge=0, le=60
    )
    boot_cpu_s: float = param(
        0.26, "work of booting the guest's kernel and agent", source=CI, unverified=True, ge=0, le=60
    )
