"""The nodes of a run that come and go: which exist, which are heard of, and who is told.

A node has a row from the beginning, also if it joins later. What the scheduler sees changes when its watch delivers it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from enum import IntEnum
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
from simpy.events import Event

from sim.apiserver.aggregate import LONGEST_TICK_S, Aggregate
from sim.apiserver.request import RENEW_LEASE
from sim.engine.clock import Clock, fire
from sim.scheduler.queueing_hints import node_added, node_deleted, node_updated
from sim.state.objects import NodeSpec, Taint

if TYPE_CHECKING:
    from sim.apiserver.watch import Handler, WatchHub
    from sim.nodes import ClusterNode
    from sim.scheduler.core import Core
    from sim.scheduler.loop import Scheduler


class NodeState(IntEnum):
    """Where a node is in its life."""

    ABSENT = 0
    """Not there: it may join later, or has been removed."""
    JOINING = 1
    """Its machine boots, or its kubelet introduces itself."""
    READY = 2
    DOWN = 3
    """Its machine does not run; the API server still has its object."""
    CUT_OFF = 4
    """It runs, but nothing passes between it and the API server."""
    REFUSED = 5
    """It runs and asks, but the API server does not accept its certificate: no heartbeat is stored."""


RUNS = (NodeState.READY, NodeState.REFUSED)
"""A node in one of these sends requests."""


class NodePark:
    """All nodes that exist at some time of the run.

    on_silent, on_back: called when heartbeats of a node stop, and when they are heard again.
    on_lost, on_regained: called when nothing passes between a node and the API server any more, and when it does again.
    """

    def __init__(
        self,
        clock: Clock,
        nodes: Sequence[ClusterNode],
        present: int,
        core: Core,
        scheduler: Scheduler,
        watch: WatchHub,
    ) -> None:
        self._clock = clock
        self.nodes = nodes
        self._core = core
        self._scheduler = scheduler
        self._watch = watch
        self.state = np.zeros(len(nodes), np.int8)
        """`NodeState` a node."""
        self.state[:present] = NodeState.READY
        self.silent_since_s = np.full(len(nodes), inf)
        """When the last heartbeat of a node that is not heard of came; inf for those that are."""
        self.cordoned = np.zeros(len(nodes), bool)
        self.ready_s = np.where(np.arange(len(nodes)) < present, 0.0, np.nan)
        """When the node became ready."""
        self.removed_s = np.full(len(nodes), np.nan)
        """When its object was removed."""
        self._taints: dict[int, tuple[Taint, ...]] = {}
        self._pressed: dict[int, tuple[Taint, ...]] = {}
        self._away: dict[int, Event] = {}
        """Nodes without a way to the API server; fires when they have one again."""
        self._held: dict[int, list[tuple[Handler, int]]] = {}
        self.on_silent: list[Callable[[int], None]] = []
        self.on_back: list[Callable[[int], None]] = []
        self.on_lost: list[Callable[[int], None]] = []
        self.on_regained: list[Callable[[int], None]] = []
        self._accepted = True
        on = {
            "added": self._scheduler_hears_added,
            "updated": self._scheduler_hears_updated,
            "removed": self._scheduler_hears_removed,
        }
        watch.watch("nodes", "kube-scheduler", on)
        for row in range(present, len(nodes)):
            core.remove_node(row)

    # --- what there is

    def with_state(self, *states: NodeState) -> np.ndarray:
        """Rows of the nodes in one of these states, int64."""
        return np.flatnonzero(np.isin(self.state, states))

    @property
    def heard(self) -> int:
        """Nodes that send heartbeats, whatever the answer."""
        return len(self.with_state(*RUNS))

    def level_ready(self) -> float:
        """Nodes whose heartbeats are stored, as a level of the time series."""
        return float(np.count_nonzero(self.state == NodeState.READY))

    def spec(self, node: int) -> NodeSpec:
        """The node's object as it stands: with its taints and its cordon."""
        spec = self.nodes[node].spec
        more = (*self._taints.get(node, ()), *self._pressed.get(node, ()))
        if not more and not self.cordoned[node]:
            return spec
        return replace(
            spec, taints=(*spec.taints, *more), unschedulable=bool(self.cordoned[node]) or spec.unschedulable
        )

    # --- what changes, once it is stored

    def joined(self, node: int) -> None:
        """The node's object says Ready: pods may come."""
        self.state[node] = NodeState.READY
        self.ready_s[node] = self._clock.now
        self._watch.publish("nodes", "added", node)
        if not self._accepted:
            self._refuse(node)

    def removed(self, node: int) -> None:
        """The node's object is gone."""
        self.state[node] = NodeState.ABSENT
        self.removed_s[node] = self._clock.now
        self.cordoned[node] = False
        self._taints.pop(node, None)
        self._pressed.pop(node, None)
        self._watch.publish("nodes", "removed", node)

    def cordon(self, node: int, cordoned: bool = True) -> None:
        """spec.unschedulable was written."""
        self.cordoned[node] = cordoned
        self._watch.publish("nodes", "updated", node)

    def taint(self, node: int, taints: tuple[Taint, ...]) -> None:
        """The taints that controllers put on a node, besides those of its pool; replaces the earlier ones."""
        self._taints[node] = taints
        self._watch.publish("nodes", "updated", node)

    def press(self, node: int, taints: tuple[Taint, ...]) -> None:
        """The taints of a node that is short of memory or disk; replaces the earlier ones."""
        self._pressed[node] = taints
        self._watch.publish("nodes", "updated", node)

    def _scheduler_hears_added(self, node: int) -> None:
        if not self._core.nodes.alive[node]:
            self._core.add_node(self.spec(node))
            self._scheduler.moved(node_added(self.spec(node)))

    def _scheduler_hears_updated(self, node: int) -> None:
        if self._core.nodes.alive[node]:
            old, new = self._core.nodes.specs[node], self.spec(node)
            self._core.update_node(node, new)
            for event in node_updated(old, new):
                self._scheduler.moved(event)

    def _scheduler_hears_removed(self, node: int) -> None:
        if self._core.nodes.alive[node]:
            old = self._core.nodes.specs[node]
            self._core.remove_node(node)
            self._scheduler.moved(node_deleted(old))

    # --- nodes that are not heard of

    def away(self, node: int) -> Event | None:
        """What a kubelet waits for before it can ask the API server; None: nothing."""
        return self._away.get(node)

    def lose(self, node: int, state: NodeState) -> None:
        """The node falls silent: DOWN or CUT_OFF."""
        if self.state[node] in RUNS:
            self.state[node] = state
            self._away[node] = Event(self._clock)
            for tell in self.on_lost:
                tell(node)
            self._fall_silent(node)

    def regain(self, node: int) -> None:
        """The node is heard of again; its kubelet learns what it has missed."""
        if self.state[node] not in (NodeState.DOWN, NodeState.CUT_OFF):
            return
        self.state[node] = NodeState.READY if self._accepted else NodeState.REFUSED
        for tell in self.on_regained:
            tell(node)
        if self._accepted:
            self._be_heard(node)
        for handler, pod in self._held.pop(node, []):
            handler(pod)
        fire(self._away.pop(node))

    def accept(self, accepted: bool) -> None:
        """Whether the API server accepts the kubelets' certificates from now on. Open watches go on either way."""
        if accepted == self._accepted:
            return
        self._accepted = accepted
        for node in self.with_state(*RUNS).tolist():
            if accepted:
                self.state[node] = NodeState.READY
                self._be_heard(node)
            else:
                self._refuse(node)

    def _refuse(self, node: int) -> None:
        self.state[node] = NodeState.REFUSED
        self._fall_silent(node)

    def _fall_silent(self, node: int) -> None:
        if self.silent_since_s[node] == inf:
            self.silent_since_s[node] = self._clock.now
            for tell in self.on_silent:
                tell(node)

    def _be_heard(self, node: int) -> None:
        self.silent_since_s[node] = inf
        for tell in self.on_back:
            tell(node)

    def held_while_away(self, handler: Handler, node_of: Callable[[int], int]) -> Handler:
        """A kubelet's handler of changes of pods, for nodes that may be away: it then hears of them when it is back."""

        def hear(pod: int) -> None:
            node = node_of(pod)
            if node in self._away:
                self._held.setdefault(node, []).append((handler, pod))
            else:
                handler(pod)

        return hear

    def renew_leases(self, aggregate: Aggregate, period_s: float) -> Generator[Event, Any, None]:
        """Process: every node that runs and has a network renews its lease once a period, evenly spread over it."""
        due = 0.0
        while True:
            yield self._clock.timeout(LONGEST_TICK_S)
            due += self.heard * LONGEST_TICK_S / period_s
            aggregate.send(RENEW_LEASE, int(due))
            due -= int(due)
