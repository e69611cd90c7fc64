"""Somebody takes nodes out of service."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import AnyOf, Event

from sim.base.spec import param
from sim.faults.catalog import FAULTS, Struck
from sim.faults.node_crash import NodeFaultSpec


@FAULTS.register("node-drain")
class NodeDrain(NodeFaultSpec):
    """`kubectl drain`, one node after the other; each is in service again `service_s` after its drain ended or was given up."""

    service_s: float = param(600.0, "from the end of a node's drain until it is uncordoned", ge=0, le=1e9)
    timeout_s: float = param(3600.0, "so long a drain may take; what has not gone then stays", gt=0, le=1e9)

    def strike(self, struck: Struck) -> Generator[Event, Any, None]:
        faults, rows = self.hit(struck)
        for row in rows:
            drained = struck.clock.start(faults.drains.drain(row))
            if drained.callbacks is not None:
                yield AnyOf(struck.clock, [drained, struck.clock.timeout(self.timeout_s)])
            yield struck.clock.timeout(self.service_s)
            faults.park.cordon(row, cordoned=False)
