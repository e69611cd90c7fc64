"""Machines that control-plane components run on."""

from __future__ import annotations

from sim.base.rand import Dist, Lognormal
from sim.base.spec import Spec, param


class MachineSpec(Spec):
    """One control-plane machine: cores shared by everything placed on it, and a disk for etcd's log."""

    cores: int = param(
        64,
        "processor cores, shared fairly by all that runs here",
        source="Kubernetes sig-scalability: 64-core control plane for 5,000 nodes",
        ge=1,
        le=4096,
    )
    speed: float = param(
        1.0,
        "how fast a core is; 1 = the machine the costs were measured on (2-core AMD EPYC VM)",
        source="our measurement of Kubernetes 1.20.2",
        gt=0,
        le=100,
    )
    fsync_s: Dist = param(
        Lognormal(median=5.0e-5, sigma=0.35, maximum=1.0),
        "what the disk itself takes for one fdatasync of etcd's log; its CPU part is etcd.fsync_cpu_s",
        source="our measurement: etcd 3.4.23 WAL fsync, one client, virtio disk, 0.18 ms with its CPU part and a wake-up",
    )
