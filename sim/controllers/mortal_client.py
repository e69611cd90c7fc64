"""The client of a process that may die: what it had not sent yet is never sent."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.apiserver.request import Operation


class MortalClient(Client):
    """`inner`, for as long as the process that began a turn still lives when it is over.

    life: a number that grows when the process dies. unreachable: whether no request of it reaches the API server now.
    """

    __slots__ = ("_inner", "_life", "_unreachable")

    def __init__(self, inner: Client, life: Callable[[], int], unreachable: Callable[[], bool]) -> None:
        self._inner = inner
        self._life = life
        self._unreachable = unreachable
        self.user = inner.user

    @property
    def limit(self) -> Any:
        return self._inner.limit

    def turn(self) -> Generator[Event, Any, bool]:
        life = self._life()
        yield from self._inner.turn()
        return life != self._life()

    def send(self, operation: Operation, namespace: str, *args: Any, **named: Any) -> Generator[Event, Any, int]:
        if self._unreachable():
            return 0
        return (yield from self._inner.send(operation, namespace, *args, **named))
