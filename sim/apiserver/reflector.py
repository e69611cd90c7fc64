"""Clients whose watch has ended come back: they watch on from the last change they saw, or list first if that is too old.

Source of the steps and waits: Kubernetes 1.20 source, client-go reflector. After a refused watch a client tries again with
the version it has. If the server still holds all changes since, nothing is lost. Else it answers 410, the client waits
0.8 to 1.6 s, lists with "not older than" its version, which the cache answers, and watches from there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from math import inf
from typing import Any, NamedTuple

import numpy as np
from simpy.events import Event

from sim.apiserver.identity import ANY_NODE, Identity, identity
from sim.apiserver.pipeline import ApiServer
from sim.apiserver.population import Population
from sim.apiserver.replicas import ApiServers, NodeLinks
from sim.apiserver.request import Operation, Selection, list_operation, watch_operation
from sim.apiserver.spec import ApiServerSpec
from sim.apiserver.watch import WatchHub
from sim.apiserver.watch_cache import Watch
from sim.engine.clock import Clock

OK = 200
BOOKMARKS_S = 0.01
"""Bookmarks are put on the cores in pieces of about this size, at most one a `TICK_S`."""
TICK_S = 0.1
"""Nodes that come back within this time are one batch."""


class NodeWatch(NamedTuple):
    """Watches that every node has on one resource."""

    user: Identity
    resource: str
    each: int
    """How many."""
    selects: Selection
    """What a LIST of it returns."""

    @property
    def scope(self) -> str:
        """What its requests are about."""
        return "resource" if self.selects == "one" else "cluster"


KUBELET, KUBE_PROXY = identity(ANY_NODE), identity("system:kube-proxy")
NODE_WATCHES = (
    NodeWatch(KUBELET, "configmaps", 4, "one"),
    NodeWatch(KUBELET, "secrets", 2, "one"),
    NodeWatch(KUBELET, "pods", 2, "of-a-node"),
    NodeWatch(KUBELET, "nodes", 1, "one"),
    NodeWatch(KUBELET, "services", 1, "all"),
    NodeWatch(KUBELET, "runtimeclasses", 2, "all"),
    NodeWatch(KUBELET, "csidrivers", 2, "all"),
    NodeWatch(KUBE_PROXY, "nodes", 1, "one"),
    NodeWatch(KUBE_PROXY, "services", 1, "all"),
    NodeWatch(KUBE_PROXY, "endpointslices", 2, "all"),
)
"""A kubelet's and a kube-proxy's 18 watches (a 100,000-node test, Kubernetes 1.32; which the last six are is our estimate)."""
WATCHES_PER_NODE = sum(watch.each for watch in NODE_WATCHES)


class Reflectors:
    """Brings single clients' watches back.

    server_of: the number of the server that a client is connected to, -1 for none; it opens a connection if need be.
    draw: evenly in [0, 1).
    """

    def __init__(
        self,
        clock: Clock,
        spec: ApiServerSpec,
        hub: WatchHub,
        server_of: Callable[[Watch], int],
        draw: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._hub = hub
        self._draw = draw
        self.relists = 0
        """LISTs because a version was too old."""
        hub.on_end = self.ended
        hub.server_of = server_of

    def ended(self, watch: Watch) -> None:
        """A client's watch has ended."""
        self._clock.start(self._come_back(watch))

    def _come_back(self, watch: Watch) -> Generator[Event, Any, None]:
        spec, topic = self._spec.watch, self._hub.topic(watch.resource)
        wait_s = spec.retry_s
        while True:
            server = self._hub.server_of(watch)
            code = OK if server >= 0 else 0
            if watch.client is not None and code:
                code = yield from watch.client.send(watch_operation(watch.resource), "")
                server = self._hub.server_of(watch)
            if code != OK or server < 0:
                yield self._clock.timeout(wait_s * (1 + spec.retry_jitter * self._draw()))
                wait_s = min(2 * wait_s, spec.retry_max_s)
                continue
            cache = topic.caches[server]
            if cache.ready.callbacks is not None:
                yield cache.ready
            if not cache.live:
                continue
            if cache.covers(watch.seen, watch.revision):
                yield cache.replay(topic.stored - watch.seen)
                if cache.live:
                    self._hub.open(watch, server)
                    return
                continue
            yield self._clock.timeout(spec.relist_s * (1 + self._draw()))
            code = OK
            if watch.client is not None:
                code = yield from watch.client.send(list_operation(watch.resource, version="known"), "")
            if code == OK:
                self.relists += 1
                watch.seen, watch.revision = topic.stored, cache.etcd.database.revision
                watch.catch_up()


class NodeReflectors:
    """Brings the nodes' watches back, thousands at a time.

    A dead server's nodes connect elsewhere at once, or try again and again until one runs. Those that come within a tick send
    their requests together (`ApiServer.serve_many`), each kind in order; a node is back when the last has been answered.
    one_by_one: a process and requests of its own for every node instead, which is what the aggregate stands for.
    """

    def __init__(
        self,
        clock: Clock,
        spec: ApiServerSpec,
        hub: WatchHub,
        servers: ApiServers,
        populations: Sequence[Population],
        rng: np.random.Generator,
        one_by_one: bool = False,
    ) -> None:
        self._clock = clock
        self._spec = spec.watch
        self._hub = hub
        self._servers = servers
        assert servers.nodes is not None
        self._nodes = servers.nodes
        self._at = self._nodes.server_of.copy()
        """The server at which each node's watches are open; -1: none."""
        self._populations = populations
        self._rng = rng
        self._one_by_one = one_by_one
        self._started_s = [-inf] * len(servers.all)
        """When each server's caches began to fill."""
        self.relists = 0
        self.returned_s: list[tuple[float, int]] = []
        """When how many nodes were back."""
        servers.on_down.append(self._down)
        servers.on_up.append(self._up)

    def _down(self, server: int) -> None:
        lost = np.flatnonzero(self._at == server)
        if lost.size:
            self._at[lost] = -1
            self._clock.start(self._return(lost, self._clock._now))

    def _up(self, server: int) -> None:
        self._started_s[server] = self._clock._now
        for population in self._populations:
            population.server_started(server)

    def _return(self, nodes: np.ndarray, lost_s: float) -> Generator[Event, Any, None]:
        """Process: all of `nodes` try until they are back."""
        spec, clock = self._spec, self._clock
        due_s = np.full(len(nodes), float(clock._now))
        wait_s = np.full(len(nodes), float(spec.retry_s))
        while len(nodes):
            yield clock.timeout(max(0.0, float(due_s.min()) - clock._now))
            now = due_s <= clock._now + TICK_S
            servers = self._nodes.server_of[nodes]
            refused = now & (servers < 0)
            due_s[refused] += wait_s[refused] * (1 + spec.retry_jitter * self._rng.random(int(refused.sum())))
            wait_s[refused] = np.minimum(2 * wait_s[refused], spec.retry_max_s)
            come = now & (servers >= 0)
            for server in np.unique(servers[come]).tolist():
                batch = nodes[come & (servers == server)]
                if self._one_by_one:
                    for node in batch.tolist():
                        clock.start(self._rejoin(np.array([node]), server, lost_s))
                else:
                    clock.start(self._rejoin(batch, server, lost_s))
            nodes, due_s, wait_s = nodes[~come], due_s[~come], wait_s[~come]
            if len(nodes) and not come.any():
                yield clock.timeout(TICK_S)

    def _rejoin(self, nodes: np.ndarray, server: int, lost_s: float) -> Generator[Event, Any, None]:
        """Process: a batch of nodes watches again at a server."""
        clock, api = self._clock, self._servers.all[server]
        count = len(nodes)
        too_old = self._started_s[server] > lost_s
        opening = [(w.user, watch_operation(w.resource, w.scope), w.each * count) for w in NODE_WATCHES]
        done = yield from self._send(api, opening)
        if done and too_old:
            yield clock.timeout(self._spec.relist_s * (1 + float(self._rng.random())))
            lists = [
                (w.user, list_operation(w.resource, w.scope, "known", selects=w.selects), w.each * count)
                for w in NODE_WATCHES
            ]
            ready = [self._hub.topic(resource).caches[server].ready for resource in self._hub.resources]
            for each in ready:
                if each.callbacks is not None:
                    yield each
            done = yield from self._send(api, lists)
            if done:
                self.relists += WATCHES_PER_NODE * count
                done = yield from self._send(api, opening)
        if not done or not self._servers.up[server]:
            yield from self._return(nodes, lost_s)
            return
        self._at[nodes] = server
        self.returned_s.append((clock._now, count))
        for population in self._populations:
            population.back(nodes, server)

    def _send(self, api: ApiServer, requests: Sequence[tuple[Identity, Operation, int]]) -> Generator[Event, Any, bool]:
        """Process: all requests, until each has been answered; false when the server died."""
        for user, operation, count in requests:
            left = count
            while left:
                served = yield from self._served(api, user, operation, left)
                if not self._servers.up[api.index]:
                    return False
                left -= served
                if left:
                    yield self._clock.timeout(api.flow_control.retry_after_s(operation, user, ""))
        return True

    def _served(self, api: ApiServer, user: Identity, operation: Operation, count: int) -> Generator[Event, Any, int]:
        """How many of `count` requests were served."""
        servers = self._servers
        if not self._one_by_one:
            request = api.serve_many(operation, user, count, TICK_S)
            return (yield from servers.answer(api.index, request, operation, user, count))
        served = 0
        for _ in range(count):
            request = api.serve(operation, user, "")
            served += (yield from servers.answer(api.index, request, operation, user, 1)) == OK
        return served


def renew_watches(
    clock: Clock, spec: ApiServerSpec, server: ApiServer | NodeLinks, nodes: int
) -> Generator[Event, Any, None]:
    """Process: every node opens each of its watches anew after 5 to 10 minutes, and is sent bookmarks meanwhile."""
    watches = nodes * WATCHES_PER_NODE
    if not watches:
        return
    renewals_per_s = watches / (1.5 * spec.watch.timeout_least_s)
    bookmarks_cores = watches / spec.watch.bookmark_period_s * spec.watch_event_cpu_s
    operation = watch_operation("pods")
    period_s = max(TICK_S, min(1.0, BOOKMARKS_S / bookmarks_cores if bookmarks_cores else 1.0))
    sent = 0
    while True:
        yield clock.timeout(period_s)
        due = round(clock._now * renewals_per_s)
        server.load(bookmarks_cores * period_s)
        if due > sent:
            clock.start(server.serve_many(operation, KUBELET, due - sent, period_s))
        sent = due
