"""What faults can do to nodes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from simpy.events import Event

from sim.engine.clock import Clock
from sim.node_lifecycle.drain import Drains
from sim.node_lifecycle.park import RUNS, NodePark, NodeState

Process = Generator[Event, Any, None]


class NodeFaults:
    """Crashes, network losses and drains of nodes.

    stop_pods, start_pods: what a crash does to the pods that run on a node, and what its kubelet does when it is back.
    """

    def __init__(
        self,
        clock: Clock,
        park: NodePark,
        drains: Drains,
        stop_pods: Callable[[int], None],
        start_pods: Callable[[int], None],
        rng: np.random.Generator,
    ) -> None:
        self._clock = clock
        self.park = park
        self.drains = drains
        self._stop_pods = stop_pods
        self._start_pods = start_pods
        self._rng = rng
        self._rows = {node.spec.name: row for row, node in enumerate(park.nodes)}
        self.crashes = 0

    def choose(self, names: Sequence[str], zone: str, count: int) -> list[int]:
        """Rows of the nodes that a fault names, or of as many as it asks for, drawn among those that are ready."""
        if names:
            return [self._rows[name] for name in names]
        ready = self.park.with_state(*RUNS)
        if zone:
            return [row for row in ready.tolist() if self.park.nodes[row].zone == zone]
        return sorted(self._rng.choice(ready, min(count, len(ready)), replace=False).tolist())

    def crash(self, row: int) -> None:
        """The machine stops."""
        if self.park.state[row] in RUNS:
            self.crashes += 1
            self.park.lose(row, NodeState.DOWN)
            self._stop_pods(row)

    def restart(self, row: int) -> None:
        """The machine runs again, and its kubelet."""
        if self.park.state[row] == NodeState.DOWN:
            self.park.regain(row)
            self._start_pods(row)

    def cut_off(self, row: int) -> None:
        """Nothing passes between the node and the control plane."""
        self.park.lose(row, NodeState.CUT_OFF)

    def reconnect(self, row: int) -> None:
        """It does again."""
        if self.park.state[row] == NodeState.CUT_OFF:
            self.park.regain(row)
