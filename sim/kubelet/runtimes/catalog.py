"""What every container runtime answers: CRI's calls as processes on a node, its isolation, and what it takes of the node's memory.

A call's work goes on the node's cores, where a burst slows itself. Its waiting (disk, shim, daemon, guest) is drawn; part of it holds
a lock that the whole node shares, so pods that start together queue there too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from simpy.events import Event

from sim.base.plugin import Catalog
from sim.base.rand import Dist, Lognormal
from sim.base.spec import Spec, param

if TYPE_CHECKING:
    from sim.kubelet.node import Node

Process = Generator[Event, object, None]

CGROUPS = "RunD (USENIX ATC'22): host cgroup operations are serialised by one kernel lock; the amount is our guess"
SHIM = (
    "Kubernetes blog 2018-05 (containerd 1.1 against Docker 18.03, 105 idle pods); ratios from there, amounts our guess"
)


class Isolation(Enum):
    """What stands between a pod and the others on its node, weakest first."""

    NONE = "nothing: no process runs"
    SHARED_KERNEL = "namespaces and cgroups of one kernel"
    USER_SPACE_KERNEL = "a kernel in user space, which asks the host's for little"
    VIRTUAL_MACHINE = "a virtual machine with a kernel of its own"


class RuntimeSpec(Spec):
    """Base of every runtime.

    One pod start asks for `run_pod_sandbox` once, then `create_container` and `start_container` for each container.
    """

    label: ClassVar[str] = ""
    """Its name in the catalog, which begins the names of its random streams."""
    isolation: ClassVar[Isolation] = Isolation.SHARED_KERNEL

    sandbox_cpu_s: float = param(0.03, "work of creating and starting the pod's sandbox", unverified=True, ge=0, le=60)
    sandbox_wait_s: Dist = param(
        Lognormal(median=0.08, sigma=0.35, maximum=30), "waiting for disk and shim beside it", unverified=True
    )
    container_cpu_s: float = param(
        0.04, "work of starting one container: namespaces, cgroups, its process", unverified=True, ge=0, le=60
    )
    container_wait_s: Dist = param(
        Lognormal(median=0.12, sigma=0.35, maximum=30),
        "preparing one container: its root file system, the runtime's records on disk, the shim",
        unverified=True,
    )
    cgroup_lock_s: float = param(
        1.0e-3,
        "of a sandbox's or container's waiting, time that it holds the kernel's cgroup lock",
        source=CGROUPS,
        unverified=True,
        ge=0,
        le=10,
    )
    storage_lock_s: float = param(
        2.0e-3,
        "of preparing a container, time that it holds the storage driver's lock (overlay: mount, device mapper: thin pool)",
        unverified=True,
        ge=0,
        le=10,
    )
    disk_factor: float = param(
        1.0,
        "factor on all waiting: the node's disk against the SSD that the values stand for; 2.47 makes the published Docker "
        "start on a hard disk (1,157 ms) of that on an SSD (568 ms)",
        source="arXiv 2602.15214",
        ge=0,
        le=100,
    )
    per_sandbox_s: float = param(
        0.0, "added to each start by every sandbox that is on the node already", unverified=True, ge=0, le=1
    )
    parallel_starts: int | None = param(
        None, "sandboxes and containers that the runtime starts at a time; null: no limit of its own", ge=1, le=10_000
    )
    sandbox_memory_bytes: int = param(
        4_090_000,
        "memory that a pod's sandbox takes beside its containers' own: pause process, shim, guest kernel, monitor",
        source="gVisor's density benchmark, 2020: 4.09 MB a sleeping runc container, Docker's shim included",
        ge=0,
        le=2**40,
    )
    shared_memory_share: float = param(
        0.0,
        "of that, the share that all sandboxes of a node hold once between them (VM templates, kernel same-page merging)",
        ge=0,
        le=1,
    )
    list_cpu_s: float = param(
        0.30e-3,
        "the runtime's work a container in each relist of the kubelet",
        source=SHIM,
        unverified=True,
        ge=0,
        le=1,
    )
    status_cpu_s: float = param(
        0.69e-3,
        "the kubelet's own work a container in each relist, its share of the runtime's protocol included",
        source=SHIM,
        unverified=True,
        ge=0,
        le=1,
    )

    # --- CRI's calls

    def run_pod_sandbox(self, node: Node, attach_network: Callable[[], Process]) -> Process:
        """Create the pod's sandbox; `attach_network` runs where the real runtime calls the CNI plug-in: before its process starts."""
        yield from attach_network()
        yield from self.boot_sandbox(node)

    def boot_sandbox(self, node: Node) -> Process:
        """The sandbox without its network."""
        slots = node.start_slots(self.parallel_starts)
        if slots is not None and not slots.try_acquire():
            yield slots.acquire()
        yield node.machine.work(self.sandbox_cpu_s)
        yield node.clock.timeout(self._waiting_s(node, "sandbox", self.sandbox_wait_s, 0.0))
        node.add_sandbox(self)
        if slots is not None:
            slots.release()

    def create_container(self, node: Node) -> Process:
        """Prepare one container in its sandbox; its image is on the node."""
        slots = node.start_slots(self.parallel_starts)
        if slots is not None and not slots.try_acquire():
            yield slots.acquire()
        yield node.clock.timeout(self._waiting_s(node, "container", self.container_wait_s, self.storage_hold_s()))
        if slots is not None:
            slots.release()

    def start_container(self, node: Node) -> Process:
        """Start a prepared container; it runs when this ends."""
        yield node.machine.work(self.container_cpu_s)
        node.containers += 1

    def stop_container(self, node: Node, ends_in_s: float, grace_s: float) -> Process:
        """SIGTERM to a container whose process would end in `ends_in_s`, SIGKILL after `grace_s`."""
        yield node.clock.timeout(min(ends_in_s, grace_s))
        node.containers -= 1

    def remove_pod_sandbox(self, node: Node) -> None:
        """Stop and remove the sandbox, whose containers have ended; nobody waits for it."""
        node.remove_sandbox(self)

    # --- what a node asks

    def memory_bytes(self, sandboxes: int) -> float:
        """What so many sandboxes take of the node's memory beside their containers' own."""
        if not sandboxes:
            return 0.0
        shared = self.sandbox_memory_bytes * self.shared_memory_share
        return shared + sandboxes * (self.sandbox_memory_bytes - shared)

    def storage_hold_s(self) -> float:
        """Of preparing a container, time that it holds the storage driver's lock."""
        return self.storage_lock_s

    def _waiting_s(self, node: Node, stage: str, wait: Dist, storage_s: float) -> float:
        """How long one start waits now: what it waits alone, and for those before it at the node's locks."""
        alone_s = node.draw(f"{self.label}.{stage}", wait) * self.disk_factor + self.per_sandbox_s * node.sandboxes
        queued_s = node.cgroup_lock.enter(self.cgroup_lock_s)
        if storage_s:
            queued_s += node.storage_lock.enter(storage_s)
        return alone_s + queued_s


RUNTIMES: Catalog[type[RuntimeSpec]] = Catalog("runtimes", package="sim.kubelet.runtimes")
