"""During a run: when kube-proxies have a new endpoint in their rules.

Every node's kube-proxy is a loop: changes that arrive while it writes, or before its least period is over, go with the next sync.
All hear of the same changes, so few of them, with loops at different phases, stand for all. They are played a second at a time, all
at once, with no event a node: what a sync holds is known when it begins.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

import numpy as np

from sim.engine.clock import Alarm, Clock
from sim.network.routes.kube_proxy import KubeProxySpec

STEP_S = 1.0


class ServiceRules:
    """Writes when half, and when all, of the kube-proxies send connections to an endpoint.

    nodes: of the cluster. half_s, all_s: columns by pod; times that the run's end cuts off are not written. load: puts a sync's processor
    time on a node. Only nodes whose kube-proxies are played pay for it, which is exact up to `played_nodes` nodes; on more, the
    others' pods do not feel it.
    """

    def __init__(
        self,
        clock: Clock,
        spec: KubeProxySpec,
        nodes: int,
        half_s: array[float],
        all_s: array[float],
        rng: np.random.Generator,
        load: Callable[[int, float], None] = lambda node, cpu_s: None,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._half_s, self._all_s = half_s, all_s
        self._load = load
        count = min(nodes, spec.played_nodes)
        self._node = np.arange(count) * nodes // max(count, 1)
        self._began_s = -rng.random(count) * spec.min_sync_period_s
        """When each proxy's last sync began, and when it was done."""
        self._free_s = np.zeros(count)
        self._next = np.zeros(count, np.int64)
        """The first change that each has not written."""
        self._heard_s: list[float] = []
        self._pod: list[int] = []
        self._done_s: list[np.ndarray] = []
        self._services: set[int] = set()
        self._known: dict[int, frozenset[int]] = {}
        """Endpoints by service, where EndpointSlices say them."""
        self._armed = False
        self.endpoints = 0
        self.sync_cpu_s = 0.0
        """Of the proxies that are played."""
        self.syncs = 0
        """Of the proxies that are played."""

    def endpoint_changed(self, service: int, pod: int, added: bool) -> None:
        """A pod joins or leaves a service's endpoints; the EndpointSlice reaches the nodes `endpoint_slice_s` later."""
        self._change(service, pod, added, self._spec.endpoint_slice_s)

    def begin_with(self, service: int, pods: frozenset[int]) -> None:
        """Before the run: all kube-proxies have these endpoints of a service in their rules."""
        if self._spec.mode != "none":
            self.endpoints += len(pods)
            self._services.add(service)
            self._known[service] = pods

    def slices_heard(self, service: int, pods: frozenset[int]) -> None:
        """The nodes hear which pods are a service's endpoints, as its EndpointSlices say."""
        known = self._known.get(service, frozenset())
        for pod in sorted(pods ^ known):
            self._change(service, pod, pod in pods, 0.0)
        self._known[service] = pods

    def _change(self, service: int, pod: int, added: bool, delay_s: float) -> None:
        """The nodes hear of it after `delay_s`, the same for all changes of a run."""
        if self._spec.mode == "none":
            return
        self.endpoints += 1 if added else -1
        self._services.add(service)
        self._heard_s.append(self._clock._now + delay_s)
        self._pod.append(pod if added else -1)
        self._done_s.append(np.full(len(self._free_s), np.inf))
        if not self._armed:
            self._armed = True
            self._clock.at(STEP_S + delay_s, self._step)

    def _step(self, _: Alarm) -> None:
        """Play all syncs that have begun by now."""
        now, heard_s = self._clock._now, np.array(self._heard_s)
        done_s = np.array(self._done_s)
        while True:
            waiting = np.flatnonzero(self._next < len(heard_s))
            begin_s = np.maximum(heard_s[self._next[waiting]], self._free_s[waiting])
            begin_s = np.maximum(begin_s, self._began_s[waiting] + self._spec.min_sync_period_s)
            ready = begin_s <= now
            if not ready.any():
                break
            proxies, begin_s = waiting[ready], begin_s[ready]
            first, last = self._next[proxies], np.searchsorted(heard_s, begin_s, side="right")
            took_s = np.array([self._sync_s(int(changes)) for changes in last - first])
            self._began_s[proxies], self._free_s[proxies], self._next[proxies] = begin_s, begin_s + took_s, last
            self.syncs += len(proxies)
            self.sync_cpu_s += float(took_s.sum())
            for proxy, begin, end, at_s, cpu_s in zip(proxies, first, last, begin_s + took_s, took_s, strict=True):
                done_s[begin:end, proxy] = at_s
                self._load(int(self._node[proxy]), float(cpu_s))
        written = int(self._next.min())
        for pod, row in zip(self._pod[:written], done_s[:written], strict=True):
            if pod >= 0:
                self._half_s[pod], self._all_s[pod] = np.median(row), row.max()
        del self._heard_s[:written], self._pod[:written]
        self._done_s = list(done_s[written:])
        self._next -= written
        self._armed = bool(self._heard_s)
        if self._armed:
            self._clock.at(STEP_S, self._step)

    def _sync_s(self, changes: int) -> float:
        return self._spec.sync_s(len(self._services), max(self.endpoints, 0), changes)

    def close(self) -> None:
        """The run ends now: what is not done by then has not come."""
        now = self._clock._now
        for column in (self._half_s, self._all_s):
            times = np.frombuffer(column, np.float64)
            times[times > now] = np.nan
