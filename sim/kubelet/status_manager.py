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

    period_s: of its batches. client: the nodes' credentials; each node's own limit is its `client_limit`. publish: tells the
    watchers of the change.
    """

    def __init__(
        self,
        period_s: float,
        client: Client,
        namespace_of: Callable[[int], str],
        publish: Callable[[int, Handler | None, int], None],
    ) -> None:
        self._period_s = period_s
        self._client = client
        self._namespace_of = namespace_of
        self._publish = publish

    def report(self, node: Node, pod: int, heard: Handler | None = None) -> Generator[Event, Any, None]:
        """Ends when the pod's new status is stored. heard: called when the watchers have it."""
        namespace = self._namespace_of(pod)
        if not node.status_lock.try_acquire():
            yield node.status_lock.acquire()
        while True:
            yield from node.turn()
            read = yield from self._client.send(GET_POD, namespace)
            if read == 200:
                yield from node.turn()
                if (yield from self._client.send(PATCH_POD_STATUS, namespace)) == 200:
                    break
            yield node.next_tick(node.status_phase_s, self._period_s)  # what failed goes again with the next batch
        node.status_lock.release()
        self._publish(pod, heard, 1)
