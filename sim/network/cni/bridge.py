"""CNI `bridge` with host-local addresses: a veth pair, one end on the node's bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.base.spec import param
from sim.network.cni.catalog import CNI, CniSpec, Process

if TYPE_CHECKING:
    from sim.kubelet.node import Node

KERNEL = "our measurement of the same rtnetlink steps on kernel 6.18, 2-core AMD EPYC VM"


@CNI.register("bridge")
class Bridge(CniSpec):
    """A veth pair on a bridge: plug-in work in user space, then kernel work under one lock a node."""

    setup_cpu_s: float = param(0.02, "plug-in start, address allocation and files, outside the kernel's lock", unverified=True, ge=0, le=60)
    lock_s: float = param(0.03, "time one set-up holds the node's kernel network lock (rtnl)", source=KERNEL, ge=0, le=60)
    port_lock_s: float = param(5.0e-5, "added to that per port already on the bridge", source=KERNEL, ge=0, le=1)
    delete_lock_s: float = param(0.026, "time one removal holds the lock", source=KERNEL, ge=0, le=60)

    def add(self, node: Node) -> Process:
        yield node.machine.work(self.setup_cpu_s)
        if not node.network_lock.try_acquire():
            yield node.network_lock.acquire()
        yield node.clock.timeout(self.lock_s + self.port_lock_s * node.ports)
        node.ports += 1
        node.network_lock.release()

    def delete(self, node: Node) -> Process:
        if not node.network_lock.try_acquire():
            yield node.network_lock.acquire()
        yield node.clock.timeout(self.delete_lock_s)
        node.ports -= 1
        node.network_lock.release()
