"""What a kubelet refuses: a pod that does not fit beside those it has taken in, whoever sent it there.

The scheduler decides on what it has heard, so a pod may come that no longer fits: bound by name, by a second scheduler, or onto a
node that reserves something of its own. Source: Kubernetes 1.20 source, predicateAdmitHandler, eviction manager's Admit.
"""

from __future__ import annotations

from sim.kubelet.node import Node
from sim.kubelet.plan import PodPlan


def admit(node: Node, plan: PodPlan) -> str:
    """Take a pod in; returns "", or the reason why not: OutOfpods, OutOfcpu, NodePorts, Evicted, ..."""
    if node.conditions and not plan.critical and ("DiskPressure" in node.conditions or plan.best_effort):
        return "Evicted"
    given, used = node.allocatable, node.admitted
    if given:
        if node.admitted_pods >= given.get("pods", 0):
            return "OutOfpods"
        for name, amount in plan.needs:
            if used[name] + amount > given.get(name, 0):
                return f"OutOf{name}"
    if plan.host_ports:
        if not plan.host_ports.isdisjoint(node.host_ports):
            return "NodePorts"
        node.host_ports |= plan.host_ports
    node.admitted_pods += 1
    for name, amount in plan.needs:
        used[name] += amount
    return ""


def release(node: Node, plan: PodPlan) -> None:
    """The pod's containers have ended: its room is free again."""
    node.admitted_pods -= 1
    used = node.admitted
    for name, amount in plan.needs:
        used[name] -= amount
    if plan.host_ports:
        node.host_ports -= plan.host_ports
