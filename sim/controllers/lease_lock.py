"""The record of a leader election as an object in the API server."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.apiserver.request import Operation
from sim.controllers.leader_election import Record

GET_LOCK = Operation("GET", "leases", "get_cpu_s", reads=1)
UPDATE_LOCK = Operation("PUT", "leases", "lease_cpu_s", reads=1, writes=1)
CREATE_LOCK = Operation("POST", "leases", "lease_cpu_s", writes=1, keys=1)
NAMESPACE = "kube-system"


class LeaseObject:
    """The stored record and its resource version; all replicas' locks share one."""

    __slots__ = ("record", "version")

    def __init__(self) -> None:
        self.record: Record | None = None
        self.version = 0


class LeaseLock:
    """One replica's port to the record, through its own client of the API server.

    A write is decided when it is stored: if another came before, it is refused as a conflict, whatever it cost.
    """

    def __init__(self, stored: LeaseObject, client: Client) -> None:
        self._stored = stored
        self._client = client

    def get(self) -> Generator[Event, Any, tuple[Record | None, int] | None]:
        """The record and its version; None when the API server did not answer with it."""
        yield from self._client.turn()
        code = yield from self._client.send(GET_LOCK, NAMESPACE)
        return (self._stored.record, self._stored.version) if code == 200 else None

    def update(self, record: Record, version: int) -> Generator[Event, Any, int]:
        """Write if nobody else has written since `version`; returns the new version, 0 when refused or not answered."""
        yield from self._client.turn()

        def write() -> bool:
            if self._stored.version != version:
                return False
            self._stored.version += 1
            self._stored.record = record
            return True

        code = yield from self._client.send(UPDATE_LOCK if version else CREATE_LOCK, NAMESPACE, guard=write)
        return version + 1 if code in (200, 201) else 0
