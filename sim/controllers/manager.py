"""The controller manager: all controllers in one process, their informers, and who of its replicas leads.

While no replica leads, nothing is synced. What the informers know is kept up to date all the same: the next leader lists
everything before it begins, so it comes to know the same, and its queues begin with every object there is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from math import isnan
from typing import Any, Protocol

import numpy as np
from simpy.events import Event

from sim.apiserver.aggregate import Aggregate
from sim.apiserver.client import Client
from sim.apiserver.pipeline import ApiServer
from sim.apiserver.replicas import Link, NodeLinks
from sim.apiserver.request import Operation, list_operation
from sim.apiserver.watch import Handler, WatchHub
from sim.controllers.applications import Applications
from sim.controllers.cron_job import CronJobController
from sim.controllers.daemon_set import DaemonSetController
from sim.controllers.deployment import DeploymentController
from sim.controllers.endpoint_slices import EndpointSliceController
from sim.controllers.garbage_collector import GarbageCollector
from sim.controllers.informers import CutInformers
from sim.controllers.job import JobController
from sim.controllers.namespace import NamespaceController
from sim.controllers.node_lifecycle import NodeLifecycle
from sim.controllers.operations import (
    REMOVE_FINALIZER,
    RESOURCES,
    UPDATE_DEPLOYMENT_STATUS,
    UPDATE_JOB_STATUS,
    UPDATE_REPLICASET_STATUS,
)
from sim.controllers.owner import PodOwner
from sim.controllers.pod_control import PodControl
from sim.controllers.pod_gc import PodGarbageCollector
from sim.controllers.replicaset import ReplicaSet, ReplicaSetController
from sim.controllers.resource_quota import ResourceQuotaController
from sim.controllers.resync import Resynced, Resyncs
from sim.controllers.spec import ControllerManagerSpec
from sim.controllers.stateful_set import StatefulSetController
from sim.controllers.work_queue import WorkQueue
from sim.controllers.writes import EventRecorder, LooseRequests, StatusWrites
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.engine.meter import Meter
from sim.nodes import ClusterNode
from sim.state.objects import NodeSpec
from sim.state.pods import Phase, PodTable
from sim.workload import AppKind, Load

NAME = "kube-controller-manager"
LISTED = ("pods", "nodes", *(RESOURCES[kind] for kind in AppKind if kind is not AppKind.POD), "replicasets")
"""What a new leader lists before its controllers begin."""
TICK_S = 1.0
"""Writes that nobody waits for are served together so often; they spread over that time as their work needs it."""
LISTS = [list_operation(resource, version="any") for resource in LISTED]
"""A reflector's first LIST takes whatever the API server's cache has (Kubernetes 1.20 source, client-go reflector)."""


class Controller(Protocol):
    """What every controller has."""

    queue: WorkQueue[Any]

    def resync(self) -> None:
        """A new process has listed everything: look at every object, and expect nothing."""


class AppController(Controller, Resynced, Protocol):
    """What a controller of applications hears from its informer besides."""

    def app_created(self, app: int) -> None:
        """The application's object is stored."""

    def app_changed(self, number: int) -> None:
        """A user's change is stored: a row of the load's changes."""

    def app_deleted(self, app: int) -> None:
        """The application's object is removed."""


class ControllerManager:
    """Every controller, wired to the API server.

    client: a client of the API server by the controller's name, each with its own rate limit. lister: the informers' own.
    leads: false where replicas are yet to find out who does. informers: holds back what the leader would hear while it is cut
    off; None: it never is. draw: evenly in [0, 1), for the informers' resync.
    """

    def __init__(
        self,
        clock: Clock,
        spec: ControllerManagerSpec,
        machine: Machine,
        api: ApiServer | Link | NodeLinks,
        client: Callable[[str], Client],
        lister: Client,
        pods: PodTable,
        load: Load,
        pod_control: PodControl,
        watch: WatchHub,
        nodes: Sequence[ClusterNode],
        present: int,
        daemon_specs: dict[int, int],
        leads: bool = True,
        informers: CutInformers | None = None,
        draw: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._informers = informers
        self._load = load
        self._pods = pods
        self._pod_control = pod_control
        self._watch = watch
        self._recorders: list[EventRecorder] = []
        self.life = 0
        """Grows when the process that leads dies."""
        applications = Applications(load)

        def aggregate(own: Client) -> Aggregate:
            return Aggregate(clock, api, own.user, TICK_S)

        def statuses(own: Client, requests: Aggregate, operation: Operation, each: int = 1) -> StatusWrites:
            takes_s, aggregated = spec.status_write_s, spec.aggregate_status_writes
            return StatusWrites(clock, operation, own.limit, requests, takes_s, each, aggregated)

        def events(own: Client, requests: Aggregate) -> EventRecorder:
            self._recorders.append(EventRecorder(clock, own.limit, requests))
            return self._recorders[-1]

        def namespace_of(pod: int) -> str:
            return load.templates[pods.ids["template"][pod]].namespace

        own = client("generic-garbage-collector")
        self.garbage = GarbageCollector(
            clock,
            spec,
            own,
            pod_control,
            namespace_of,
            lambda resource, number: watch.publish(resource, "deleted", number),
        )
        own = client("replicaset-controller")
        written = aggregate(own)
        self.replicasets = ReplicaSetController(
            clock,
            spec,
            machine,
            own,
            pods,
            pod_control,
            self.garbage,
            statuses(own, written, UPDATE_REPLICASET_STATUS),
            events(own, written),
        )
        own = client("deployment-controller")
        written = aggregate(own)
        self.deployments = DeploymentController(
            clock,
            spec,
            machine,
            own,
            applications,
            self.replicasets,
            self.garbage,
            statuses(own, written, UPDATE_DEPLOYMENT_STATUS),
            events(own, written),
            lambda kind, number: watch.publish("replicasets", kind, number),
        )
        own = client("job-controller")
        written = aggregate(own)
        self.jobs = JobController(
            clock,
            spec,
            machine,
            own,
            applications,
            pod_control,
            self.garbage,
            statuses(own, written, UPDATE_JOB_STATUS, 1 + spec.job_finalizers),
            LooseRequests(REMOVE_FINALIZER, own.limit, written),
            events(own, written),
            lambda kind, number: watch.publish("jobs", kind, number),
        )
        own = client("resourcequota-controller")
        self.quotas = ResourceQuotaController(clock, spec, machine, own, pod_control.quotas)
        pod_control.on_removed = self._ended_pod_removed
        own = client("pod-garbage-collector")
        self.pod_gc = PodGarbageCollector(clock, spec, own, namespace_of, self._ended_pod_removed, pods, pod_control)
        self.by_kind: dict[AppKind, AppController] = {AppKind.SERVICE: self.deployments, AppKind.JOB: self.jobs}
        """The controllers that this load has work for."""
        kinds = {AppKind(kind) for kind in set(load.app_kind.tolist())}
        if AppKind.STATEFUL_SET in kinds:
            own = client("statefulset-controller")
            self.by_kind[AppKind.STATEFUL_SET] = StatefulSetController(
                clock, spec, machine, own, applications, pods, pod_control, self.garbage
            )
        if AppKind.DAEMON_SET in kinds:
            own = client("daemon-set-controller")
            self.by_kind[AppKind.DAEMON_SET] = DaemonSetController(
                clock, spec, machine, own, applications, pods, pod_control, self.garbage, nodes, present, daemon_specs
            )
        if AppKind.CRON_JOB in kinds:
            own = client("cronjob-controller")
            self.by_kind[AppKind.CRON_JOB] = CronJobController(
                clock, spec, machine, own, applications, self.jobs, self.garbage
            )
        for kind, controller in self.by_kind.items():
            on = {
                "created": controller.app_created,
                "changed": controller.app_changed,
                "deleting": controller.app_deleted,
                "deleted": controller.app_deleted,
            }
            if kind is AppKind.JOB:
                on["started"] = self.jobs.started
            watch.watch(RESOURCES[kind], NAME, self.informed(on), client=lister)
        on = {
            "created": self.replicasets.set_changed,
            "changed": self.replicasets.set_changed,
            "status": self.deployments.set_status,
            "deleting": self.replicasets.set_marked,
            "deleted": self.replicasets.set_deleted,
        }
        watch.watch("replicasets", NAME, self.informed(on), client=lister)
        self.endpoints: EndpointSliceController | None = None
        """None where no Deployment has a Service."""
        self.on_endpoints: Callable[[int, frozenset[int]], None] = lambda app, pods: None
        """Told of the endpoints of an application's Service when the nodes' kube-proxies hear that a slice has changed."""
        if spec.endpoints.services:
            self.endpoints = EndpointSliceController(
                clock,
                spec.endpoints,
                client("endpointslice-controller"),
                client("endpoint-controller"),
                applications.namespace,
                watch.publish,
            )
            watch.watch("endpointslices", "kube-proxy", {"changed": self._proxies_hear}, count=max(1, present))
            watch.watch("endpointslices", NAME, {}, client=lister)
            watch.watch("endpoints", NAME, {}, client=lister)
        self._lister = lister
        self.left: set[int] = set()
        """Applications whose objects were deleted with their namespace."""
        self.namespaces: NamespaceController | None = None
        """None where no namespace is ever deleted."""
        if not leads:
            for queue in self.queues:
                queue.open = False
        self.node_lifecycle: NodeLifecycle | None = None
        """None where no node ever falls silent."""
        stateful_sets = self.by_kind.get(AppKind.STATEFUL_SET)
        self.resyncs = Resyncs(
            clock,
            spec,
            machine,
            draw,
            self._resynced,
            stateful_sets if isinstance(stateful_sets, StatefulSetController) else None,
        )
        if leads:
            self.resyncs.begin()

    @property
    def queues(self) -> list[WorkQueue[Any]]:
        """The controllers' work queues."""
        return [each.queue for each in self._controllers()]

    def _controllers(self) -> list[Controller]:
        """Those that this run has work for."""
        quotas = [self.quotas] if self.quotas.counts else []
        endpoints = [self.endpoints] if self.endpoints is not None else []
        namespaces = [self.namespaces] if self.namespaces is not None else []
        some: list[Controller] = [
            self.replicasets,
            self.garbage,
            *quotas,
            *endpoints,
            *namespaces,
            *self.by_kind.values(),
        ]
        return some

    def _resynced(self) -> list[Resynced]:
        """Those whose objects an informer hands over; quotas have a period of their own, garbage is no object."""
        endpoints: list[Resynced] = [self.endpoints] if self.endpoints is not None else []
        return [self.replicasets, *self.by_kind.values(), *endpoints]

    def meters(self) -> list[Meter]:
        """How busy the workers of each controller are."""
        return [queue.meter for queue in self.queues]

    def _proxies_hear(self, app: int) -> None:
        assert self.endpoints is not None
        self.on_endpoints(app, frozenset().union(*self.endpoints.services[app].slices))

    def counters(self) -> dict[str, int]:
        """What was done, for the result; only what this run had occasion for."""
        counted = {
            "rollouts": len(self.deployments.rollouts),
            "rollouts_ended": sum(not isnan(rollout.ended_s) for rollout in self.deployments.rollouts),
            "rollouts_stalled": sum(rollout.stalled for rollout in self.deployments.rollouts),
            "ended_pods_collected": self.pod_gc.deleted,
            "orphaned_pods_collected": self.pod_gc.orphans,
            "namespaces_removed": self.namespaces.removed if self.namespaces is not None else 0,
            "pods_evicted": self.node_lifecycle.evicted if self.node_lifecycle is not None else 0,
            "endpoint_slice_writes": self.endpoints.writes if self.endpoints is not None else 0,
        }
        return {name: count for name, count in counted.items() if count}

    def watch_nodes(self, node_lifecycle: NodeLifecycle, spec_of: Callable[[int], NodeSpec]) -> None:
        """Nodes of this run come and go. spec_of: a node's object as it stands."""
        self.node_lifecycle = node_lifecycle
        daemons = self.by_kind.get(AppKind.DAEMON_SET)
        on: dict[str, Handler | None] = {
            "added": self.pod_gc.node_added,
            "updated": None,
            "removed": self.pod_gc.node_removed,
        }
        if isinstance(daemons, DaemonSetController):
            controller = daemons

            def present(node: int) -> None:
                self.pod_gc.node_added(node)
                controller.node_changed(node, spec_of(node))

            def removed(node: int) -> None:
                self.pod_gc.node_removed(node)
                controller.node_changed(node, None)

            on = {"added": present, "updated": present, "removed": removed}
        self._watch.watch("nodes", NAME, self.informed(on))

    def informed(self, on: Mapping[str, Handler | None]) -> Mapping[str, Handler | None]:
        """An informer's handlers, which hear nothing while the leader is cut off."""
        return self._informers.hold(on) if self._informers is not None else on

    def watch_namespaces(self, names: Sequence[str], client: Client, objects: Callable[[str, str], int]) -> None:
        """Some of these namespaces are deleted in this run. objects: how many of a type are in one."""
        load, pods, spec = self._load, self._pods, self._spec
        of_template = np.array([template.namespace for template in load.templates])

        def in_namespace(name: str) -> np.ndarray:
            return np.flatnonzero(of_template[np.array(pods.ids["template"], np.int64)] == name)

        def grace_s(pod: int) -> float:
            return float(load.templates[pods.ids["template"][pod]].termination_grace_s)

        self._namespace_names = list(names)
        self.namespaces = controller = NamespaceController(
            self._clock,
            spec.namespaces,
            spec.retry_base_s,
            spec.retry_max_s,
            client,
            pods,
            self._pod_control,
            objects,
            in_namespace,
            grace_s,
            self._owners_deleted,
            lambda name: self._watch.publish("namespaces", "deleted", self._namespace_names.index(name)),
        )
        controller.queue.open = self.garbage.queue.open
        on: dict[str, Handler | None] = {
            "deleting": lambda row: controller.namespace_deleted(self._namespace_names[row]),
            "deleted": None,
        }
        self._watch.watch("namespaces", NAME, self.informed(on), client=self._lister)

    def namespace_marked(self, name: str) -> None:
        """A namespace's deletion was stored."""
        self._watch.publish("namespaces", "deleting", self._namespace_names.index(name))

    def _owners_deleted(self, resource: str, namespace: str) -> None:
        """All objects of a type in a namespace were deleted."""
        if resource == "replicasets":
            for each in list(self.replicasets.sets.values()):
                if each.namespace == namespace:
                    self._watch.publish("replicasets", "deleted", each.number)
            return
        kind = next((kind for kind, name in RESOURCES.items() if name == resource), None)
        if kind is None:
            return
        load = self._load
        for app in np.flatnonzero((load.app_kind == kind) & (load.app_time_s <= self._clock._now)).tolist():
            if load.templates[load.app_template[app]].namespace == namespace:
                self.left.add(app)
                self._watch.publish(resource, "deleted", app)

    # --- who leads

    def suspend(self) -> None:
        """The process that led is gone: its queues, and whatever it was about to send, are lost."""
        self.life += 1
        for queue in self.queues:
            queue.lose()
        for recorder in self._recorders:
            recorder.lose()
        if self.node_lifecycle is not None:
            self.node_lifecycle.suspend()
        if self._informers is not None:
            self._informers.release()

    def resume(self) -> None:
        """Another process has come to lead: it lists what there is, then looks at every object."""
        self._clock.start(self._list_and_begin(self.life))

    def _list_and_begin(self, life: int) -> Generator[Event, Any, None]:
        for operation in LISTS:
            if (yield from self._lister.turn()):
                return
            yield from self._lister.send(operation, "")
        if life != self.life:
            return
        for queue in self.queues:
            queue.open = True
        for controller in self._controllers():
            controller.resync()
        self.resyncs.begin()
        if self.node_lifecycle is not None:
            self.node_lifecycle.resume()

    def begin_with(self, app: int, pods: list[int]) -> None:
        """Before the run: all pods of a Deployment run and are known to everybody."""
        owner = self.deployments.begin_with(app, pods)
        self._pod_control.owner_of.update(dict.fromkeys(pods, owner))
        if self.endpoints is not None:
            self.endpoints.begin_with(app, pods)

    # --- what is stored; it reaches the controllers through their watches

    def app_created(self, app: int) -> None:
        """The application's object was stored."""
        self._watch.publish(RESOURCES[AppKind(self._load.app_kind[app])], "created", app)

    def app_changed(self, number: int) -> None:
        """A user's change was stored. number: row of the load's changes."""
        app = self._load.changes[number].app
        self._watch.publish(RESOURCES[AppKind(self._load.app_kind[app])], "changed", number)

    def app_deleted(self, app: int) -> None:
        """The application's object was removed."""
        self._watch.publish(RESOURCES[AppKind(self._load.app_kind[app])], "deleted", app)

    def app_marked_deleted(self, app: int) -> None:
        """The application's object is to go when everything it owns has."""
        self._watch.publish(RESOURCES[AppKind(self._load.app_kind[app])], "deleting", app)

    # --- what the informer of pods says

    def pod_added(self, pod: int) -> None:
        owner = self._pod_control.owner_of.get(pod)
        if owner is not None:
            owner.controller.pod_added(owner, pod)
            if owner.deleted:  # it went while the creation was under way
                self.garbage.owner_deleted([pod], None)

    def pod_ready(self, pod: int) -> None:
        owner = self._pod_control.owner_of.get(pod)
        if owner is not None:
            owner.controller.pod_ready(owner, pod)
            if self.endpoints is not None and isinstance(owner, ReplicaSet):
                self.endpoints.pod_ready(owner.app, pod)

    def pod_unready(self, pod: int) -> None:
        owner = self._pod_control.owner_of.get(pod)
        if owner is not None:
            owner.controller.pod_unready(owner, pod)
            self._left(owner, pod)

    def pod_finished(self, pod: int) -> None:
        """The pod has a final status."""
        owner = self._pod_control.owner_of.pop(pod, None)
        if owner is not None:
            owner.controller.pod_finished(owner, pod, self._pods.ids["phase"][pod] != Phase.SUCCEEDED)
            self._left(owner, pod)
        self.pod_gc.pod_finished(pod)
        if self.garbage.holds and not isnan(self._pods.times["delete_requested_s"][pod]):
            self.garbage.dependent_gone("pods", pod)  # its kubelet removes it with that status

    def pod_lost(self, pod: int) -> None:
        """The pod is being deleted."""
        owner = self._pod_control.owner_of.get(pod)
        if owner is not None:
            owner.controller.pod_lost(owner, pod)
            self._left(owner, pod)

    def pod_gone(self, pod: int) -> None:
        """The pod's object is removed."""
        owner = self._pod_control.owner_of.pop(pod, None)
        if owner is not None:
            owner.controller.pod_gone(owner, pod)
            self._left(owner, pod)
        if self.garbage.holds:
            self.garbage.dependent_gone("pods", pod)

    def _left(self, owner: PodOwner, pod: int) -> None:
        """The pod stands behind its Service no more."""
        if self.endpoints is not None:
            self.endpoints.pod_left(owner.app, pod)

    def _ended_pod_removed(self, pod: int) -> None:
        self._watch.publish("pods", "removed", pod)
        if self.garbage.holds:
            self.garbage.dependent_gone("pods", pod)
