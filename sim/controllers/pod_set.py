"""What StatefulSets and DaemonSets share: each of their pods has a place, an ordinal or a node, until its object is gone."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, ClassVar, Generic, TypeVar

from simpy.events import Event

from sim.apiserver.client import Client
from sim.apiserver.request import Operation
from sim.controllers.applications import Applications
from sim.controllers.garbage_collector import GarbageCollector
from sim.controllers.operations import GET
from sim.controllers.owner import PodController, PodOwner
from sim.controllers.pod_control import PodControl
from sim.controllers.spec import ControllerManagerSpec
from sim.controllers.work_queue import WorkQueue
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.state.pods import PodTable


class PodSet(PodOwner):
    """One set as its controller knows it."""

    __slots__ = ("ended", "place_of", "pod_at", "status", "terminating")
    options: Any
    """`StatefulSetOptions` or `DaemonSetOptions`."""

    def __init__(
        self, controller: PodController, app: int, namespace: str, template: int, rows: list[int], like: int
    ) -> None:
        super().__init__(controller, app, namespace, template, rows, like)
        self.pod_at: dict[int, int] = {}
        """The pod of each place whose object is there or has been asked for."""
        self.place_of: dict[int, int] = {}
        self.terminating: set[int] = set()
        self.ended: list[int] = []
        """Pods with a final status whose objects are still there."""
        self.status: tuple[int, ...] = ()


S = TypeVar("S", bound=PodSet)


class PodSetController(Generic[S]):
    """A controller of such sets: what it hears of them and of their pods. `workers` syncs at a time."""

    resource: ClassVar[str]

    def __init__(
        self,
        clock: Clock,
        spec: ControllerManagerSpec,
        machine: Machine,
        client: Client,
        applications: Applications,
        pods: PodTable,
        pod_control: PodControl,
        garbage: GarbageCollector,
        kind: str,
        workers: int,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._machine = machine
        self._client = client
        self._applications = applications
        self._template_of = pods.ids["template"]
        self._pod_control = pod_control
        self._garbage = garbage
        self.sets: dict[int, S] = {}
        """Those that exist, by application."""
        self.queue: WorkQueue[S] = WorkQueue(clock, kind, workers, self._sync, spec.retry_base_s, spec.retry_max_s)

    # --- what the informers say

    def app_deleted(self, app: int) -> None:
        owner = self.sets.pop(app, None)
        if owner is not None:
            owner.deleted = True
            pods = [*owner.pods, *owner.ended]
            if owner.options.foreground:
                held = [("pods", pod) for pod in pods]
                self._garbage.owner_marked(self.resource, app, owner.namespace, held, owner.terminating)
            else:
                self._garbage.owner_deleted(pods, GET[self.resource])

    def pod_added(self, owner: S, pod: int) -> None:
        owner.pods[pod] = None
        self.queue.add(owner)

    def pod_ready(self, owner: S, pod: int) -> None:
        if pod in owner.pods:
            owner.ready[pod] = self._clock._now
            self.queue.add(owner)

    def pod_unready(self, owner: S, pod: int) -> None:
        if owner.ready.pop(pod, None) is not None:
            self.queue.add(owner)

    def pod_finished(self, owner: S, pod: int, failed: bool) -> None:
        """An ended pod is deleted by a sync; when it has gone, another is created in its place."""
        if pod in owner.pods:
            del owner.pods[pod]
            owner.ready.pop(pod, None)
            owner.ended.append(pod)
            self.queue.add(owner)
        elif pod in owner.terminating:  # it was being deleted anyway
            self.pod_gone(owner, pod)

    def pod_lost(self, owner: S, pod: int) -> None:
        if pod in owner.pods:
            del owner.pods[pod]
            owner.ready.pop(pod, None)
            owner.terminating.add(pod)
            self.queue.add(owner)

    def pod_gone(self, owner: S, pod: int) -> None:
        self.pod_lost(owner, pod)
        owner.terminating.discard(pod)
        place = owner.place_of.pop(pod, None)
        if place is not None:
            owner.pod_at.pop(place, None)
            self.queue.add(owner)

    def resync(self) -> None:
        for owner in self.sets.values():
            self.queue.add(owner)

    def objects(self) -> Iterable[S]:
        return self.sets.values()

    # --- what it does about it

    def _sync(self, owner: S) -> Generator[Event, Any, bool]:
        """Bring what there is closer to what is wanted; true when nothing has to be tried again."""
        raise NotImplementedError

    def _create_at(self, owner: S, place: int, template: int) -> Generator[Event, Any, bool]:
        """Post a pod for a place."""
        self._machine.load(self._spec.create_cpu_s)
        pod = self._pod_control.next_row(owner)
        self._template_of[pod] = template
        owner.pod_at[place], owner.place_of[pod] = pod, place
        stored = yield from self._pod_control.create_for(self._client, owner, pod)
        if not stored:
            del owner.pod_at[place], owner.place_of[pod]
            owner.rows.append(pod)
        return stored

    def _store_status(self, owner: S, status: tuple[int, ...], update: Operation) -> Generator[Event, Any, bool]:
        if status == owner.status:
            return True
        if (yield from self._client.turn()):
            return False
        if (yield from self._client.send(update, owner.namespace)) != 200:
            return False
        owner.status = status
        return True
