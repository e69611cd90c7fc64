"""The request log: one row a request, or one an aggregated tick of alike requests."""

from __future__ import annotations

from array import array

import numpy as np

from sim.apiserver.request import Operation
from sim.engine.clock import Clock


class RequestLog:
    """Columns time_s, latency_s, kind, count; kinds are numbered in order of first use."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kinds: dict[tuple[Operation, str, int], int] = {}
        self._time_s = array("d")
        self._latency_s = array("f")
        self._kind = array("h")
        self._count = array("i")

    def add(self, operation: Operation, client: str, code: int, arrived_s: float, count: int = 1) -> None:
        """A request, or `count` alike ones, was answered now."""
        key = (operation, client, code)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = len(self._kinds)
        now = self._clock._now
        self._time_s.append(now)
        self._latency_s.append(now - arrived_s)
        self._kind.append(kind)
        self._count.append(count)

    def counts_from(self, row: int) -> tuple[int, np.ndarray]:
        """The row after the last, and how many requests of each kind stand in rows from `row` on."""
        counts = np.bincount(self._kind[row:], weights=self._count[row:], minlength=len(self._kinds))
        return len(self._kind), counts

    def columns(self) -> dict[str, np.ndarray]:
        return {
            "time_s": np.array(self._time_s),
            "latency_s": np.array(self._latency_s),
            "kind": np.array(self._kind),
            "count": np.array(self._count),
        }

    def kinds(self) -> list[tuple[Operation, str, int]]:
        """(operation, client, HTTP status) of each kind number."""
        return list(self._kinds)
