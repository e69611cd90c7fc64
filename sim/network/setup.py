"""Attaching a pod on its node: the plug-in's steps, each a cost, most of them under the kernel's network lock.

A plug-in is programs that are started (processor time), netlink requests that hold the kernel's rtnl lock, and, where it
uses iptables, more programs that copy a whole table out and in again under the tables' lock. So pods that start together on
one node queue, and a node with many pods is slower.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Literal

from simpy.events import Event

from sim.base.rand import Dist, Lognormal
from sim.base.spec import Spec, param

if TYPE_CHECKING:
    from sim.kubelet.node import Node

Process = Generator[Event, Any, None]

KERNEL = "our measurement of the same rtnetlink steps one at a time: kernel 6.18, 2-core AMD EPYC VM"
PROGRAMS = "our measurement of iptables run for each pod, one at a time, by the number of pods present; same machine"


class BridgeSteps(Spec):
    """Steps of a plug-in that puts a veth pair on a bridge."""

    namespace_s: float = param(439e-6, "make the network namespace", source=KERNEL, ge=0, le=10)
    veth_s: float = param(404e-6, "make the veth pair and move one end in", source=KERNEL, ge=0, le=10)
    ipam_s: float = param(29e-6, "host-local: lock file, next address, one file", source=KERNEL, ge=0, le=10)
    attach_s: float = param(103e-6, "put the host's end on the bridge", source=KERNEL, ge=0, le=10)
    links_up_s: float = param(57e-6, "both ends up, gratuitous ARP", source=KERNEL, ge=0, le=10)
    address_s: float = param(29e-6, "the pod's address", source=KERNEL, ge=0, le=10)
    routes_s: float = param(6.2e-6, "the pod's routes", source=KERNEL, ge=0, le=10)
    port_s: float = param(
        2.46e-6,
        "added by each port that the bridge has already; IPv6 neighbour discovery flooded to all of them is suspected",
        source=KERNEL + "; median slope over 0 to 450 ports",
        ge=0,
        le=1,
    )
    noise: Dist = param(
        Lognormal(median=1.0, sigma=0.734),
        "factor on the time that one set-up holds the lock: the kernel's own work after earlier ones comes between",
        source=KERNEL + "; median and mean of 500 pods",
    )

    @property
    def fixed_s(self) -> float:
        return (
            self.namespace_s
            + self.veth_s
            + self.ipam_s
            + self.attach_s
            + self.links_up_s
            + self.address_s
            + self.routes_s
        )


class RoutedSteps(Spec):
    """Steps of a plug-in that routes to a veth without a bridge (Calico)."""

    namespace_s: float = param(427e-6, "make the network namespace", source=KERNEL, ge=0, le=10)
    veth_s: float = param(385e-6, "make the veth pair and move one end in", source=KERNEL, ge=0, le=10)
    ipam_s: float = param(28e-6, "record the address on the node", source=KERNEL, ge=0, le=10)
    sysctls_s: float = param(49e-6, "proxy ARP and forwarding on the host's end", source=KERNEL, ge=0, le=10)
    links_up_s: float = param(65e-6, "both ends up, gratuitous ARP", source=KERNEL, ge=0, le=10)
    address_s: float = param(26.5e-6, "the pod's address", source=KERNEL, ge=0, le=10)
    routes_s: float = param(
        15e-6, "the pod's routes: the link-local gateway and the default one", source=KERNEL, ge=0, le=10
    )
    host_route_s: float = param(6.1e-6, "the host's /32 route to the pod", source=KERNEL, ge=0, le=10)
    port_s: float = param(0.0, "added by each pod that the node has already", source=KERNEL + "; none seen", ge=0, le=1)
    noise: Dist = param(
        Lognormal(median=1.0, sigma=0.782),
        "factor on the time that one set-up holds the lock",
        source=KERNEL + "; median and mean of 500 pods",
    )

    @property
    def fixed_s(self) -> float:
        return (
            self.namespace_s
            + self.veth_s
            + self.ipam_s
            + self.sysctls_s
            + self.links_up_s
            + self.address_s
            + self.routes_s
            + self.host_route_s
        )


class RuleSteps(Spec):
    """iptables programs that a plug-in runs for a pod."""

    backend: Literal["none", "legacy", "nft"] = param(
        "none", "which iptables the plug-in runs for each pod; none: it runs none"
    )
    program_s: float = param(1.89e-3, "starting one iptables-legacy program", source=PROGRAMS, ge=0, le=10)
    rule_s: float = param(
        1.59e-6,
        "a legacy program copies the whole table: added by each rule in it, under the tables' lock",
        source=PROGRAMS,
        ge=0,
        le=1,
    )
    nft_program_s: float = param(0.893e-3, "starting one iptables-nft program", source=PROGRAMS, ge=0, le=10)
    nft_rule_s: float = param(0.225e-6, "added by each rule there is, iptables-nft", source=PROGRAMS, ge=0, le=1)

    def program_cost_s(self) -> float:
        return self.nft_program_s if self.backend == "nft" else self.program_s

    def per_rule_s(self) -> float:
        return self.nft_rule_s if self.backend == "nft" else self.rule_s


def attach(
    node: Node,
    plugin_cpu_s: float,
    steps: BridgeSteps | RoutedSteps,
    rules: RuleSteps,
    programs: int,
    rules_per_pod: int,
) -> Process:
    """One ADD. programs: iptables programs run for a pod; rules_per_pod: rules that each leaves in the table."""
    yield node.machine.work(plugin_cpu_s)
    if not node.network_lock.try_acquire():
        yield node.network_lock.acquire()
    held_s = (steps.fixed_s + steps.port_s * node.ports) * node.draw("network.set-up", steps.noise)
    yield node.clock.timeout(held_s)
    node.ports += 1
    node.network_lock.release()
    if rules.backend != "none" and programs:
        yield from _run_programs(node, rules, programs, rules_per_pod)


def _run_programs(node: Node, rules: RuleSteps, programs: int, rules_per_pod: int) -> Process:
    """Start the programs one after the other, then pay for the table they copy, under its lock."""
    yield node.machine.work(programs * rules.program_cost_s())
    if not node.rules_lock.try_acquire():
        yield node.rules_lock.acquire()
    yield node.machine.work(programs * rules.per_rule_s() * rules_per_pod * (node.ports - 1))
    node.rules_lock.release()


def detach(node: Node, lock_s: float, grace_s: float) -> Process:
    """One DEL: the lock while the pair is taken down, then the kernel's grace period, which holds nobody else up."""
    if not node.network_lock.try_acquire():
        yield node.network_lock.acquire()
    yield node.clock.timeout(lock_s)
    node.ports -= 1
    node.network_lock.release()
    yield node.clock.timeout(grace_s)
