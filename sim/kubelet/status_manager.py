"""The status manager: tells the API server what became of a pod, one pod at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.apiserver.request import GET_POD, PATCH_POD_STATUS
from sim.apiserver.watch import Handler
from sim.kubelet.node import Node


class StatusManager:
    """Reads the pod, then patches its status: two requests under the kubelet's client rate limit.

    client: the nodes' credentials; each node's own limit is its `client_limit`. publish: tells the watchers of the change.
    """

    def __init__(self, client: Client, namespace_of: Callable[[int], str], publish: Callable[[int, Handler | None, int], None]) -> None:
        self._client = client
        self._namespace_of = namespace_of
        self._publish = publish

    def report(self, node: Node, pod: int, heard: Handler | None = None) -> Generator[Event, Any, None]:
        """Ends when the pod's new status is stored. heard: called when the watchers have it."""
        namespace = self._namespace_of(pod)
        if not node.status_lock.try_acquire():
            yield node.status_lock.acquire()
        yield from node.turn()
        yield from self._client.send(GET_POD, namespace)
        yield from node.turn()
        yield from self._client.send(PATCH_POD_STATUS, namespace)
        node.status_lock.release()
        self._publish(pod, heard, 1)
