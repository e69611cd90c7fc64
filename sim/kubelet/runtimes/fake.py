"""The runtime of hollow nodes (kubemark): every call answers at once and nothing runs."""

from __future__ import annotations

from typing import ClassVar

from sim.base.rand import Constant, Dist
from sim.base.spec import param
from sim.kubelet.runtimes.catalog import RUNTIMES, Isolation, RuntimeSpec

FAKE = "Kubernetes 1.20 source, kubemark's hollow kubelet: a fake CRI service in memory"
NOTHING = Constant(value=0.0)


@RUNTIMES.register("fake")
class Fake(RuntimeSpec):
    """Kubemark's: a real kubelet over a runtime that keeps records only. Its own work is not seen beside the kubelet's."""

    label: ClassVar[str] = "fake"
    isolation: ClassVar[Isolation] = Isolation.NONE

    sandbox_cpu_s: float = param(0.0, "work of recording a sandbox", source=FAKE, ge=0, le=60)
    sandbox_wait_s: Dist = param(NOTHING, "waiting beside it", source=FAKE)
    container_cpu_s: float = param(0.0, "work of recording a container", source=FAKE, ge=0, le=60)
    container_wait_s: Dist = param(NOTHING, "waiting beside it", source=FAKE)
    cgroup_lock_s: float = param(
        0.0, "time that a start holds the kernel's cgroup lock: there are none", source=FAKE, ge=0, le=10
    )
    storage_lock_s: float = param(
        0.0, "time that a start holds the storage driver's lock: there is none", source=FAKE, ge=0, le=10
    )
    sandbox_memory_bytes: int = param(0, "memory of a sandbox", source=FAKE, ge=0, le=2**40)
    list_cpu_s: float = param(0.0, "the runtime's work a container in each relist", source=FAKE, ge=0, le=1)
    status_cpu_s: float = param(
        0.0, "the kubelet's work a container in each relist: in kubelet.sync_cpu_s", source=FAKE, ge=0, le=1
    )
