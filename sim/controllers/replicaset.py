"""The ReplicaSet controller: as many pods of a set as are wanted, created in batches that double.

Rules: Kubernetes 1.20 source, pkg/controller/replicaset and controller_utils.go (expectations).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

from simpy.events import AllOf, Event

from sim.apiserver.client import Client
from sim.controllers.garbage_collector import GarbageCollector
from sim.controllers.operations import GET, UPDATE_REPLICASET_STATUS
from sim.controllers.owner import PodOwner
from sim.controllers.pod_control import PodControl
from sim.controllers.replicaset_rules import Candidate, deletion_order
from sim.controllers.spec import ControllerManagerSpec
from sim.controllers.work_queue import WorkQueue
from sim.controllers.writes import EventRecorder, StatusWrites
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.state.pods import Phase, PodTable

EXPECTATIONS_TIMEOUT_S = 300.0
"""After this a sync no longer waits to hear of its creations and deletions (Kubernetes 1.20 source, controller_utils.go)."""


class ReplicaSet(PodOwner):
    """One set as the controller knows it.

    number: its name among all sets. min_ready_s: from ready to available.
    """

    __slots__ = (
        "available",
        "closely",
        "expected",
        "expected_at_s",
        "leaving",
        "min_ready_s",
        "number",
        "replicas",
        "sized_for",
        "status",
        "terminating",
        "wanted",
    )

    def __init__(
        self,
        controller: ReplicaSetController,
        app: int,
        namespace: str,
        template: int,
        rows: list[int],
        like: int,
        number: int,
        replicas: int,
        min_ready_s: float,
    ) -> None:
        super().__init__(controller, app, namespace, template, rows, like)
        self.number = number
        self.wanted = replicas
        """spec.replicas as stored."""
        self.replicas = replicas
        """The same as the controller has heard."""
        self.sized_for = 0
        """Pods wanted in all, with the surge, when the Deployment last sized it."""
        self.min_ready_s = min_ready_s
        self.closely = min_ready_s > 0
        """Somebody decides on its status: each write is made as a request of its own."""
        self.expected = 0
        """Pods created whose existence has not been heard of yet."""
        self.leaving: set[int] = set()
        """Pods whose deletion was asked for and not heard of yet."""
        self.expected_at_s = 0.0
        self.terminating: set[int] = set()
        """Pods being deleted whose objects are still there."""
        self.status = (0, 0, 0)
        """(pods, ready, available) as last written."""
        self.available = 0
        """Of the last written status."""


class ReplicaSetController:
    """`replicaset_workers` syncs at a time. Slow start: 1, 2, 4, ... creations in parallel, the next batch only after the
    whole previous one; the first failure ends the sync, and the set comes back after its back-off.

    A sync that changes nothing costs nothing here: its CPU is in `create_cpu_s`, which was measured for all of them.
    """

    def __init__(
        self,
        clock: Clock,
        spec: ControllerManagerSpec,
        machine: Machine,
        client: Client,
        pods: PodTable,
        pod_control: PodControl,
        garbage: GarbageCollector,
        statuses: StatusWrites,
        events: EventRecorder,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._machine = machine
        self._client = client
        self._pods = pods
        self._pod_control = pod_control
        self._statuses = statuses
        self._events = events
        self._garbage = garbage
        self.on_status: Callable[[ReplicaSet], None]
        """Told when a status is stored; set by the Deployment controller, as is the next."""
        self.on_gone: Callable[[ReplicaSet], None]
        """Told when the object of a pod has gone, of a set that is looked at closely."""
        self.sets: dict[int, ReplicaSet] = {}
        """Those that exist, by number."""
        self.queue: WorkQueue[ReplicaSet] = WorkQueue(
            clock,
            "ReplicaSet",
            spec.replicaset_workers,
            self._sync,
            spec.retry_base_s,
            spec.retry_max_s,
            quick=self._write_quickly,
        )

    # --- what the informers say

    def set_changed(self, number: int) -> None:
        """A set was created or its size changed."""
        wanted = self.sets.get(number)
        if wanted is not None:
            wanted.replicas = wanted.wanted
            self.queue.add(wanted)

    def set_deleted(self, number: int) -> None:
        """A set was deleted: create no more."""
        gone = self.sets.pop(number, None)
        if gone is not None:
            gone.deleted = True
            self._garbage.object_gone("replicasets", number)
            self._garbage.owner_deleted(gone.pods, GET["replicasets"])

    def set_marked(self, number: int) -> None:
        """A set is to go when its pods have: create no more."""
        going = self.sets.pop(number, None)
        if going is not None:
            going.deleted = True
            pods = [("pods", pod) for pod in going.pods]
            self._garbage.owner_marked("replicasets", number, going.namespace, pods, going.terminating)

    def pod_added(self, owner: ReplicaSet, pod: int) -> None:
        owner.pods[pod] = None
        if owner.expected:
            owner.expected -= 1
        self._changed(owner)

    def pod_ready(self, owner: ReplicaSet, pod: int) -> None:
        if pod in owner.pods and pod not in owner.ready:
            owner.ready[pod] = self._clock._now
            if owner.min_ready_s:
                self.queue.add_after(owner, owner.min_ready_s)
            self._changed(owner)

    def pod_unready(self, owner: ReplicaSet, pod: int) -> None:
        if owner.ready.pop(pod, None) is not None:
            self._changed(owner)

    def pod_finished(self, owner: ReplicaSet, pod: int, failed: bool) -> None:
        self.pod_lost(owner, pod)
        owner.terminating.discard(pod)

    def pod_lost(self, owner: ReplicaSet, pod: int) -> None:
        if pod in owner.pods:
            del owner.pods[pod]
            owner.ready.pop(pod, None)
            owner.leaving.discard(pod)
            if self._pods.ids["phase"][pod] != Phase.DELETED:
                owner.terminating.add(pod)
            self._changed(owner)

    def pod_gone(self, owner: ReplicaSet, pod: int) -> None:
        self.pod_lost(owner, pod)
        owner.terminating.discard(pod)
        if owner.closely:
            self.on_gone(owner)

    def resync(self) -> None:
        """A new process has listed everything: what an old one expected is forgotten, and every set is looked at."""
        for each in self.sets.values():
            each.expected = 0
            each.leaving.clear()
            each.replicas = each.wanted
            self.queue.add(each)

    def objects(self) -> Iterable[ReplicaSet]:
        return self.sets.values()

    def as_wanted(self, owner: ReplicaSet) -> bool:
        return not (owner.closely or owner.expected or owner.leaving) and len(owner.pods) == owner.replicas

    # --- what it does about it

    def _changed(self, owner: ReplicaSet) -> None:
        """The set's status differs from what was written, and perhaps pods are missing or too many."""
        queue = self.queue
        if not (queue.has_time_for(owner) and self._write_quickly(owner)):
            queue.add(owner)

    def _write_quickly(self, owner: ReplicaSet) -> bool:
        """If nothing but the status of a set differs, and nobody decides on that, count the write; else false."""
        if (
            owner.closely
            or not (owner.expected or owner.leaving or len(owner.pods) == owner.replicas)
            or not self._statuses.write(owner)
        ):
            return False
        owner.available = available = len(owner.ready)
        owner.status = (len(owner.pods), available, available)
        self.on_status(owner)
        return True

    def _sync(self, owner: ReplicaSet) -> Generator[Event, Any, bool]:
        yield self._machine.work(self._spec.sync_cpu_s)
        if owner.deleted:
            return True
        done = True
        waits = owner.expected or owner.leaving
        if not waits or self._clock._now - owner.expected_at_s > EXPECTATIONS_TIMEOUT_S:
            surplus = len(owner.pods) - owner.replicas
            if surplus < 0:
                done = yield from self._create(owner, min(-surplus, self._spec.burst_replicas))
            elif surplus > 0:
                done = yield from self._delete(owner, min(surplus, self._spec.burst_replicas))
        return (yield from self._write_status(owner)) and done

    def _create(self, owner: ReplicaSet, count: int) -> Generator[Event, Any, bool]:
        owner.expected, owner.expected_at_s = count, self._clock._now
        stored = yield from self._pod_control.create_slowly(
            self._client, owner, count, self._spec.slow_start_initial, self._per_pod
        )
        owner.expected = max(0, owner.expected - (count - stored))
        self._events.record(owner, stored)
        return stored == count

    def _per_pod(self) -> None:
        self._machine.load(self._spec.create_cpu_s)

    def _delete(self, owner: ReplicaSet, count: int) -> Generator[Event, Any, bool]:
        """Delete `count` pods, all at once."""
        ids, times, now = self._pods.ids, self._pods.times, self._clock._now
        order = deletion_order(
            (
                Candidate(
                    pod,
                    ids["node"][pod],
                    ids["phase"][pod] == Phase.RUNNING,
                    owner.ready.get(pod),
                    times["created_s"][pod],
                )
                for pod in owner.pods
            ),
            now,
            self._spec.logarithmic_scale_down,
        )
        owner.leaving, owner.expected_at_s = set(order[:count]), now
        deletions = {pod: self._clock.start(self._pod_control.delete(self._client, pod)) for pod in order[:count]}
        pending = [deletion for deletion in deletions.values() if deletion.callbacks is not None]
        if pending:
            yield AllOf(self._clock, pending)
        failed = [pod for pod, deletion in deletions.items() if not deletion.value]
        owner.leaving.difference_update(failed)
        self._events.record(owner, count - len(failed))
        return not failed

    def _write_status(self, owner: ReplicaSet) -> Generator[Event, Any, bool]:
        """Write the set's status if it has changed; nobody waits for that of a set on its own."""
        available = self._count_available(owner)
        status = (len(owner.pods), len(owner.ready), available)
        if status == owner.status:
            return True
        if not owner.closely and self._statuses.write(owner):
            owner.status, owner.available = status, available
            self.on_status(owner)
            return True
        if (yield from self._client.turn()):
            return False
        if (yield from self._client.send(UPDATE_REPLICASET_STATUS, owner.namespace)) != 200:
            return False
        owner.status, owner.available = status, available
        self.on_status(owner)
        return True

    def _count_available(self, owner: ReplicaSet) -> int:
        if not owner.min_ready_s:
            return len(owner.ready)
        latest_s = self._clock._now - owner.min_ready_s + 1e-9
        return sum(since_s <= latest_s for since_s in owner.ready.values())
