"""What tenants' users do: ask for applications at their times, delete them at others."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.apiserver.request import CREATE_JOB, CREATE_OWNER, DELETE_OWNER
from sim.controllers.deployment import DeploymentController
from sim.controllers.garbage_collector import GarbageCollector
from sim.controllers.job import JobController
from sim.controllers.pod_control import PodControl
from sim.controllers.replicaset import ReplicaSetController
from sim.engine.clock import Alarm, Clock
from sim.state.pods import Phase, PodTable
from sim.tenancy.script import Script
from sim.workload import AppKind, Load


class Users:
    """Plays a load: every application is asked for at its time, whatever became of those before (open loop)."""

    def __init__(
        self,
        clock: Clock,
        load: Load,
        pods: PodTable,
        clients: list[Client],
        pod_control: PodControl,
        deployments: DeploymentController,
        replicasets: ReplicaSetController,
        jobs: JobController,
        garbage: GarbageCollector,
    ) -> None:
        self._clock = clock
        self._load = load
        self._pods = pods
        self._clients = clients
        self._pod_control = pod_control
        self._deployments = deployments
        self._replicasets = replicasets
        self._jobs = jobs
        self._garbage = garbage
        self._unwanted: set[int] = set()
        """Bare pods to delete as soon as they are stored."""

    def play(self) -> Generator[Event, Any, None]:
        """Process: the whole load."""
        load, clock = self._load, self._clock
        if load.script:
            script = Script(clock, load, self._pods, self._pod_control, lambda app: self._clients[load.app_tenant[app]])
            yield from script.play()
            return
        rows = zip(load.app_time_s.tolist(), load.app_first_pod.tolist(), load.app_pods.tolist(), strict=True)
        for app, (at_s, first, count) in enumerate(rows):
            if at_s > clock._now:
                yield clock.timeout(at_s - clock._now)
            pods = range(first, first + count)
            for pod in pods:
                self._pods.times["requested_s"][pod] = clock._now  # at_s, or a rounding beside it
            asking = clock.start(self._ask(app, pods))
            end_s = float(load.app_end_s[app])
            if end_s != float("inf"):
                clock.at(max(0.0, end_s - clock._now), partial(self._end, app, pods, asking))

    def _ask(self, app: int, pods: range) -> Generator[Event, Any, None]:
        load = self._load
        client = self._clients[load.app_tenant[app]]
        namespace = load.templates[load.app_template[app]].namespace
        kind = load.app_kind[app]
        if kind == AppKind.POD:
            for pod in pods:
                self._clock.start(self._post(client, pod))
            return
        code = yield from client.send(CREATE_JOB if kind == AppKind.JOB else CREATE_OWNER, namespace)
        if code != 201:
            for pod in pods:
                self._pods.ids["phase"][pod] = Phase.REFUSED
        elif kind == AppKind.JOB:
            self._jobs.on_created(app, pods, int(load.app_parallelism[app]))
        else:
            self._deployments.on_created(app, namespace, pods)

    def _post(self, client: Client, pod: int) -> Generator[Event, Any, None]:
        stored = yield from self._pod_control.create(client, pod)
        if not stored:
            self._pods.ids["phase"][pod] = Phase.REFUSED
        elif pod in self._unwanted:
            yield from self._pod_control.delete(client, pod)

    def _end(self, app: int, pods: range, asking: Event, _: Alarm) -> None:
        self._clock.start(self._delete(app, pods, asking))

    def _delete(self, app: int, pods: range, asking: Event) -> Generator[Event, Any, None]:
        """Delete the application, as soon as the answer to its creation is there."""
        if asking.callbacks is not None:
            yield asking
        load = self._load
        client = self._clients[load.app_tenant[app]]
        if load.app_kind[app] == AppKind.POD:
            for pod in pods:
                if self._pods.ids["phase"][pod] == Phase.WAITING:
                    self._unwanted.add(pod)
                else:
                    self._clock.start(self._pod_control.delete(client, pod))
            return
        if pods and self._pods.ids["phase"][pods[0]] == Phase.REFUSED:
            return  # its owner was never stored
        yield from client.send(DELETE_OWNER, load.templates[load.app_template[app]].namespace)
        self._replicasets.on_deleted(app)
        self._jobs.on_deleted(app)
        self._garbage.on_owner_deleted(app, pods)
