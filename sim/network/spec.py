"""Parameters of the network: what the CNI plug-in costs on a node, and how fast nodes are connected."""

from __future__ import annotations

from sim.base.spec import Spec, param


class BridgeCniSpec(Spec):
    """CNI `bridge` with host-local addresses: a veth pair on a bridge, under the kernel's network lock."""

    setup_cpu_s: float = param(0.02, "work of one set-up outside the kernel's lock: plug-in start, address, files", unverified=True, ge=0, le=60)
    lock_s: float = param(0.03, "time one set-up holds the node's kernel network lock (rtnl)",
                          source="our measurement of rtnetlink set-up steps on kernel 6.18", ge=0, le=60)
    port_lock_s: float = param(5.0e-5, "added to the lock time per port already on the bridge",
                               source="our measurement of rtnetlink set-up steps on kernel 6.18", ge=0, le=1)
