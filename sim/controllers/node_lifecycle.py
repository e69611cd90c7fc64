"""The node life cycle controller: nodes that are not heard of are marked, tainted, and their pods evicted.

Heartbeats are leases. The monitor looks every 5 s; what it has not seen renewed for 40 s is unreachable: its Ready condition and its
pods' are marked, new pods are kept away at once, and the pods it has are evicted when the zone's rate lets its taint through
and their toleration is over. Rules: `node_lifecycle_rules`; Kubernetes 1.20 source, pkg/controller/nodelifecycle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from math import ceil, inf, isnan
from typing import TYPE_CHECKING, Any

import numpy as np
from simpy.events import AllOf, Event

from sim.apiserver.request import CREATE_EVENT, list_operation
from sim.base.spec import Spec, param
from sim.controllers.node_lifecycle_rules import (
    UNREACHABLE_NO_EXECUTE,
    UNREACHABLE_NO_SCHEDULE,
    ZoneState,
    evicted_after_s,
    eviction_rate_per_s,
    zone_state,
)
from sim.controllers.operations import PATCH_NODE, UPDATE_NODE_STATUS, UPDATE_POD_STATUS
from sim.engine.clock import Clock
from sim.engine.semaphore import Semaphore
from sim.engine.token_bucket import TokenBucket
from sim.state.pods import Phase

if TYPE_CHECKING:
    from sim.apiserver.client import Client
    from sim.controllers.pod_control import PodControl
    from sim.node_lifecycle.park import NodePark
    from sim.state.objects import PodSpec
    from sim.state.pods import PodTable

Process = Generator[Event, Any, None]
LIST_PODS_OF_NODE = list_operation("pods", selects="of-a-node")
K20 = "Kubernetes 1.20 source, node life cycle controller's defaults"
TRY_S = 0.1
"""How often a zone's queue is tried (nodeEvictionPeriod, the same source)."""


class NodeLifecycleSpec(Spec):
    """How long a node may be silent, and how fast pods are evicted then."""

    monitor_period_s: float = param(5.0, "between two looks at all nodes", source=K20, gt=0, le=3600)
    grace_s: float = param(
        40.0, "a node whose lease was not seen renewed for this long is unreachable", source=K20, gt=0, le=1e5
    )
    eviction_rate_per_s: float = param(0.1, "nodes of a zone that are tainted for eviction", source=K20, ge=0, le=1e4)
    reduced_eviction_rate_per_s: float = param(
        0.01, "the same in a large zone of which much is silent; none in a small one", source=K20, ge=0, le=1e4
    )
    unhealthy_zone_share: float = param(0.55, "silent nodes that make a zone unhealthy", source=K20, gt=0, le=1)
    large_zone_nodes: int = param(50, "zones with more nodes are large", source=K20, ge=0, le=1_000_000)
    pod_eviction_timeout_s: float | None = param(
        None,
        "pods of a node that was not heard of for so long are deleted, whatever they tolerate; null: evicted by a taint, each when "
        "its toleration is over",
        source="Kubernetes 1.12 source, cmd/kube-controller-manager: --pod-eviction-timeout, 5 min, without the feature "
        "TaintBasedEvictions (alpha before 1.13)",
        gt=0,
        le=1e6,
    )
    pod_workers: int = param(4, "nodes whose pods are marked at a time", source=K20, ge=1, le=1000)


class _Zone:
    """Silent nodes of a zone that wait for their eviction taint."""

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        """Nodes that the zone has."""
        self.state = ZoneState.NORMAL
        self.rate_per_s = -1.0
        """-1: not worked out yet."""
        self.limit: TokenBucket | None = None
        self.waiting: deque[int] = deque()
        self.trying = False


class NodeLifecycle:
    """Hears of nodes that fall silent and come back from the park; healthy nodes cost nothing.

    period_s: of the nodes' lease renewals. spec_of: a pod's spec. unready, ready: publish that of a pod.
    """

    def __init__(
        self,
        clock: Clock,
        spec: NodeLifecycleSpec,
        park: NodePark,
        client: Client,
        pods: PodTable,
        pod_control: PodControl,
        spec_of: Callable[[int], PodSpec],
        period_s: float,
        rng: np.random.Generator,
        zones: Sequence[str],
        unready: Callable[[int], None],
        ready: Callable[[int], None],
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._park = park
        self._client = client
        self._pods = pods
        self._pod_control = pod_control
        self._spec_of = spec_of
        self._period_s = period_s
        self._lease_phase_s = rng.random(len(park.nodes)) * period_s
        self._phase_s = float(rng.random() * spec.monitor_period_s)
        self._zone_of = list(zones)
        self._zones: dict[str, _Zone] = {name: _Zone(zones.count(name)) for name in dict.fromkeys(zones)}
        self._unready = unready
        self._ready = ready
        self._workers = Semaphore(clock, "node pods workers", "controllers", spec.pod_workers)
        self._unreachable: dict[int, float] = {}
        """Nodes marked so, and when."""
        self._tainted: set[int] = set()
        """Those of them whose pods are being evicted."""
        self._seen_s: dict[int, float] = {}
        """When the monitor last saw a silent node renewed."""
        self._marked: dict[int, list[int]] = {}
        """Pods of a node that were marked not ready."""
        self._all_disrupted = False
        self.leads = True
        """False: no replica of the controller manager leads."""
        self.evicted = 0
        park.on_silent.append(self._silent)
        park.on_back.append(self._back)

    def resume(self) -> None:
        """A new process leads: it begins to count the grace of every silent node from now."""
        self.leads = True
        for node in range(len(self._park.nodes)):
            if self._park.silent_since_s[node] < inf:
                self._seen_s[node] = self._next_tick(self._clock.now)
                if node not in self._unreachable:
                    self._judge_at(node, self._seen_s[node] + self._spec.grace_s)

    def suspend(self) -> None:
        """The process that led is gone."""
        self.leads = False

    # --- heartbeats

    def _next_tick(self, time_s: float) -> float:
        """The monitor's first look at or after a time."""
        period_s = self._spec.monitor_period_s
        return self._phase_s + ceil((time_s - self._phase_s) / period_s - 1e-9) * period_s

    def last_renewal_s(self, node: int) -> float:
        """When a node that fell silent now last renewed its lease."""
        phase_s = float(self._lease_phase_s[node])
        return phase_s + (self._clock.now - phase_s) // self._period_s * self._period_s

    def _silent(self, node: int) -> None:
        """A node's heartbeats stop. The monitor sees its last renewal at its first look after it, and misses the next ones."""
        seen_s = self._seen_s[node] = self._next_tick(self.last_renewal_s(node))
        self._judge_at(node, self._next_tick(seen_s + self._spec.grace_s))

    def _judge_at(self, node: int, at_s: float) -> None:
        since_s = self._park.silent_since_s[node]

        def judge(_: object) -> None:
            if self.leads and self._park.silent_since_s[node] == since_s and node not in self._unreachable:
                self._unreachable[node] = self._clock.now
                self._clock.at(0.0, lambda _: self._judged(node))  # after all others of the same look

        self._clock.at(max(0.0, at_s - self._clock.now), judge)

    def _judged(self, node: int) -> None:
        self._update_zones()
        if node in self._unreachable:
            self._clock.start(self._mark(node))

    def _back(self, node: int) -> None:
        """Heartbeats are heard again: the next look finds the node ready, and takes its taints away."""
        if node in self._unreachable:
            at_s = self._next_tick(self._clock.now)

            def look(_: object) -> None:
                self._clock.start(self._unmark(node))

            self._clock.at(at_s - self._clock.now, look)

    # --- marks and taints

    def _mark(self, node: int) -> Process:
        """The node's condition, its pods' conditions, and the taint that keeps new pods away."""
        if not (yield from self._request(UPDATE_NODE_STATUS)):
            del self._unreachable[node]  # the next look finds it again
            self._judge_at(node, self._clock.now + self._spec.monitor_period_s)
            return
        self._clock.start(self._mark_pods(node))
        if (yield from self._request(PATCH_NODE)) and node in self._unreachable:
            self._park.taint(node, self._taints(node))
        if self._spec.pod_eviction_timeout_s is None:
            self._want_evicted(node)
        else:
            self._want_evicted_at(node, self._next_tick(self._seen_s[node] + self._spec.pod_eviction_timeout_s))

    def _want_evicted(self, node: int) -> None:
        """The node waits for its zone's rate."""
        zone = self._zones[self._zone_of[node]]
        zone.waiting.append(node)
        if not zone.trying:
            zone.trying = True
            self._clock.start(self._try(zone))

    def _want_evicted_at(self, node: int, at_s: float) -> None:
        since_s = self._unreachable.get(node)

        def look(_: object) -> None:
            timeout_s = self._spec.pod_eviction_timeout_s
            if self._unreachable.get(node) != since_s or timeout_s is None:
                return
            due_s = self._next_tick(self._seen_s[node] + timeout_s)
            if due_s > self._clock.now + 1e-6:  # another process leads, which has waited for less
                self._want_evicted_at(node, due_s)
            else:
                self._want_evicted(node)

        if since_s is not None:
            self._clock.at(max(0.0, at_s - self._clock.now), look)

    def _taints(self, node: int) -> tuple[Any, ...]:
        if node not in self._unreachable:
            return ()
        return (UNREACHABLE_NO_SCHEDULE, *((UNREACHABLE_NO_EXECUTE,) if node in self._tainted else ()))

    def _mark_pods(self, node: int) -> Process:
        """Every ready pod of the node is ready no more, as far as anyone can tell."""
        yield self._workers.acquire()
        marked = self._marked[node] = []
        for pod in self._pods_on(node):
            if self._pods.ids["phase"][pod] != Phase.RUNNING or node not in self._unreachable:
                continue
            if (yield from self._request(UPDATE_POD_STATUS)):
                marked.append(pod)
                self._unready(pod)
        self._workers.release()

    def _pods_on(self, node: int) -> list[int]:
        ids = self._pods.ids
        phase, on = np.frombuffer(ids["phase"], np.int32), np.frombuffer(ids["node"], np.int32)
        return np.flatnonzero((on == node) & ((phase == Phase.SCHEDULED) | (phase == Phase.RUNNING))).tolist()

    def _unmark(self, node: int) -> Process:
        if self._park.silent_since_s[node] < inf or node not in self._unreachable or not self.leads:
            return
        del self._unreachable[node]
        self._tainted.discard(node)
        self._update_zones()
        for pod in self._marked.pop(node, ()):  # the kubelet has written their statuses anew
            if self._pods.ids["phase"][pod] == Phase.RUNNING:
                self._ready(pod)
        yield from self._request(PATCH_NODE)
        if node not in self._unreachable:
            self._park.taint(node, ())

    # --- evictions

    def _update_zones(self) -> None:
        """How much of each zone is silent, and how fast it may be emptied."""
        silent = dict.fromkeys(self._zones, 0)
        for node in self._unreachable:
            silent[self._zone_of[node]] += 1
        spec = self._spec
        for name, zone in self._zones.items():
            zone.state = zone_state(zone.nodes - silent[name], silent[name], spec.unhealthy_zone_share)
        self._all_disrupted = all(zone.state is ZoneState.FULL for zone in self._zones.values())
        for zone in self._zones.values():
            rate_per_s = eviction_rate_per_s(
                zone.state,
                zone.nodes,
                self._all_disrupted,
                spec.eviction_rate_per_s,
                spec.reduced_eviction_rate_per_s,
                spec.large_zone_nodes,
            )
            if rate_per_s != zone.rate_per_s:
                zone.rate_per_s = rate_per_s
                zone.limit = TokenBucket(self._clock, "evictions", "controllers", rate_per_s, 1) if rate_per_s else None
        if self._all_disrupted:  # nobody can be reached: rather the control plane's own fault
            for node in list(self._tainted):
                self._tainted.discard(node)
                self._zones[self._zone_of[node]].waiting.append(node)
                self._clock.start(self._take_back(node))

    def _take_back(self, node: int) -> Process:
        if (yield from self._request(PATCH_NODE)):
            self._park.taint(node, self._taints(node))

    def _try(self, zone: _Zone) -> Process:
        """Process: taint the nodes that wait, as fast as the zone's rate lets them through."""
        while zone.waiting:
            node = zone.waiting[0]
            if node not in self._unreachable or node in self._tainted:
                zone.waiting.popleft()
                continue
            if self.leads and zone.limit is not None and zone.limit.try_reserve():
                zone.waiting.popleft()
                if self._spec.pod_eviction_timeout_s is not None:
                    yield from self._delete_pods(node)
                    continue
                if (yield from self._request(PATCH_NODE)) and node in self._unreachable:
                    self._tainted.add(node)
                    self._park.taint(node, self._taints(node))
                    self._evict_later(node)
                continue
            yield self._clock.timeout(TRY_S)
        zone.trying = False

    def _evict_later(self, node: int) -> None:
        """The taint is there: each pod goes when its toleration of it is over."""
        since_s = self._unreachable[node]
        due: dict[float, list[int]] = {}
        for pod in self._pods_on(node):
            after_s = evicted_after_s(self._spec_of(pod).tolerations, UNREACHABLE_NO_EXECUTE)
            if after_s < inf:
                due.setdefault(after_s, []).append(pod)

        def evict(pods: list[int]) -> None:
            if self._unreachable.get(node) == since_s and node in self._tainted and self.leads:
                self._clock.start(self._evict(pods))

        for after_s, pods in due.items():
            self._clock.at(after_s, lambda _, pods=pods: evict(pods))  # type: ignore[misc]

    def _delete_pods(self, node: int) -> Process:
        """Without taints all pods of the node but daemons' go, one after the other: each is given its reason, and deleted."""
        yield from self._request(LIST_PODS_OF_NODE)
        for pod in self._pods_on(node):
            yield from self._request(UPDATE_POD_STATUS)
            if not self._is_daemon(pod):
                yield from self._evict_one(pod)

    def _is_daemon(self, pod: int) -> bool:
        owner = self._pod_control.owner_of.get(pod)
        return owner is not None and owner.stays_with_node

    def _evict(self, pods: list[int]) -> Process:
        deletions = [self._clock.start(self._evict_one(pod)) for pod in pods]
        pending = [deletion for deletion in deletions if deletion.callbacks is not None]
        if pending:
            yield AllOf(self._clock, pending)

    def _evict_one(self, pod: int) -> Process:
        """An event, then the DELETE. The kubelet ends the pod when it is heard of again; until then its object stays."""
        if not isnan(self._pods.times["delete_requested_s"][pod]) or not isnan(self._pods.times["gone_s"][pod]):
            return
        yield from self._request(CREATE_EVENT)
        if (yield from self._pod_control.delete(self._client, pod)):
            self.evicted += 1

    def _request(self, operation: Any) -> Generator[Event, Any, bool]:
        if (yield from self._client.turn()):
            return False
        return (yield from self._client.send(operation, "")) in (200, 201)
