"""Nodes lose the network."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.base.spec import param
from sim.faults.catalog import FAULTS, Struck
from sim.faults.node_crash import NodeFaultSpec


@FAULTS.register("node-network-loss")
class NodeNetworkLoss(NodeFaultSpec):
    """Nothing passes between the nodes and the control plane; their pods go on running, and nobody hears of them."""

    for_s: float = param(120.0, "how long", gt=0, le=1e9)

    def strike(self, struck: Struck) -> Generator[Event, Any, None]:
        faults, rows = self.hit(struck)
        for row in rows:
            faults.cut_off(row)
        yield struck.clock.timeout(self.for_s)
        for row in rows:
            faults.reconnect(row)
