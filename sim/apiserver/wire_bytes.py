"""What requests send over the network, from the request log: counted when asked, so that a request pays nothing for it."""

from __future__ import annotations

from collections.abc import Callable

from sim.apiserver.request_log import RequestLog


class WireBytes:
    """Bytes of requests, answers and writes since the last look.

    object_bytes: usual size of an object of a resource. headers_bytes: of a request and its answer together.
    """

    def __init__(self, log: RequestLog, object_bytes: Callable[[str], int], headers_bytes: int) -> None:
        self._log = log
        self._object_bytes = object_bytes
        self._headers_bytes = headers_bytes
        self._row = 0

    def new(self) -> tuple[dict[str, tuple[float, float]], float]:
        """Bytes to the server and back by client, and bytes written to the store. A write carries its object both ways, a read back;
        objects of LISTs are not in it (see `Lists`)."""
        self._row, counts = self._log.counts_from(self._row)
        by_client: dict[str, tuple[float, float]] = {}
        stored = 0.0
        for (operation, client, code), count in zip(self._log.kinds(), counts.tolist(), strict=True):
            if not count:
                continue
            object_bytes = self._object_bytes(operation.resource) if code < 400 and operation.verb != "LIST" else 0
            up, down = by_client.get(client, (0.0, 0.0))
            half = self._headers_bytes / 2
            sent = object_bytes if operation.verb in ("POST", "PUT", "PATCH") else 0
            by_client[client] = (up + count * (half + sent), down + count * (half + object_bytes))
            stored += count * operation.writes * object_bytes
        return by_client, stored
