"""containerd with runc, through the CRI plug-in."""

from __future__ import annotations

from typing import ClassVar

from sim.base.rand import Dist, Lognormal
from sim.base.spec import param
from sim.kubelet.runtimes.catalog import RUNTIMES, SHIM, RuntimeSpec

CRI = "Kubernetes blog 2018-05: containerd 1.1 uses 68 % less runtime CPU than Docker 18.03; applied to Docker's values"


@RUNTIMES.register("containerd")
class Containerd(RuntimeSpec):
    """containerd and runc: the network namespace is attached first, then the pause container starts in it."""

    label: ClassVar[str] = "containerd"

    sandbox_cpu_s: float = param(
        0.03, "work of creating and starting the pause container", source=CRI, unverified=True, ge=0, le=60
    )
    sandbox_wait_s: Dist = param(
        Lognormal(median=0.08, sigma=0.35, maximum=30),
        "waiting for disk and shim beside it",
        source=CRI,
        unverified=True,
    )
    container_cpu_s: float = param(
        0.04, "work of starting one container: runc, namespaces, cgroups", source=CRI, unverified=True, ge=0, le=60
    )
    container_wait_s: Dist = param(
        Lognormal(median=0.12, sigma=0.35, maximum=30),
        "creating one container: snapshot of its root file system, records on disk, shim",
        source=CRI,
        unverified=True,
    )
    list_cpu_s: float = param(
        0.0956e-3,
        "the runtime's work a container in each relist of the kubelet: 68.13 % less than Docker's",
        source=SHIM,
        unverified=True,
        ge=0,
        le=1,
    )
    status_cpu_s: float = param(
        0.477e-3,
        "the kubelet's own work a container in each relist: 30.89 % less than with dockershim inside it",
        source=SHIM,
        unverified=True,
        ge=0,
        le=1,
    )
