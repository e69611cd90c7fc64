"""The client of a process that may die or be cut off: what it had not sent yet is never sent, what does not arrive fails."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from simpy.events import AnyOf, Event

from sim.apiserver.client import Client
from sim.apiserver.request import Operation
from sim.engine.clock import Clock
from sim.engine.token_bucket import TokenBucket

if TYPE_CHECKING:
    from sim.apiserver.pipeline import ApiServer
    from sim.apiserver.replicas import Link, NodeLinks

TIMEOUT_S = 5.0
"""A request that gets no answer is given up after half the renew deadline, as those for the lease are (Kubernetes 1.20 source,
controller manager's and scheduler's leader election client)."""


class MortalClient(Client):
    """`inner`, for as long as the process that began a turn still lives when it is over.

    life: a number that grows when the process dies. cut: what ends the cut between it and the API server; None: there is none.
    """

    __slots__ = ("_alarms", "_cut", "_inner", "_life")

    def __init__(self, clock: Clock, inner: Client, life: Callable[[], int], cut: Callable[[], Event | None]) -> None:
        self._alarms = clock
        self._inner = inner
        self._life = life
        self._cut = cut
        self.user = inner.user

    @property
    def limit(self) -> TokenBucket | None:
        return self._inner.limit

    @property
    def server(self) -> ApiServer | Link | NodeLinks:
        return self._inner.server

    def turn(self) -> Generator[Event, Any, bool]:
        life = self._life()
        yield from self._inner.turn()
        return life != self._life()

    def send(self, operation: Operation, namespace: str, *args: Any, **named: Any) -> Generator[Event, Any, int]:
        over = self._cut()
        if over is not None:
            yield AnyOf(self._alarms, [over, self._alarms.timeout(TIMEOUT_S)])
            return 0
        return (yield from self._inner.send(operation, namespace, *args, **named))
