"""A node's machine stops, and its kubelet comes back: what was running is gone, and is started again where its spec says so."""

from __future__ import annotations

from collections.abc import Generator
from math import inf, isnan
from typing import TYPE_CHECKING, Any

import numpy as np
from simpy.events import Event

from sim.apiserver.request import CREATE_EVENT
from sim.engine.clock import fire
from sim.kubelet.plan import NEVER
from sim.state.pods import Phase

if TYPE_CHECKING:
    from sim.kubelet.node import Node
    from sim.kubelet.pod_workers import PodWorkers
    from sim.kubelet.sync_loop import Kubelets


class Reboots:
    """Crashes and returns of nodes, for all their pods.

    What a worker was doing for a pod that had not run yet is lost, and begins anew when the machine runs again: each stage looks at
    its end whether the machine is still the one that it began on (`Node.boots`).
    """

    def __init__(self, kubelets: Kubelets) -> None:
        self._kubelets = kubelets
        self.revived = 0
        """Pods whose containers were started again."""

    @property
    def _workers(self) -> PodWorkers:
        return self._kubelets.workers

    def _running(self, row: int) -> list[int]:
        """Plain pods that run on the node and have not ended."""
        pods = self._workers.pods
        phase, on = np.frombuffer(pods.ids["phase"], np.int32), np.frombuffer(pods.ids["node"], np.int32)
        lives = self._kubelets.node(row).lives
        here = np.flatnonzero((on == row) & (phase == Phase.RUNNING)).tolist()
        return [pod for pod in here if pod not in lives and isnan(pods.times["finished_s"][pod])]

    def stop(self, row: int) -> None:
        """The machine stops: no container's process is left."""
        node = self._kubelets.node(row)
        node.boots += 1
        node.down = Event(self._workers.clock)
        for pod in self._running(row):
            self._workers.ends_s[pod] = inf
        for life in self._kubelets.node(row).lives.values():
            life.crash()

    def start(self, row: int) -> None:
        """The kubelet is back, finds sandboxes and containers dead, and begins anew with those that are still its own."""
        node, workers = self._kubelets.node(row), self._workers
        down, node.down = node.down, None
        for pod in self._running(row):
            if workers.ends_s.get(pod) == inf and not workers.is_doomed(pod):
                workers.clock.start(self._revive(node, pod))
        for life in list(node.lives.values()):
            life.notice_crash()
        if down is not None:
            fire(down)

    def _revive(self, node: Node, pod: int) -> Generator[Event, Any, None]:
        workers = self._workers
        plan = workers.plan(pod)
        runtime = plan.runtime or node.runtime
        node.containers -= plan.container_count
        if plan.restart_policy == NEVER:
            workers.pods.times["finished_s"][pod] = workers.clock.now
            yield from workers.end(node, pod, "Error")
            return
        runtime.remove_pod_sandbox(node)
        yield from runtime.boot_sandbox(node)  # its address stays
        for _ in range(plan.container_count):
            yield from runtime.create_container(node)
            yield from runtime.start_container(node)
        started_s = workers.clock.now
        workers.pods.ids["restarts"][pod] += 1
        self.revived += 1
        workers.events.add(CREATE_EVENT, workers.spec.events_per_start)
        workers.ends_s[pod] = started_s + workers.pods.duration_s[pod]
        yield workers.clock.timeout(workers.observed_in_s(node))
        yield from workers.status.report(node, pod)
        if (ends_s := workers.ends_s[pod]) < inf and not workers.is_doomed(pod):
            workers.end_at(node, pod, ends_s)
