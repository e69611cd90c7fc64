"""The StatefulSet controller: pods with an order and an identity; a pod comes again under its name when it has gone.

Rules: `stateful_set_rules`; the process: Kubernetes 1.20 source, pkg/controller/statefulset.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.controllers.applications import Applications
from sim.controllers.garbage_collector import GarbageCollector
from sim.controllers.operations import CREATE_REVISION, UPDATE_STATEFUL_SET_STATUS
from sim.controllers.pod_control import PodControl
from sim.controllers.pod_set import PodSet, PodSetController
from sim.controllers.spec import ControllerManagerSpec
from sim.controllers.stateful_set_rules import OrdinalState, next_steps
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.state.applications import Scale, StatefulSetOptions
from sim.state.pods import PodTable


class StatefulSet(PodSet):
    """One set as the controller knows it."""

    __slots__ = ("current", "options", "replicas", "revisions")

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


class StatefulSetController(PodSetController[StatefulSet]):
    """`stateful_set_workers` syncs at a time. A pod's place is its ordinal."""

    resource = "statefulsets"

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
        super().__init__(
            clock,
            spec,
            machine,
            client,
            applications,
            pods,
            pod_control,
            garbage,
            "StatefulSet",
            spec.stateful_set_workers,
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

    def as_wanted(self, owner: StatefulSet) -> bool:
        return (
            not (owner.ended or owner.terminating)
            and owner.template == owner.current
            and len(owner.ready) == len(owner.pod_at) == owner.replicas
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
            pod = owner.pod_at[ordinal]
            done = (yield from self._pod_control.delete(self._client, pod)) and done
        if (
            owner.template != owner.current
            and len(states) == owner.replicas
            and all(state.healthy and state.updated for state in states)
        ):
            owner.current, owner.revisions = owner.template, 1
        return (yield from self._write_status(owner)) and done

    def _states(self, owner: StatefulSet) -> list[OrdinalState]:
        count = max([owner.replicas, *(ordinal + 1 for ordinal in owner.pod_at)])
        states = []
        for ordinal in range(count):
            pod = owner.pod_at.get(ordinal)
            if pod is None:
                states.append(OrdinalState(False))
            else:
                updated = self._template_of[pod] == owner.template
                states.append(OrdinalState(True, pod in owner.ready, pod in owner.terminating, updated))
        return states

    def _create(self, owner: StatefulSet, ordinal: int) -> Generator[Event, Any, bool]:
        """Post the pod of an ordinal: of the new revision, unless the update has not come down to it."""
        held = [self._template_of[other] == owner.current for other in owner.pod_at.values()]
        kept = ordinal < owner.options.partition or (owner.template != owner.current and ordinal < sum(held))
        return (yield from self._create_at(owner, ordinal, owner.current if kept else owner.template))

    def _write_status(self, owner: StatefulSet) -> Generator[Event, Any, bool]:
        updated = sum(self._template_of[pod] == owner.template for pod in owner.pods)
        status = (len(owner.pods), len(owner.ready), updated, owner.template)
        return (yield from self._store_status(owner, status, UPDATE_STATEFUL_SET_STATUS))
