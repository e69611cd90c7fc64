"""A component's client: its own rate limit in front of the API server, and its patience with 429."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from sim.apiserver.admission.chain import NewPod
from sim.apiserver.identity import Identity, as_identity
from sim.apiserver.pipeline import ApiServer, Guard
from sim.apiserver.request import Operation
from sim.engine.clock import Clock
from sim.engine.token_bucket import TokenBucket

if TYPE_CHECKING:
    from sim.apiserver.connections import Connection
    from sim.apiserver.replicas import Link, NodeLinks, Streams

MAX_RETRIES = 10
"""client-go gives up after this many answers with Retry-After (Kubernetes 1.20 source, rest client)."""


class Client:
    """Sends requests as `user`; `limit` is shared by all requests of the client, None for no limit.

    processes: so many alike processes, each with a connection of its own, send through this client (all kubelets).
    """

    __slots__ = ("_clock", "_connection", "_limit", "_server", "network_s", "user")

    def __init__(
        self,
        clock: Clock,
        server: ApiServer | Link | NodeLinks,
        user: Identity | str,
        limit: TokenBucket | None,
        processes: int = 1,
    ) -> None:
        self._clock = clock
        self._server = server
        self._limit = limit
        self.user = as_identity(user)
        self._connection: Connection | Streams = server.connect(self.user, processes)
        self.network_s = 0.0
        """What a request and its answer take over the underlay at its load; 0: too little to wait for."""

    @property
    def limit(self) -> TokenBucket | None:
        """Its rate limit, for what takes tokens of it without waiting for an answer."""
        return self._limit

    @property
    def server(self) -> ApiServer | Link | NodeLinks:
        """What its requests go to."""
        return self._server

    def turn(self) -> Generator[Event, Any, bool]:
        """Wait for the client's own rate limit. Ends with true when the process that asks has died meanwhile: it must not send."""
        if self._limit is not None:
            wait_s = self._limit.reserve()
            if wait_s > 0:
                yield self._clock.timeout(wait_s)
        return False

    def send(
        self, operation: Operation, namespace: str, new: NewPod | None = None, guard: Guard | None = None
    ) -> Generator[Event, Any, int]:
        """Send at once (see `turn`), again after Retry-After and another turn while the answer is 429; ends with the last
        answer's code."""
        code = 429
        connection, clock = self._connection, self._clock
        if connection.streams >= connection.most or clock._now > connection.expires_s:
            yield from connection.dial()
        connection.streams += 1
        for _ in range(MAX_RETRIES + 1):
            code = yield from self._server.serve(operation, self.user, namespace, new, guard)
            if self.network_s:
                yield self._clock.timeout(self.network_s)
            if code != 429:
                break
            again_s = self._server.flow_control.retry_after_s(operation, self.user, namespace)
            yield self._clock.timeout(again_s)
            yield from self.turn()
        connection.streams -= 1
        connection.expires_s = clock._now + connection.idle_s
        return code
