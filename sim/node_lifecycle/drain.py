"""`kubectl drain`: cordon a node, evict its pods within their disruption budgets, wait until they are gone."""

from __future__ import annotations

from collections.abc import Callable, Generator
from math import isnan
from typing import Any

import numpy as np
from simpy.events import Event

from sim.apiserver.client import Client
from sim.apiserver.request import list_operation
from sim.controllers.pod_control import PodControl
from sim.engine.clock import Clock
from sim.node_lifecycle.join import PATCH_NODE
from sim.node_lifecycle.park import NodePark
from sim.node_lifecycle.spec import DrainSpec
from sim.state.pods import Phase, PodTable

Process = Generator[Event, Any, None]


class Drains:
    """Drains of nodes, and the disruption budgets that they keep.

    An application of more than one pod has a budget: at least its size less `max_unavailable_share` of it, rounded up, must run.
    evict: deletes a pod through the API. is_daemon: whether a DaemonSet owns a pod; such pods stay, as with --ignore-daemonsets.
    may_go: whether the PodDisruptionBudgets let a pod be evicted now.
    """

    def __init__(
        self,
        clock: Clock,
        spec: DrainSpec,
        park: NodePark,
        pods: PodTable,
        pod_control: PodControl,
        client: Client,
        app_pods: np.ndarray,
        is_daemon: Callable[[int], bool],
        may_go: Callable[[int], bool] = lambda pod: True,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._park = park
        self._pods = pods
        self._pod_control = pod_control
        self._client = client
        self._app_pods = app_pods
        self.is_daemon = is_daemon
        self._may_go = may_go
        self.evicted = 0
        self.refused = 0
        """Evictions that a budget refused; each was tried again."""

    def pods_on(self, node: int) -> list[int]:
        """Pods bound to the node that are not over, daemons' left out."""
        columns = self._pods.ids
        phase, on = np.frombuffer(columns["phase"], np.int32), np.frombuffer(columns["node"], np.int32)
        here = np.flatnonzero((on == node) & ((phase == Phase.SCHEDULED) | (phase == Phase.RUNNING)))
        return [pod for pod in here.tolist() if not self.is_daemon(pod)]

    def allowed(self, app: int) -> bool:
        """Whether the application's budget lets one more pod go now."""
        wanted = int(self._app_pods[app])
        if wanted < 2:
            return True
        ids, deleted = self._pods.ids, np.frombuffer(self._pods.times["delete_requested_s"])
        ours = np.frombuffer(ids["app"], np.int32) == app
        running = int(
            np.count_nonzero(ours & (np.frombuffer(ids["phase"], np.int32) == Phase.RUNNING) & np.isnan(deleted))
        )
        least = wanted - max(1, int(np.ceil(wanted * self._spec.max_unavailable_share)))
        return running - 1 >= least

    def drain(self, node: int) -> Process:
        """Process: ends when no pod is left on the node but daemons'."""
        yield from self._client.turn()
        yield from self._client.send(PATCH_NODE, "")
        self._park.cordon(node)
        yield from self._client.send(list_operation("pods", selects="of-a-node"), "")
        evictions = [self._clock.start(self._evict(pod)) for pod in self.pods_on(node)]
        for eviction in evictions:
            if eviction.callbacks is not None:
                yield eviction
        while self.pods_on(node):
            yield self._clock.timeout(self._spec.poll_s)

    def _evict(self, pod: int) -> Process:
        app = self._pods.ids["app"][pod]
        while isnan(self._pods.times["gone_s"][pod]) and isnan(self._pods.times["delete_requested_s"][pod]):
            if self.allowed(app) and self._may_go(pod):
                if (yield from self._pod_control.delete(self._client, pod)):
                    self.evicted += 1
                    return
            else:
                self.refused += 1
            yield self._clock.timeout(self._spec.retry_s)
