"""The BGP rules played session by session: exact, slow, for clusters of some dozens of nodes.

Every daemon is one thread: its work queues on a core of its own, or on cores that all daemons share (the way meshes are
tested on one machine). Routes travel along sessions, a reflector passes them on, and a node is done when it has them all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from simpy.events import Event

from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.engine.semaphore import Semaphore
from sim.network.routes.bgp import JITTER_LOW, BgpSpec
from sim.network.setup import Process


@dataclass(frozen=True, slots=True)
class Convergence:
    """When nodes knew what they had to know, from the moment it began; and the processor time that all daemons took."""

    done_s: np.ndarray
    """One a node, sorted; the node that needs no news is left out."""
    cpu_s: float
    sessions: int


class BgpTwin:
    """One BGP cluster.

    shared_cores: cores that all daemons share; None: one for each daemon. rng: draws the timers.
    """

    def __init__(self, spec: BgpSpec, nodes: int, rng: np.random.Generator, shared_cores: float | None = None) -> None:
        self.spec = spec
        self.nodes = nodes
        self.clock = Clock()
        shared = Machine(self.clock, "test bed", "network", shared_cores) if shared_cores else None
        self._cores = [shared or Machine(self.clock, f"node {i}", "network", 1) for i in range(nodes)]
        self._thread = [Semaphore(self.clock, f"daemon {i}", "network", 1) for i in range(nodes)]
        self._rng = rng
        self.known: list[set[int]] = [set() for _ in range(nodes)]
        self._on_its_way: list[set[int]] = [set() for _ in range(nodes)]
        """Routes that a daemon has read or will read next."""
        self.peers: list[list[int]] = [[] for _ in range(nodes)]
        """Established sessions."""
        self._done_s: dict[int, float] = {}
        self._target = 0
        self.cpu_s = 0.0

    def pairs(self) -> list[tuple[int, int]]:
        """Sessions by configuration; the first of a pair is the active side."""
        if self.spec.topology == "mesh":
            return [(a, b) for a in range(self.nodes) for b in range(a + 1, self.nodes)]
        reflectors = range(min(self.spec.reflectors, self.nodes))
        return [(b, a) for a in reflectors for b in range(self.nodes) if b > a]

    def cold_start(self) -> Convergence:
        """All daemons start now, each with one route of its own: until every node knows all."""
        self._target = self.nodes
        for node in range(self.nodes):
            self.known[node].add(node)
            self._run(node, self.spec.daemon_cpu_s)
        for active, passive in self.pairs():
            self.clock.start(self._session(active, passive))
        return self._until_quiet(set(range(self.nodes)))

    def announce(self, origin: int, routes: int = 1) -> Convergence:
        """Every session is up; one node announces new routes: until each other has them."""
        for active, passive in self.pairs():
            self.peers[active].append(passive)
            self.peers[passive].append(active)
        news = frozenset(range(self.nodes, self.nodes + routes))
        self._target = routes
        self.known[origin] |= news
        self._tell(origin, news, exclude=-1)
        return self._until_quiet(set(range(self.nodes)) - {origin})

    def _until_quiet(self, waited_for: set[int]) -> Convergence:
        self.clock.run_until(3600.0)
        done = sorted(self._done_s[node] for node in waited_for if node in self._done_s)
        return Convergence(np.array(done), self.cpu_s, len(self.pairs()))

    def _session(self, active: int, passive: int) -> Process:
        spec = self.spec
        yield self.clock.timeout(spec.connect_delay_s * self._rng.uniform(JITTER_LOW, 1.0))
        here = self._run(active, spec.session_cpu_s)
        there = self._run(passive, spec.session_cpu_s)
        yield here
        yield there
        self.peers[active].append(passive)
        self.peers[passive].append(active)
        self._first_routes(passive, self._announces(active), active)
        self._first_routes(active, self._announces(passive), passive)

    def _first_routes(self, receiver: int, news: frozenset[int], sender: int) -> None:
        """What comes with a new session: its cost is the session's, but for what is beyond one route."""
        if len(news) > 1:
            self._run(
                receiver,
                (
                    len(news - self.known[receiver])
                    + self.spec.duplicate_route_share * len(news & self.known[receiver])
                    - 1
                )
                * self.spec.route_cpu_s,
            )
        self._learn(receiver, news, sender)

    def _announces(self, node: int) -> frozenset[int]:
        """What a node tells a new peer: a reflector all it knows, others their own route (iBGP passes nothing on)."""
        return frozenset(self.known[node]) if self._passes_on(node) else frozenset((node,))

    def _run(self, node: int, cpu_s: float) -> Event:
        """Work of one daemon's thread; fires when done."""
        self.cpu_s += cpu_s
        return self.clock.start(self._on_thread(node, cpu_s))

    def _on_thread(self, node: int, cpu_s: float) -> Process:
        yield self._thread[node].acquire()
        yield self._cores[node].work(cpu_s)
        self._thread[node].release()

    def _passes_on(self, node: int) -> bool:
        return self.spec.topology == "reflectors" and node < self.spec.reflectors

    def _tell(self, node: int, news: frozenset[int], exclude: int) -> None:
        for peer in self.peers[node]:
            if peer != exclude:
                self._send(node, peer, news)

    def _send(self, sender: int, receiver: int, news: frozenset[int]) -> None:
        if news and (not self._learned_elsewhere(sender, receiver)):
            self.clock.start(self._message(sender, receiver, news))

    def _learned_elsewhere(self, sender: int, receiver: int) -> bool:
        """Reflectors of one cluster do not exchange what clients told them both."""
        return self._passes_on(sender) and self._passes_on(receiver) and self.known[receiver] >= self.known[sender]

    def _message(self, sender: int, receiver: int, news: frozenset[int]) -> Process:
        spec = self.spec
        yield self._run(sender, spec.send_cpu_s)
        known = news <= self.known[receiver] | self._on_its_way[receiver]
        self._on_its_way[receiver] |= news
        first, further = (spec.duplicate_share, spec.duplicate_route_share) if known else (1.0, 1.0)
        yield self._run(receiver, first * spec.receive_cpu_s + further * (len(news) - 1) * spec.route_cpu_s)
        self._learn(receiver, news, sender)

    def _learn(self, receiver: int, news: frozenset[int], sender: int) -> None:
        fresh = news - self.known[receiver]
        if not fresh:
            return
        self.known[receiver] |= fresh
        if self._passes_on(receiver):
            self._tell(receiver, fresh, exclude=sender)
        if receiver not in self._done_s and self._has_all(receiver):
            self._done_s[receiver] = self.clock.now

    def _has_all(self, node: int) -> bool:
        first_new = self.nodes
        if self._target == self.nodes:
            return len(self.known[node]) == self.nodes
        return sum(1 for route in self.known[node] if route >= first_new) == self._target
