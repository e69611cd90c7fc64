"""Several API servers behind a load balancer: who is connected where, what a crash takes with it, and the way back.

A cluster with one server that never dies has none of this: its clients talk to the server itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from math import inf
from typing import Any

import numpy as np
from simpy.events import Event

from sim.apiserver.connections import Connection, idle_after_s, process_of
from sim.apiserver.flow_control.catalog import FlowControl
from sim.apiserver.identity import ANY_NODE, Identity, identity
from sim.apiserver.load_balancing.catalog import BalancerSpec
from sim.apiserver.pipeline import ApiServer, Guard, NewPod, done
from sim.apiserver.request import Operation
from sim.apiserver.request_log import RequestLog
from sim.apiserver.spec import ApiServerSpec
from sim.apiserver.storage import Storage
from sim.apiserver.watch import WatchHub
from sim.engine.clock import Clock, Task, fire
from sim.engine.cores import MortalCores

NO_ANSWER = 0
"""In place of an HTTP status: the connection was refused, or ended before the answer."""
STORED = -1
"""Within this module: there was no answer, but what was to be created or updated is stored."""


class Streams:
    """What a client sees of the nodes' connections, whose opening and end `NodeLinks` sees to."""

    def __init__(self) -> None:
        self.streams = 0
        self.most = inf
        self.idle_s = self.expires_s = inf

    def dial(self) -> Generator[Event, Any, None]:
        """Never asked for: there is always a stream."""
        raise NotImplementedError


class Link:
    """One process's way to an API server, whichever it is connected to; opened when it is first used.

    index: the server's number; -1 when there is none.
    """

    def __init__(self, servers: ApiServers, user: Identity) -> None:
        self._servers = servers
        self._client = user.name
        self.clock = servers.clock
        self.spec = servers.spec.connections
        self.index = -1
        self._greeted = self.spec.open_at_start
        """There has been a handshake with the server that it is connected to."""
        self._session = -1
        """The server with which a session can be resumed; -1: none."""
        by_certificate = servers.all[0].authentication.by_certificate(user)
        self.connection = Connection(self, 1, by_certificate, idle_after_s(self.spec, user))
        if self._greeted:
            self.connection.most = self.spec.max_streams
            self.connection.expires_s = self.clock.now + self.connection.idle_s

    def connect(self, user: Identity, processes: int) -> Connection:
        """What a client asks its server for."""
        return self.connection

    def handshake(self, certificate: bool, resumed: bool, count: int = 1) -> Generator[Event, Any, None]:
        """Process: open a connection. One that was closed goes through the load balancer anew, one more for want of streams to
        the same server. Ends at once where no server runs: the request then finds out."""
        servers = self._servers
        if self._greeted and not self.connection.streams:
            self.close()
        while (index := self.open()) >= 0:
            if (yield from servers.shake(index, certificate, resumed and index == self._session, count)):
                self._greeted, self._session = True, index
                return

    @property
    def flow_control(self) -> FlowControl:
        """Of the server that it was last connected to."""
        return self._servers.all[max(0, self.index)].flow_control

    def open(self) -> int:
        """The server it is connected to, now if it was not; -1 when none runs."""
        if self.index < 0:
            self.index = self._servers.place(self._client)
        return self.index

    def close(self) -> None:
        """The next request opens it anew."""
        if self.index >= 0:
            self._servers.connections[self.index] -= 1
            self._drop()

    def lost(self) -> None:
        """The server has gone, and what it knew of sessions."""
        self._session = -1
        self._drop()

    def _drop(self) -> None:
        self.index, self._greeted = -1, False
        self.connection.drop()

    def _dialled(self) -> Generator[Event, Any, int]:
        """The server that a request goes to, after a handshake if the connection was lost meanwhile; -1: none runs."""
        if not self.connection.most:
            yield from self.connection.dial()
        index = self.open()
        if index < 0:
            self.connection.drop()
        return index

    def serve(
        self,
        operation: Operation,
        user: Identity,
        namespace: str,
        new: NewPod | None = None,
        guard: Guard | None = None,
    ) -> Generator[Event, Any, int]:
        """As `ApiServer.serve`; ends with `NO_ANSWER` where none came."""
        servers = self._servers
        index = yield from self._dialled()
        request = servers.all[index].serve(operation, user, namespace, new, guard) if index >= 0 else None
        code: int = yield from servers.answer(index, request, operation, user, 1)
        if code == STORED:
            code = yield from servers.find_stored(self.open(), operation, user, namespace)
        if servers.turned_away() and self.index == index:
            self.close()
        return code

    def serve_many(self, operation: Operation, user: Identity, count: int, over_s: float) -> Generator[Event, Any, int]:
        """As `ApiServer.serve_many`."""
        index = yield from self._dialled()
        request = self._servers.all[index].serve_many(operation, user, count, over_s) if index >= 0 else None
        return (yield from self._servers.answer(index, request, operation, user, count))


class NodeLinks:
    """All nodes' connections together: where each node is, and requests of which only their number is known.

    Such requests are dealt to the servers in proportion to the nodes that each has.
    server_of: the server of each node; -1: none.
    """

    def __init__(self, servers: ApiServers, nodes: int) -> None:
        self._servers = servers
        self.server_of = np.full(nodes, -1, np.int16)
        self._due = np.zeros(len(servers.all))
        self._shares = np.zeros(len(servers.all))
        self.reconnect(greet=not servers.spec.connections.open_at_start)

    def connect(self, user: Identity, processes: int) -> Streams:
        """What a client asks its server for."""
        return Streams()

    @property
    def flow_control(self) -> FlowControl:
        """Of any server: all have the same rules."""
        return self._servers.all[0].flow_control

    @property
    def index(self) -> int:
        """A server that has nodes; -1: none has."""
        return int(self._shares.argmax()) if self._shares.any() else -1

    def reconnect(self, greet: bool = True) -> None:
        """Nodes that have no server go to one that runs. greet: with a handshake."""
        away = np.flatnonzero(self.server_of < 0)
        for node in away.tolist():
            self.server_of[node] = self._servers.place(f"{ANY_NODE}:{node}")
        if greet:
            for server, count in enumerate(np.bincount(self.server_of[away] + 1)[1:].tolist()):
                if count:
                    self._servers.greet_many(server, identity(ANY_NODE), count)
        self._count()

    def lose(self, server: int) -> None:
        """The server is gone; its nodes look for another at once."""
        self.server_of[self.server_of == server] = -1
        self.reconnect()

    def move(self, server: int, count: int) -> None:
        """`count` nodes are told to leave a server, and connect anew."""
        nodes = np.flatnonzero(self.server_of == server)[:count]
        self.server_of[nodes] = -1
        self._servers.connections[server] -= len(nodes)
        self.reconnect()

    def load(self, cpu_s: float) -> None:
        """Work that nobody waits for, by the nodes that each server has."""
        for index, share in enumerate(self._shares.tolist()):
            if share:
                self._servers.all[index].load(share * cpu_s)

    def _count(self) -> None:
        placed = self.server_of[self.server_of >= 0]
        counts = np.bincount(placed, minlength=len(self._due)).astype(float)
        self._shares = counts / (len(placed) or 1)

    def _next(self) -> int:
        """The server of the next request."""
        if not self._shares.any():
            return -1
        self._due += self._shares
        server = int(self._due.argmax())
        self._due[server] -= 1.0
        return server

    def serve(
        self,
        operation: Operation,
        user: Identity,
        namespace: str,
        new: NewPod | None = None,
        guard: Guard | None = None,
    ) -> Generator[Event, Any, int]:
        """As `ApiServer.serve`."""
        servers = self._servers
        index = self._next()
        request = servers.all[index].serve(operation, user, namespace, new, guard) if index >= 0 else None
        code: int = yield from servers.answer(index, request, operation, user, 1)
        if code == STORED:
            code = yield from servers.find_stored(self._next(), operation, user, namespace)
        if servers.up[index] and servers.turned_away():
            self.move(index, 1)
        return code

    def serve_many(self, operation: Operation, user: Identity, count: int, over_s: float) -> Generator[Event, Any, int]:
        """As `ApiServer.serve_many`, side by side at all servers."""
        servers = self._servers
        self._due += count * self._shares
        counts = np.floor(self._due + 0.5).clip(0).astype(int)
        for _ in range(abs(int(counts.sum()) - count)):  # rounding: one more or less where it is due most
            step = 1 if counts.sum() < count else -1
            counts[int((step * (self._due - counts) - (1e9 if step < 0 else 0) * (counts == 0)).argmax())] += step
        if not self._shares.any():
            yield from servers.answer(-1, None, operation, user, count)
            return 0
        self._due -= counts
        shares = [
            servers.clock.start(
                servers.answer(
                    index, servers.all[index].serve_many(operation, user, share, over_s), operation, user, share
                )
            )
            for index, share in enumerate(counts.tolist())
            if share
        ]
        served = 0
        for share in shares:
            served += (yield share) if share.callbacks is not None else share.value
        for index, share in enumerate(counts.tolist()):
            if servers.up[index] and (leaving := servers.turned_away_of(share)):
                self.move(index, leaving)
        return served


class ApiServers:
    """All API servers of a cluster.

    all: the servers by number. cores: of each, which its death takes its work off.
    on_down, on_up: called with a server's number when it has died, and when it takes connections again.
    draw: evenly in [0, 1).
    """

    def __init__(
        self,
        clock: Clock,
        spec: ApiServerSpec,
        servers: Sequence[ApiServer],
        cores: Sequence[MortalCores],
        storage: Storage,
        hub: WatchHub,
        log: RequestLog,
        balancer: BalancerSpec,
        draw: Callable[[], float],
    ) -> None:
        self.clock = clock
        self.all = servers
        self.up = [True] * len(servers)
        self.connections = [0] * len(servers)
        """How many each has."""
        self.nodes: NodeLinks | None = None
        self.crashes = 0
        self.spec = spec
        self._cores = cores
        self._storage = storage
        self._hub = hub
        self._log = log
        self._balancer = balancer
        self._draw = draw
        self._opened = 0
        self._links: dict[str, Link] = {}
        """By the process that they are of."""
        self._in_flight: list[dict[Task, Event]] = [{} for _ in servers]
        self._starting: list[list[Task]] = [[] for _ in servers]
        self.on_down: list[Callable[[int], None]] = []
        self.on_up: list[Callable[[int], None]] = []

    # --- connections

    def link(self, client: str) -> Link:
        """The connection of the process that a client, by its user's name, is part of."""
        user = identity(client)
        link = self._links.get(process_of(user))
        if link is None:
            link = self._links[process_of(user)] = Link(self, user)
        return link

    def link_nodes(self, nodes: int) -> NodeLinks:
        """All nodes' connections."""
        self.nodes = NodeLinks(self, nodes)
        return self.nodes

    def place(self, client: str) -> int:
        """Open a connection; returns the server's number, -1 when none runs."""
        live = [number for number, up in enumerate(self.up) if up]
        if not live:
            return -1
        server = self._balancer.choose(live, self.connections, self._opened, client)
        self._opened += 1
        self.connections[server] += 1
        return server

    def turned_away(self) -> bool:
        """Whether an answer told the client to open a new connection (GOAWAY)."""
        return self.spec.goaway_chance > 0 and self._draw() < self.spec.goaway_chance

    def turned_away_of(self, answers: int) -> int:
        """How many of so many answers did."""
        if not self.spec.goaway_chance:
            return 0
        return sum(self.turned_away() for _ in range(answers))

    def greet(self, server: int, user: Identity, count: int = 1) -> Generator[Event, Any, None]:
        """Process: the handshakes of `count` connections of alike clients."""
        api = self.all[server]
        yield from api.connections.handshake(api.authentication.by_certificate(user), False, count)

    def shake(self, server: int, certificate: bool, resumed: bool, count: int) -> Generator[Event, Any, bool]:
        """One client's handshake; ends with false when the server dies over it."""

        def handshake() -> Generator[Event, Any, int]:
            yield from self.all[server].connections.handshake(certificate, resumed, count)
            return 1

        return (yield from self._outcome(server, handshake())) is not None

    def greet_many(self, server: int, user: Identity, count: int) -> None:
        """The same, which the server's death ends."""
        self._starting[server].append(self.clock.start(self.greet(server, user, count)))

    # --- requests

    def answer(
        self, index: int, request: Generator[Event, Any, int] | None, operation: Operation, user: Identity, count: int
    ) -> Generator[Event, Any, int]:
        """What a server's process ends with; `NO_ANSWER` when there is none, or when it dies before the end, and `STORED` if then
        a creation or update is stored all the same."""
        clock = self.clock
        begun_s = clock._now
        if request is None or not self.up[index]:
            yield clock.timeout(self.spec.refused_s)
            self._log.add(operation, user.name, NO_ANSWER, begun_s, count)
            return NO_ANSWER
        code = yield from self._outcome(index, request)
        if code is not None and not isinstance(code, Event):
            return int(code)
        self._log.add(operation, user.name, NO_ANSWER, begun_s, count)
        if code is not None and operation.verb in ("POST", "PUT"):
            error = (yield code) if code.callbacks is not None else code._value
            return NO_ANSWER if error else STORED
        return NO_ANSWER

    def _outcome(self, index: int, process: Generator[Event, Any, Any]) -> Generator[Event, Any, Any]:
        """What a process at a server ends with; where the server dies before, the write that it had under way in etcd, or None."""
        task = self.clock.start(process)
        if task.callbacks is None:
            return task.value
        answer = Event(self.clock)
        flight = self._in_flight[index]
        flight[task] = answer
        task.callbacks.append(partial(self._answered, flight, answer))
        return (yield answer)

    def find_stored(
        self, index: int, operation: Operation, user: Identity, namespace: str
    ) -> Generator[Event, Any, int]:
        """A client tries again, and learns from the 409 (it exists; it has another version) that its first try was stored.

        Ends with the code of success: so writers take that 409. index: the server it turns to; -1: it finds none, and
        learns of it by its watch.
        """
        if index >= 0:
            again = self.all[index].serve(operation, user, namespace, guard=lambda: False)
            yield from self.answer(index, again, operation, user, 1)
        return done(operation)

    def _answered(self, flight: dict[Task, Event], answer: Event, task: Event) -> None:
        flight.pop(task)  # type: ignore[call-overload]
        if task._ok:
            fire(answer, task._value)

    # --- death and start

    def crash(self, server: int) -> None:
        """The process dies: its requests get no answer, its watches end, its caches are gone."""
        if not self.up[server]:
            return
        self.crashes += 1
        self.up[server] = False
        self.all[server].connections.listening = False
        self.connections[server] = 0
        starting, self._starting[server] = self._starting[server], []
        for task in starting:
            task.abandon()
        flight, self._in_flight[server] = self._in_flight[server], {}
        writes: dict[Event, Event | None] = {}
        for task, answer in flight.items():
            self.all[server].left_to_etcd = None
            task.abandon()
            writes[answer] = self.all[server].left_to_etcd
        self._cores[server].die()
        self.all[server].admission.lose()
        for link in self._links.values():
            if link.index == server:
                link.lost()
        ended = self._hub.server_died(server)
        if self.nodes is not None:
            self.nodes.lose(server)
        for answer, write in writes.items():
            fire(answer, write)
        for watch in ended:
            self._hub.on_end(watch)
        for listen in self.on_down:
            listen(server)

    def start(self, server: int) -> Generator[Event, Any, None]:
        """Process: a new one begins; ends when it takes connections. Its caches fill from etcd meanwhile and after."""
        if self.up[server]:
            return
        yield self.clock.timeout(self.spec.start_s)
        for resource, ready in self._hub.server_started(server).items():
            self._starting[server].append(self.clock.start(self._fill(server, resource, ready)))
        self.up[server] = True
        self.all[server].connections.listening = True
        if self.nodes is not None:
            self.nodes.reconnect()
        for listen in self.on_up:
            listen(server)

    def _fill(self, server: int, resource: str, ready: Event) -> Generator[Event, Any, None]:
        """LIST a resource from etcd page by page, and decode it."""
        storage = self._storage
        left = storage.objects(resource)
        while True:
            page = min(left, self.spec.watch.page)
            size_bytes = page * storage.object_bytes(resource)
            error = yield storage.of(resource).range(size_bytes=size_bytes)
            if error:
                yield self.clock.timeout(self.spec.watch.retry_s)
                continue
            yield self._cores[server].work(storage.encoding.decode_cpu_s("protobuf", size_bytes))
            left -= page
            if left <= 0:
                break
        fire(ready)
