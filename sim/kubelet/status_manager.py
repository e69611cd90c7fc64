"""The status manager: tells the API server what became of a pod, one pod at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.apiserver.request import GET_POD, PATCH_POD_STATUS
from sim.kubelet.node import Node


class StatusManager:
    """Reads the pod, then patches its status: two requests under the kubelet's client rate limit.

    client: the nodes' credentials; each node's own limit is its `client_limit`.
    """

    def __init__(self, client: Client, namespace_of: Callable[[int], str]) -> None:
        self._client = client
        self._namespace_of = namespace_of

    def report(self, node: Node, pod: int) -> Generator[Event, Any, None]:
        """Ends when the pod's new status is stored."""
        namespace = self._namespace_of(pod)
        if not node.status_lock.try_acquire():
            yield node.status_lock.acquire()
        yield from node.turn()
        yield from self._client.send(GET_POD, namespace)
        yield from node.turn()
        yield from self._client.send(PATCH_POD_STATUS, namespace)
        node.status_lock.release()
