"""Machines that control-plane components run on."""

from __future__ import annotations

from sim.base.rand import Constant, Dist, Lognormal
from sim.base.spec import Spec, param

SLEEPS = "our measurement of Kubernetes 1.20.2: GETs of one client"


class ProgramSpec(Spec):
    """What the programs of a machine pay beside their work: threads that sleep when there is nothing to do.

    Zero costs nothing in a run and leaves all of a program's work to the costs of its steps, as measured with one client.
    """

    wake_cpu_s: float = param(
        0.0,
        "woken for a piece of work that no thread is free for: interrupt, kernel scheduler, run queue",
        source=SLEEPS + ": system time, 0.09 to 0.14 ms a wake-up",
        ge=0,
        le=0.1,
    )
    spin_s: float = param(
        0.0,
        "a thread without work looks for some this long before it sleeps; it takes a core meanwhile",
        source=SLEEPS + ": CPU beyond latency, 0.08 to 0.12 ms a sleep",
        ge=0,
        le=0.1,
    )
    cpu_factor: Dist = param(
        Constant(value=1.0),
        "factor on each piece of work, mean 1: garbage collection, caches, interrupts",
        source=SLEEPS + ": p50 over mean and p99 over p50, lognormal with sigma 0.5",
    )

    @property
    def free(self) -> bool:
        """Whether programs pay nothing beside their work."""
        return self == ProgramSpec()


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
    programs: ProgramSpec = ProgramSpec()
    nic_bytes_per_s: float = param(
        1.25e9,
        "what its network interface receives or sends (10 Gbit/s)",
        source="as a node's: network.nic_bytes_per_s",
        gt=0,
        le=1e12,
    )
