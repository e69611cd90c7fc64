"""The StatefulSet controller: pods with an order and an identity; a pod comes again under its name when it has gone.

Rules: `stateful_set_rules`; the process: Kubernetes 1.20 source, pkg/controller/statefulset.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.controllers.applications import Applications
from sim.controllers.garbage_collector import GarbageCollector
from sim.controllers.operations import CREATE_REVISION, GET, UPDATE_STATEFUL_SET_STATUS
from sim.controllers.owner import PodOwner
from sim.controllers.pod_control import PodControl
from sim.controllers.spec import ControllerManagerSpec
from sim.controllers.stateful_set_rules import OrdinalState, next_steps
from sim.controllers.work_queue import WorkQueue
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.state.applications import Scale, StatefulSetOptions
from sim.state.pods import PodTable


class StatefulSet(PodOwner):
    """One set as the controller knows it."""

    __slots__ = (
        "by_ordinal",
        "current",
        "ended",
        "options",
        "ordinal_of",
        "replicas",
        "revisions",
        "status",
        "terminating",
    )

    def __init__(
        self,
        controller: StatefulSetController,
        app: int,
        namespace: str,
        template: int,
        rows: list[int],
        like: int,
        replicas: int,
        options: StatefulSetOptions,
    ) -> None:
        super().__init__(controller, app, namespace, template, rows, like)
        self.replicas = replicas
        self.options = options
        self.current = template
        """The revision that all pods had when the last update was over."""
        self.revisions = 0
        """Revisions stored."""
        self.by_ordinal: dict[int, int] = {}
        """Pods whose objects are there or have been asked for."""
        self.ordinal_of: dict[int, int] = {}
        self.terminating: set[int] = set()
        self.ended: list[int] = []
        """Pods with a final status whose objects are still there."""
        self.status: tuple[int, ...] = ()


class StatefulSetController:
    """`stateful_set_workers` syncs at a time."""

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
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._machine = machine
        self._client = client
        self._applications = applications
        self._template_of = pods.ids["template"]
        self._pod_control = pod_control
        self._garbage = garbage
        self.sets: dict[int, StatefulSet] = {}
        """Those that exist, by application."""
        self.queue: WorkQueue[StatefulSet] = WorkQueue(
            clock, "StatefulSet", spec.stateful_set_workers, self._sync, spec.retry_base_s, spec.retry_max_s
        )

    # --- what the informers say

    def app_created(self, app: int) -> None:
        known = self._applications
        owner = self.sets[app] = StatefulSet(
            self,
            app,
            known.namespace(app),
            known.template(app),
            known.rows(app),
            known.first_row(app),
            known.pods(app),
            known.options(app, StatefulSetOptions),
        )
        self.queue.add(owner)

    def app_changed(self, number: int) -> None:
        change = self._applications.load.changes[number]
        owner = self.sets.get(change.app)
        if owner is None:
            return
        if isinstance(change.what, Scale):
            owner.replicas = change.what.replicas
        else:
            owner.template = change.what.template
        self.queue.add(owner)

    def app_deleted(self, app: int) -> None:
        owner = self.sets.pop(app, None)
        if owner is not None:
            owner.deleted = True
            pods = [*owner.pods, *owner.ended]
            if owner.options.foreground:
                held = [("pods", pod) for pod in pods]
                self._garbage.owner_marked("statefulsets", app, owner.namespace, held, owner.terminating)
            else:
                self._garbage.owner_deleted(pods, GET["statefulsets"])

    def pod_added(self, owner: StatefulSet, pod: int) -> None:
        owner.pods[pod] = None
        self.queue.add(owner)

    def pod_ready(self, owner: StatefulSet, pod: int) -> None:
        if pod in owner.pods:
            owner.ready[pod] = self._clock._now
            self.queue.add(owner)

    def pod_unready(self, owner: StatefulSet, pod: int) -> None:
        if owner.ready.pop(pod, None) is not None:
            self.queue.add(owner)

    def pod_finished(self, owner: StatefulSet, pod: int, failed: bool) -> None:
        """An ended pod is deleted by the next sync, which then creates another under its name."""
        if pod in owner.pods:
            del owner.pods[pod]
            owner.ready.pop(pod, None)
            owner.ended.append(pod)
            self.queue.add(owner)
        elif pod in owner.terminating:  # it was being deleted anyway
            self.pod_gone(owner, pod)

    def pod_lost(self, owner: StatefulSet, pod: int) -> None:
        if pod in owner.pods:
            del owner.pods[pod]
            owner.ready.pop(pod, None)
            owner.terminating.add(pod)
            self.queue.add(owner)

    def pod_gone(self, owner: StatefulSet, pod: int) -> None:
        self.pod_lost(owner, pod)
        owner.terminating.discard(pod)
        ordinal = owner.ordinal_of.pop(pod, None)
        if ordinal is not None:
            owner.by_ordinal.pop(ordinal, None)
            self.queue.add(owner)

    def resync(self) -> None:
        for owner in self.sets.values():
            self.queue.add(owner)

    def objects(self) -> Iterable[StatefulSet]:
        return self.sets.values()

    def as_wanted(self, owner: StatefulSet) -> bool:
        return (
            not (owner.ended or owner.terminating)
            and owner.template == owner.current
            and len(owner.ready) == len(owner.by_ordinal) == owner.replicas
        )

    # --- what it does about it

    def _sync(self, owner: StatefulSet) -> Generator[Event, Any, bool]:
        yield self._machine.work(self._spec.sync_cpu_s)
        if owner.deleted:
            return True
        if owner.revisions == 0 or (owner.template != owner.current and owner.revisions == 1):
            if (yield from self._client.turn()):
                return False
            if (yield from self._client.send(CREATE_REVISION, owner.namespace)) != 201:
                return False
            owner.revisions += 1
        for pod in list(owner.ended):
            if not (yield from self._pod_control.delete(self._client, pod)):
                return False
            owner.ended.remove(pod)
            self.pod_gone(owner, pod)
        states = self._states(owner)
        options = owner.options
        create, delete = next_steps(states, owner.replicas, options.parallel, options.on_delete, options.partition)
        done = True
        for ordinal in create:
            done = (yield from self._create(owner, ordinal)) and done
        for ordinal in delete:
            pod = owner.by_ordinal[ordinal]
            done = (yield from self._pod_control.delete(self._client, pod)) and done
        if (
            owner.template != owner.current
            and len(states) == owner.replicas
            and all(state.healthy and state.updated for state in states)
        ):
            owner.current, owner.revisions = owner.template, 1
        return (yield from self._write_status(owner)) and done

    def _states(self, owner: StatefulSet) -> list[OrdinalState]:
        count = max([owner.replicas, *(ordinal + 1 for ordinal in owner.by_ordinal)])
        states = []
        for ordinal in range(count):
            pod = owner.by_ordinal.get(ordinal)
            if pod is None:
                states.append(OrdinalState(False))
            else:
                updated = self._template_of[pod] == owner.template
                states.append(OrdinalState(True, pod in owner.ready, pod in owner.terminating, updated))
        return states

    def _create(self, owner: StatefulSet, ordinal: int) -> Generator[Event, Any, bool]:
        """Post the pod of an ordinal: of the new revision, unless the update has not come down to it."""
        self._machine.load(self._spec.create_cpu_s)
        pod = self._pod_control.next_row(owner)
        held = [self._template_of[other] == owner.current for other in owner.by_ordinal.values()]
        kept = ordinal < owner.options.partition or (owner.template != owner.current and ordinal < sum(held))
        self._template_of[pod] = owner.current if kept else owner.template
        owner.by_ordinal[ordinal], owner.ordinal_of[pod] = pod, ordinal
        stored = yield from self._pod_control.create_for(self._client, owner, pod)
        if not stored:
            del owner.by_ordinal[ordinal], owner.ordinal_of[pod]
            owner.rows.append(pod)
        return stored

    def _write_status(self, owner: StatefulSet) -> Generator[Event, Any, bool]:
        updated = sum(self._template_of[pod] == owner.template for pod in owner.pods)
        status = (len(owner.pods), len(owner.ready), updated, owner.template)
        if status == owner.status:
            return True
        if (yield from self._client.turn()):
            return False
        if (yield from self._client.send(UPDATE_STATEFUL_SET_STATUS, owner.namespace)) != 200:
            return False
        owner.status = status
        return True
