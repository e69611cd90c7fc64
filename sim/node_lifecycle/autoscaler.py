"""The cluster autoscaler: how many nodes would let the waiting pods run, and which nodes nobody would miss.

It tries waiting pods on template nodes with the scheduler's own filters, in a decision core of its own that holds nothing but those
nodes: what pods on other nodes attract or repel is not seen there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from simpy.events import Event

from sim.engine.clock import Clock
from sim.node_lifecycle.drain import Drains
from sim.node_lifecycle.join import DELETE_NODE, Joining
from sim.node_lifecycle.park import NodePark, NodeState
from sim.node_lifecycle.spec import AutoscalerSpec
from sim.scheduler.core import Core
from sim.scheduler.requests import pod_requests
from sim.state.objects import NodeSpec, PodSpec, pairs
from sim.state.pods import Phase, PodTable

if TYPE_CHECKING:
    from sim.apiserver.client import Client
    from sim.engine.cores import Cores
    from sim.scheduler.profiles import Profile

Process = Generator[Event, Any, None]


@dataclass(frozen=True, slots=True)
class Option:
    """Nodes of one pool that would help."""

    pool: str
    nodes: int
    pods: tuple[int, ...]
    """Those that they would take."""
    waste: float
    """Mean share of their cpu and memory that would stay free."""


def template_node(example: NodeSpec, number: int) -> NodeSpec:
    """A node as the pool would make another, under a name that no node has."""
    name = f"template-{number}"
    labels = {**dict(example.labels), "kubernetes.io/hostname": name}
    return replace(example, name=name, labels=pairs(labels), unschedulable=False, images=())


def place(
    profile: Profile, example: NodeSpec, present: int, most: int, pods: Sequence[tuple[int, PodSpec]]
) -> tuple[dict[int, int], int]:
    """Put pods on nodes of one shape, first on `present` that are on their way, then on as many new ones as it takes, at most `most`.

    Returns pod -> node number (from 0; those from `present` on are new), and how many trials it took. A pod that fits on no empty
    node is left out. The pods with the largest requests come first, as in the real estimator.
    """
    core = Core(profile, tie_break="lowest", percentage_of_nodes_to_score=100)
    for number in range(present):
        core.add_node(template_node(example, number))
    amounts = dict(example.allocatable)

    def size(item: tuple[int, PodSpec]) -> float:
        need = pod_requests(item[1])
        return sum(need.get(name, 0) / max(1, amounts.get(name, 0)) for name in ("cpu", "memory"))

    placed: dict[int, int] = {}
    hopeless: set[PodSpec] = set()
    count, trials = present, 0
    for pod, spec in sorted(pods, key=size, reverse=True):
        if spec in hopeless:
            continue
        spec_id = core.intern(spec)
        node = core.schedule(spec_id, pod) if count else -1
        trials += 1
        if node < 0 and count - present < most:
            core.add_node(template_node(example, count))
            count += 1
            node = core.schedule(spec_id, pod)
            trials += 1
            if node < 0:  # an empty node does not help either; the one just added is free for the others
                hopeless.add(spec)
        if node >= 0:
            core.assume(pod, spec_id, node)
            placed[pod] = node
    return placed, trials


class Autoscaler:
    """The autoscaler's process.

    pools: name -> rows of the nodes that the pool may have, in the order of use; the first `least[pool]` of them always stay.
    spec_of: the spec that the scheduler sees of a pod.
    """

    def __init__(
        self,
        clock: Clock,
        spec: AutoscalerSpec,
        profile: Profile,
        park: NodePark,
        joining: Joining,
        drains: Drains,
        pods: PodTable,
        spec_of: Callable[[int], PodSpec],
        client: Client,
        machine: Cores,
        pools: dict[str, np.ndarray],
        least: dict[str, int],
        rng: np.random.Generator,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._profile = profile
        self._park = park
        self._joining = joining
        self._drains = drains
        self._pods = pods
        self._spec_of = spec_of
        self._client = client
        self._machine = machine
        self._pools = pools
        self._least = least
        self._rng = rng
        self._idle_since_s: dict[int, float] = {}
        self._added_s = -np.inf
        self._leaving: set[int] = set()
        self.ordered = 0
        self.taken_away = 0

    def run(self) -> Process:
        """Process: look, act, wait."""
        while True:
            yield self._clock.timeout(self._spec.scan_s)
            yield self._machine.work(self._spec.scan_cpu_s)
            if not (yield from self._scale_up()) and self._spec.scale_down:
                yield from self._scale_down()

    # --- up

    def waiting(self) -> list[int]:
        """Pods that the scheduler has found no node for."""
        ids = {name: np.frombuffer(self._pods.ids[name], np.int32) for name in ("phase", "node", "attempts")}
        return np.flatnonzero((ids["phase"] == Phase.PENDING) & (ids["node"] < 0) & (ids["attempts"] > 0)).tolist()

    def _scale_up(self) -> Generator[Event, Any, bool]:
        """Order nodes for the pods that wait; ends with whether there were any that nodes on their way will not take."""
        pods = [(pod, self._spec_of(pod)) for pod in self.waiting()]
        if not pods:
            return False
        options: list[Option] = []
        trials = 0
        served: set[int] = set()
        for rows in self._pools.values():  # what nodes on their way will take needs no more
            coming = int(np.count_nonzero(self._park.state[rows] == NodeState.JOINING))
            if coming:
                placed, tried = place(self._profile, self._park.nodes[rows[0]].spec, coming, 0, pods)
                served.update(placed)
                trials += tried
        pods = [each for each in pods if each[0] not in served]
        for pool, rows in self._pools.items():
            room = self._room(rows)
            if not room or not pods:
                continue
            example = self._park.nodes[rows[0]].spec
            placed, tried = place(self._profile, example, 0, room, pods)
            trials += tried
            if placed:
                nodes = len(set(placed.values()))
                options.append(Option(pool, nodes, tuple(placed), self._waste(example, nodes, placed)))
        yield self._machine.work(trials * self._spec.estimate_cpu_s)
        if options:
            self._order(self._choose(options))
        return bool(pods)

    def _room(self, rows: np.ndarray) -> int:
        """Nodes that a pool may still get."""
        free = int(np.count_nonzero(self._park.state[rows] == NodeState.ABSENT))
        if self._spec.max_nodes is None:
            return free
        return max(0, min(free, self._spec.max_nodes - int(np.count_nonzero(self._park.state != NodeState.ABSENT))))

    def _waste(self, example: NodeSpec, nodes: int, placed: dict[int, int]) -> float:
        amounts = dict(example.allocatable)
        needs = [pod_requests(self._spec_of(pod)) for pod in placed]
        shares = [
            1 - sum(need.get(name, 0) for need in needs) / (nodes * amounts[name])
            for name in ("cpu", "memory")
            if amounts.get(name)
        ]
        return float(np.mean(shares)) if shares else 0.0

    def _choose(self, options: list[Option]) -> Option:
        if self._spec.expander == "least-waste":
            return min(options, key=lambda option: option.waste)
        if self._spec.expander == "most-pods":
            return max(options, key=lambda option: len(option.pods))
        return options[int(self._rng.integers(len(options)))]

    def _order(self, option: Option) -> None:
        rows = self._pools[option.pool]
        for row in rows[self._park.state[rows] == NodeState.ABSENT][: option.nodes].tolist():
            self._joining.order(row)
            self.ordered += 1
        self._added_s = self._clock.now

    # --- down

    def _scale_down(self) -> Process:
        """Note which nodes are idle; take away those that have been for long: all empty ones, else one whose pods fit elsewhere."""
        spec, now = self._spec, self._clock.now
        ready = self._park.with_state(NodeState.READY)
        used, counts = self._requested()
        idle = {node for node in ready.tolist() if self._is_idle(node, used)}
        self._idle_since_s = {node: self._idle_since_s.get(node, now) for node in idle}
        if now - self._added_s < spec.after_add_s:
            return
        ripe = [
            node for node in idle if now - self._idle_since_s[node] >= spec.unneeded_s and node not in self._leaving
        ]
        empty = [node for node in ripe if not counts[node]]
        for node in self._removable(empty)[: spec.empty_at_once]:
            self._clock.start(self._take_away(node))
        if not empty:
            for node in self._removable(ripe)[:1]:
                if self._fit_elsewhere(node, ready, used, counts):
                    self._clock.start(self._take_away(node))
        yield self._machine.work(len(ready) * 1e-6)

    def _removable(self, nodes: list[int]) -> list[int]:
        """Nodes whose pool may shrink, at most as many of each as it may lose."""
        chosen = []
        for pool, rows in self._pools.items():
            present = int(np.count_nonzero(np.isin(self._park.state[rows], (NodeState.READY, NodeState.JOINING))))
            leaving = len(self._leaving.intersection(rows.tolist()))
            spare = max(0, present - leaving - self._least[pool])
            chosen += [node for node in nodes if node in set(rows.tolist())][:spare]
        return sorted(chosen)

    def _requested(self) -> tuple[np.ndarray, np.ndarray]:
        """(what each node's pods ask for of cpu and memory, int64[2, n]; how many they are), daemons' left out."""
        used, counts = np.zeros((2, len(self._park.nodes)), np.int64), np.zeros(len(self._park.nodes), np.int64)
        ids = {name: np.frombuffer(self._pods.ids[name], np.int32) for name in ("phase", "node")}
        placed = np.flatnonzero((ids["node"] >= 0) & (ids["phase"] >= Phase.PENDING) & (ids["phase"] <= Phase.RUNNING))
        for pod in placed.tolist():
            if not self._drains.is_daemon(pod):
                need = pod_requests(self._spec_of(pod))
                node = ids["node"][pod]
                used[0, node] += need.get("cpu", 0)
                used[1, node] += need.get("memory", 0)
                counts[node] += 1
        return used, counts

    def _amounts(self, node: int) -> np.ndarray:
        given = dict(self._park.nodes[node].spec.allocatable)
        return np.array([given.get("cpu", 0), given.get("memory", 0)], np.int64)

    def _is_idle(self, node: int, used: np.ndarray) -> bool:
        return bool((used[:, node] < self._spec.utilisation * self._amounts(node)).all())

    def _fit_elsewhere(self, node: int, ready: np.ndarray, used: np.ndarray, counts: np.ndarray) -> bool:
        """Whether the node's pods have room on others, first fit by requests; taints and affinities are not looked at."""
        others = [
            other
            for other in ready.tolist()
            if other != node and other not in self._leaving and not self._park.cordoned[other]
        ]
        free = {other: self._amounts(other) - used[:, other] for other in others}
        slots = {
            other: dict(self._park.nodes[other].spec.allocatable).get("pods", 0) - counts[other] for other in others
        }
        for pod in self._drains.pods_on(node):
            need = pod_requests(self._spec_of(pod))
            wanted = np.array([need.get("cpu", 0), need.get("memory", 0)], np.int64)
            target = next((other for other in others if slots[other] > 0 and (free[other] >= wanted).all()), None)
            if target is None:
                return False
            free[target] = free[target] - wanted
            slots[target] -= 1
        return True

    def _take_away(self, node: int) -> Process:
        """Drain the node, stop its machine, remove its object."""
        self._leaving.add(node)
        yield from self._drains.drain(node)
        yield self._clock.timeout(self._spec.shut_down_s)
        yield from self._client.turn()
        yield from self._client.send(DELETE_NODE, "")
        self._park.removed(node)
        self._leaving.discard(node)
        self.taken_away += 1
