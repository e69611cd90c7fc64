"""Connections of clients to one API server: TLS handshakes, HTTP/2 streams, and what happens when the server goes.

A client process keeps one connection, on which its requests share the streams; a handshake costs only who opens one. Sources:
RFC 8446 and RFC 5246 (round trips), Kubernetes 1.20 source (secure serving), Go's net/http (one more connection when all
streams are taken, idle connections closed).
"""

from __future__ import annotations

from collections.abc import Generator
from math import inf
from typing import Any, Literal, Protocol

from simpy.events import Event

from sim.apiserver.identity import SERVICE_ACCOUNTS, Identity
from sim.apiserver.pki import PkiSpec
from sim.base.spec import Spec, param
from sim.engine.clock import Clock, fire
from sim.engine.cores import Cores

ESTIMATE = "our estimate, order of size"


class ConnectionsSpec(Spec):
    """How clients connect. The keys are those of `apiserver.pki`."""

    tls: Literal["1.2", "1.3"] = param(
        "1.3", "version of TLS: 1.2 takes one round trip more", source="Go 1.12 release notes"
    )
    resumption: bool = param(
        False, "clients that connect again resume their session, without certificates",
        source="client-go keeps no session tickets",
    )  # fmt: skip
    handshake_cpu_s: float = param(
        2.0e-4, "server, a handshake: accept, parse, encode, allocate", source=ESTIMATE, unverified=True, ge=0, le=1
    )
    key_exchange_cpu_s: float = param(
        8.0e-5,
        "server and client, a handshake: X25519 key and shared secret",
        source=ESTIMATE,
        unverified=True,
        ge=0,
        le=1,
    )
    round_trip_s: float = param(
        2.0e-4, "network, there and back", source="one data centre", unverified=True, ge=0, le=10
    )
    max_streams: int = param(
        250, "requests at a time on one connection; who has more opens another",
        source="Kubernetes 1.20 source, --http2-max-streams-per-connection", ge=1, le=100_000,
    )  # fmt: skip
    open_at_start: bool = param(True, "the cluster has run before: every connection is open when the run begins")
    tenant_idle_s: float = param(
        90.0, "tenants' connections close when nothing was sent for so long; 0: each command is a program of its own that "
        "connects anew. Components never close theirs: they watch", source="Go's and the API server's idle time-out",
        ge=0, le=1e9,
    )  # fmt: skip
    redial_s: float = param(
        1.0, "who is refused a connection tries again after this", source="our choice between client-go's 0.8 s and 30 s",
        unverified=True, gt=0, le=600,
    )  # fmt: skip
    spread_s: float = param(
        2.0, "kubelets that lost their connections at one moment are back within this, evenly",
        source="client-go's reflectors wait 0.8 s to 1.6 s before they try again", unverified=True, gt=0, le=600,
    )  # fmt: skip

    def server_cpu_s(self, pki: PkiSpec, certificate: bool, resumed: bool) -> float:
        """CPU of one handshake on the server. certificate: the client proves itself by one, whose signature is checked here."""
        if resumed:
            return self.handshake_cpu_s + (self.key_exchange_cpu_s if self.tls == "1.3" else 0.0)
        checked_s = pki.client.verify_cpu_s if certificate else 0.0
        return self.handshake_cpu_s + self.key_exchange_cpu_s + pki.server.sign_cpu_s + checked_s

    def client_s(self, pki: PkiSpec, certificate: bool, resumed: bool) -> float:
        """Time of one handshake away from the server: TCP's and TLS's round trips, and the client's own work."""
        rounds = 1 + (1 if self.tls == "1.3" or resumed else 2)
        work_s = 0.0
        if not resumed:
            signed_s = pki.client.sign_cpu_s if certificate else 0.0
            work_s = (
                self.key_exchange_cpu_s
                + pki.server.verify_cpu_s
                + pki.server_chain * pki.authority.verify_cpu_s
                + signed_s
            )
        return rounds * self.round_trip_s + work_s


class Dialled(Protocol):
    """What a connection is opened to: one server, or whichever of several a load balancer chooses."""

    @property
    def clock(self) -> Clock: ...

    @property
    def spec(self) -> ConnectionsSpec: ...

    def handshake(self, certificate: bool, resumed: bool, count: int = 1) -> Generator[Event, Any, None]: ...


class Connection:
    """What one client process has open. Who sends takes a stream, and waits in `dial` where there is none:

        if connection.streams >= connection.most or clock.now > connection.expires_s:
            yield from connection.dial()
        connection.streams += 1
        … the request …
        connection.streams -= 1
        connection.expires_s = clock.now + connection.idle_s

    processes: so many alike processes behind one object (all kubelets), each with a connection of its own.
    """

    __slots__ = (
        "_certificate",
        "_dialling",
        "_known",
        "_server",
        "expires_s",
        "idle_s",
        "most",
        "processes",
        "streams",
    )

    def __init__(self, server: Dialled, processes: int, certificate: bool, idle_s: float) -> None:
        self._server = server
        self._certificate = certificate
        self._known = False
        """The client has a session to resume."""
        self._dialling: Event | None = None
        self.processes = processes
        self.streams = 0
        """Requests under way."""
        self.most = 0
        """Streams of the open connections; 0: none is open."""
        self.idle_s = idle_s
        self.expires_s = inf

    def dial(self) -> Generator[Event, Any, None]:
        """Process: open a connection, or wait for the one that is being opened, until a stream is free."""
        server = self._server
        if server.clock._now > self.expires_s and not (self.streams and self.idle_s):
            self.most = self.streams
        self.expires_s = inf
        while self.streams >= self.most:
            if self.processes > 1:
                if self._dialling is None:
                    server.clock.start(self._return())
                assert self._dialling is not None
                yield self._dialling
                return  # the one process among many whose turn this was
            if self._dialling is not None:
                yield self._dialling
                continue
            opened = self._dialling = Event(server.clock)
            try:
                yield from server.handshake(self._certificate, self._known)
                self.most += server.spec.max_streams
                self._known = server.spec.resumption
            finally:  # who waits for it goes on, also when this client dies over it
                self._dialling = None
                fire(opened)

    def drop(self) -> None:
        """The server has gone, or has closed it. Many processes begin at once to connect again, a single one when it next sends."""
        self.most = 0
        if self.processes > 1 and self._dialling is None:
            self._server.clock.start(self._return())

    def _return(self) -> Generator[Event, Any, None]:
        """Process: all processes connect again, spread over some time."""
        server = self._server
        ticks = min(self.processes, TICKS)
        sent = 0
        opened = self._dialling = Event(server.clock)
        for tick in range(1, ticks + 1):
            yield server.clock.timeout(server.spec.spread_s / ticks)
            due = self.processes * tick // ticks - sent
            sent += due
            yield from server.handshake(self._certificate, self._known, due)
            following = Event(server.clock) if tick < ticks else None
            if following is None:
                self.most = server.spec.max_streams * self.processes
                self._known = server.spec.resumption
            self._dialling = following
            fire(opened)
            if following is not None:
                opened = following


def process_of(user: Identity) -> str:
    """The process that a user's client is part of: controllers share the controller manager's."""
    return "kube-controller-manager" if f"{SERVICE_ACCOUNTS}:kube-system" in user.groups else user.name


def idle_after_s(spec: ConnectionsSpec, user: Identity) -> float:
    """How long a user's connection stays open when nothing is sent; components watch, so theirs does for ever."""
    system = user.name.startswith("system:") or process_of(user) != user.name
    return inf if system else spec.tenant_idle_s


TICKS = 20
"""Steps in which many processes connect again."""


class Connections:
    """All connections to one server. `drop` closes them; while `listening` is false none can be opened."""

    def __init__(self, clock: Clock, spec: ConnectionsSpec, pki: PkiSpec, machine: Cores) -> None:
        self.clock = clock
        self.spec = spec
        self._pki = pki
        self._machine = machine
        self._of: dict[str, Connection] = {}
        self.listening = True
        self.handshakes = 0
        """Handshakes so far, full and resumed."""

    def open(self, user: Identity, certificate: bool, processes: int = 1) -> Connection:
        """The connection of the process that a user's client is part of.

        certificate: the user proves itself by one. processes: see `Connection`.
        """
        process = process_of(user)
        connection = self._of.get(process)
        if connection is None:
            connection = self._of[process] = Connection(self, processes, certificate, idle_after_s(self.spec, user))
            if self.spec.open_at_start:
                connection.most = self.spec.max_streams * processes
                connection.expires_s = self.clock._now + connection.idle_s
        return connection

    def drop(self) -> None:
        """Every connection is gone, with the server or by its will."""
        for connection in self._of.values():
            connection.drop()

    def handshake(self, certificate: bool, resumed: bool, count: int = 1) -> Generator[Event, Any, None]:
        """Process: `count` alike handshakes side by side; tries again while the server does not listen."""
        while not self.listening:
            yield self.clock.timeout(self.spec.redial_s)
        self.handshakes += count
        cpu_s = self.spec.server_cpu_s(self._pki, certificate, resumed)
        yield self._machine.work(count * cpu_s, threads=count)
        yield self.clock.timeout(self.spec.client_s(self._pki, certificate, resumed))
