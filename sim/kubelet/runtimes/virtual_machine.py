"""What runtimes that give each pod a virtual machine have in common: a monitor, a guest, templates and pools of warm machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sim.base.rand import Dist, Lognormal
from sim.base.spec import param
from sim.kubelet.runtimes.catalog import Isolation, Process, RuntimeSpec

if TYPE_CHECKING:
    from sim.kubelet.node import Node

KATA_TEMPLATE = "Kata Containers documentation, VM templating: 0.8199 s without, 0.5028 s with (containerd, shim v2)"
KATA_MEMORY = "Kata Containers CI baseline 2024: 120,053 kB a container, 51,538 kB after kernel same-page merging"
MERGED = 68_515_000


class VirtualMachineSpec(RuntimeSpec):
    """Base: `run_pod_sandbox` starts a monitor that boots a guest with an agent, which then starts containers inside.

    Memory: the monitor and its helpers belong to each pod alone, the guest's pages are alike in all pods.
    """

    isolation: ClassVar[Isolation] = Isolation.VIRTUAL_MACHINE

    sandbox_cpu_s: float = param(0.04, "work of the shim and its records", unverified=True, ge=0, le=60)
    sandbox_wait_s: Dist = param(
        Lognormal(median=0.028, sigma=0.35, maximum=30), "waiting for disk and shim beside it", unverified=True
    )
    monitor_cpu_s: float = param(0.10, "work of starting the virtual machine's monitor", unverified=True, ge=0, le=60)
    boot_cpu_s: float = param(0.25, "work of booting the guest's kernel and agent", unverified=True, ge=0, le=60)
    boot_wait_s: Dist = param(
        Lognormal(median=0.047, sigma=0.35, maximum=30), "the guest's and the shim's own waiting", unverified=True
    )
    container_cpu_s: float = param(
        0.05, "work of starting one container through the agent", unverified=True, ge=0, le=60
    )
    container_wait_s: Dist = param(
        Lognormal(median=0.075, sigma=0.35, maximum=30),
        "creating one container: snapshot, mount into the guest, the agent's answer",
        unverified=True,
    )
    monitor_memory_bytes: int = param(
        51_538_000, "host memory of monitor, shim and file system daemon", source=KATA_MEMORY, ge=0, le=2**40
    )
    sandbox_memory_bytes: int = param(
        MERGED,
        "the guest's resident memory: kernel, agent, caches",
        source=KATA_MEMORY + "; what merging saves",
        ge=0,
        le=2**40,
    )
    same_page_merging: bool = param(
        False, "the host merges equal pages of guests: held once a node", source=KATA_MEMORY
    )
    template: bool = param(
        False, "virtual machines are cloned from a template: no boot, and the guest's pages are held once a node"
    )
    clone_cpu_s: float = param(
        0.06,
        "work of mapping the template into a started monitor and resuming the agent, in place of the boot",
        source=KATA_TEMPLATE,
        unverified=True,
        ge=0,
        le=60,
    )
    warm_pool: int = param(
        0, "booted virtual machines that each node keeps ready; one taken is replaced in the background", ge=0, le=1000
    )

    def boot_sandbox(self, node: Node) -> Process:
        slots = node.start_slots(self.parallel_starts)
        if slots is not None and not slots.try_acquire():
            yield slots.acquire()
        machine_s, waits_s = self._machine_costs(node)
        if self.warm_pool and node.take_warm(self, self.warm_pool):
            node.clock.start(self._refill(node))
            machine_s = waits_s = 0.0
        yield node.machine.work(self.sandbox_cpu_s + machine_s)
        waits_s += self._waiting_s(node, "sandbox", self.sandbox_wait_s, 0.0)
        yield node.clock.timeout(waits_s)
        node.add_sandbox(self)
        if slots is not None:
            slots.release()

    def _machine_costs(self, node: Node) -> tuple[float, float]:
        """Work and waiting of a virtual machine until its agent answers."""
        if self.template:
            return self.monitor_cpu_s + self.clone_cpu_s, 0.0
        return self.monitor_cpu_s + self.boot_cpu_s, node.draw(f"{self.label}.boot", self.boot_wait_s)

    def _refill(self, node: Node) -> Process:
        cpu_s, waits_s = self._machine_costs(node)
        yield node.machine.work(cpu_s)
        yield node.clock.timeout(waits_s)
        node.warm[id(self)] += 1

    def memory_bytes(self, sandboxes: int) -> float:
        if not sandboxes:
            return 0.0
        once = self.template or self.same_page_merging
        share = 1.0 if once else self.shared_memory_share
        guests = self.sandbox_memory_bytes * (share + sandboxes * (1 - share))
        return guests + (sandboxes + self.warm_pool) * self.monitor_memory_bytes
