"""Node conditions become taints: the kubelet reports MemoryPressure or DiskPressure, the node life-cycle controller taints the node.

Source: Kubernetes 1.20 source, doNoScheduleTaintingPass: taints node.kubernetes.io/memory-pressure and disk-pressure, NoSchedule.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.apiserver.request import Operation
from sim.engine.clock import Clock
from sim.kubelet.eviction import DISK_PRESSURE, MEMORY_PRESSURE
from sim.kubelet.node_status import PATCH_NODE_STATUS
from sim.state.objects import Taint

TAINT_NODE = Operation("PATCH", "nodes", "patch_cpu_s", writes=1)
TAINTS = {
    MEMORY_PRESSURE: Taint("node.kubernetes.io/memory-pressure", "", "NoSchedule"),
    DISK_PRESSURE: Taint("node.kubernetes.io/disk-pressure", "", "NoSchedule"),
}


class NodeConditions:
    """Brings the conditions of all nodes to where the scheduler sees them.

    kubelet, controller: who writes. set_taints: called when the taints of a node are stored.
    """

    def __init__(
        self, clock: Clock, kubelet: Client, controller: Client, set_taints: Callable[[int, tuple[Taint, ...]], None]
    ) -> None:
        self._clock = clock
        self._kubelet = kubelet
        self._controller = controller
        self._set_taints = set_taints
        self._held: dict[int, set[str]] = {}

    def changed(self, node: int, condition: str, holds: bool) -> None:
        """A kubelet found that a condition holds, or no more."""
        held = self._held.setdefault(node, set())
        (held.add if holds else held.discard)(condition)
        self._clock.start(self._tell(node))

    def _tell(self, node: int) -> Generator[Event, Any, None]:
        yield from self._kubelet.send(PATCH_NODE_STATUS, "")
        if (yield from self._controller.send(TAINT_NODE, "")) == 200:
            self._set_taints(node, tuple(TAINTS[condition] for condition in sorted(self._held[node])))
