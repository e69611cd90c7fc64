"""gVisor: runsc, a kernel in user space."""

from __future__ import annotations

from typing import ClassVar

from sim.base.rand import Dist, Lognormal
from sim.base.spec import param
from sim.kubelet.runtimes.catalog import RUNTIMES, Isolation, RuntimeSpec

DENSITY = "gVisor's density benchmark, 2020: 23.7 MB a sleeping container"
STARTUP = (
    "gVisor's startup benchmark, 2020: runsc starts no later than runc under Docker; so containerd's values, split anew"
)


@RUNTIMES.register("gvisor")
class Gvisor(RuntimeSpec):
    """runsc: one sentry (the user-space kernel) and its gofers a pod; further containers start inside the sentry."""

    label: ClassVar[str] = "gvisor"
    isolation: ClassVar[Isolation] = Isolation.USER_SPACE_KERNEL

    sandbox_cpu_s: float = param(
        0.06, "work of starting the sentry with the pause container", source=STARTUP, unverified=True, ge=0, le=60
    )
    sandbox_wait_s: Dist = param(
        Lognormal(median=0.08, sigma=0.35, maximum=30),
        "waiting for disk and shim beside it",
        source=STARTUP,
        unverified=True,
    )
    container_cpu_s: float = param(
        0.04,
        "work of starting one container: its gofer, then its process in the sentry",
        source=STARTUP,
        unverified=True,
        ge=0,
        le=60,
    )
    container_wait_s: Dist = param(
        Lognormal(median=0.12, sigma=0.35, maximum=30),
        "creating one container: snapshot, records on disk",
        source=STARTUP,
        unverified=True,
    )
    sandbox_memory_bytes: int = param(
        23_700_000, "memory of the sentry, gofers and shim of a sleeping pod", source=DENSITY, ge=0, le=2**40
    )
    list_cpu_s: float = param(
        0.0956e-3,
        "the runtime's work a container in each relist of the kubelet: containerd's",
        unverified=True,
        ge=0,
        le=1,
    )
    status_cpu_s: float = param(
        0.477e-3, "the kubelet's own work a container in each relist: as with containerd", unverified=True, ge=0, le=1
    )
