"""Node statuses: every kubelet looks at its node's object and tells the API server what has changed, or that it is still there.

All nodes are one process that sends, once a tick, as many requests as fall due: that they come together within a tick of a second
is the error this makes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.aggregate import Aggregate
from sim.apiserver.request import Operation
from sim.engine.clock import Clock

GET_NODE = Operation("GET", "nodes", "get_cpu_s")
"""Answered from the watch cache: it asks for any version (Kubernetes 1.20 source, tryUpdateNodeStatus)."""
PATCH_NODE_STATUS = Operation("PATCH", "nodes/status", "patch_cpu_s", writes=1)
TICK_S = 1.0


def report_nodes(
    clock: Clock, aggregate: Aggregate, heard: Callable[[], int], look_period_s: float, report_period_s: float
) -> Generator[Event, Any, None]:
    """Process: every node reads its object once a `look_period_s` and writes its status once a `report_period_s`.

    heard: how many nodes there are to be heard of.
    """
    looks = reports = 0.0
    while True:
        yield clock.timeout(TICK_S)
        nodes = heard()
        looks += nodes * TICK_S / look_period_s
        reports += nodes * TICK_S / report_period_s
        aggregate.send(GET_NODE, int(looks))
        aggregate.send(PATCH_NODE_STATUS, int(reports))
        looks -= int(looks)
        reports -= int(reports)
