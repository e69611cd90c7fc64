"""What tenants' users do: ask for applications at their times, change them, delete them at others."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from math import isnan
from typing import Any

import numpy as np
from simpy.events import Event

from sim.apiserver.client import Client
from sim.apiserver.request import Operation
from sim.controllers.manager import ControllerManager
from sim.controllers.operations import CHANGE, CREATE, DELETE, MARK_DELETED
from sim.controllers.pod_control import PodControl
from sim.engine.clock import Alarm, Clock
from sim.state.pods import Phase, PodTable
from sim.tenancy.script import Script
from sim.workload import AppKind, Load

AGAIN_S = 1.0
"""A user whose change or deletion failed tries again after this; our choice, as the default Retry-After."""
ON_DEMAND = (AppKind.CRON_JOB, AppKind.DAEMON_SET)
"""Kinds whose pods are asked for by time and nodes, not by the user."""


class Users:
    """Plays a load: every application is asked for at its time, whatever became of those before (open loop)."""

    def __init__(
        self,
        clock: Clock,
        load: Load,
        pods: PodTable,
        clients: list[Client],
        pod_control: PodControl,
        controllers: ControllerManager,
    ) -> None:
        self._clock = clock
        self._load = load
        self._pods = pods
        self._clients = clients
        self._pod_control = pod_control
        self._controllers = controllers
        self._asked: dict[int, Event | None] = {}
        """Applications that users will change, and whose creation may not be answered yet; None: they run from the start."""
        self._to_change = {change.app for change in load.changes}
        self._unwanted: set[int] = set()
        """Bare pods to delete as soon as they are stored."""
        self._ended: set[int] = set()
        """Applications deleted by their users."""

    def play(self) -> Generator[Event, Any, None]:
        """Process: the whole load."""
        load, clock = self._load, self._clock
        if load.script:
            script = Script(clock, load, self._pods, self._pod_control, lambda app: self._clients[load.app_tenant[app]])
            yield from script.play()
            return
        for number, change in enumerate(load.changes):
            clock.at(max(0.0, change.at_s - clock._now), partial(self._change_later, number))
        rows = zip(load.app_time_s.tolist(), load.app_first_pod.tolist(), load.app_pods.tolist(), strict=True)
        running = set(np.flatnonzero(load.app_running).tolist())
        for app, (at_s, first, count) in enumerate(rows):
            if at_s > clock._now:
                yield clock.timeout(at_s - clock._now)
            pods = range(first, first + count)
            asking = None
            if app not in running:
                if load.app_kind[app] not in ON_DEMAND:
                    for pod in pods:
                        self._pods.times["requested_s"][pod] = clock._now  # at_s, or a rounding beside it
                asking = clock.start(self._ask(app, pods))
            if app in self._to_change:
                self._asked[app] = asking
            end_s = float(load.app_end_s[app])
            if end_s != float("inf"):
                clock.at(max(0.0, end_s - clock._now), partial(self._end, app, pods, asking))

    def _ask(self, app: int, pods: range) -> Generator[Event, Any, None]:
        load = self._load
        client = self._clients[load.app_tenant[app]]
        namespace = load.templates[load.app_template[app]].namespace
        kind = AppKind(load.app_kind[app])
        if kind is AppKind.POD:
            for pod in pods:
                self._clock.start(self._post(client, pod))
            return
        if (yield from client.send(CREATE[kind], namespace)) == 201:
            self._controllers.app_created(app)
            return
        for pod in pods:
            self._pods.ids["phase"][pod] = Phase.REFUSED
            if isnan(self._pods.times["requested_s"][pod]):
                self._pods.times["requested_s"][pod] = self._clock._now

    def _change_later(self, number: int, _: Alarm) -> None:
        self._clock.start(self._change(number))

    def _change(self, number: int) -> Generator[Event, Any, None]:
        """Change an application, as soon as the answer to its creation is there; without an application nothing is sent."""
        load = self._load
        app = load.changes[number].app
        asking = self._asked.get(app)
        if asking is not None and asking.callbacks is not None:
            yield asking
        if app not in self._asked or app in self._ended or app in self._controllers.left:
            return
        namespace = load.templates[load.app_template[app]].namespace
        client = self._clients[load.app_tenant[app]]
        if (yield from self._insist(client, CHANGE[AppKind(load.app_kind[app])], namespace)) == 200:
            self._controllers.app_changed(number)

    def _insist(self, client: Client, operation: Operation, namespace: str) -> Generator[Event, Any, int]:
        """Send until the server has decided; ends with its answer."""
        code: int = yield from client.send(operation, namespace)
        while code == 429 or code >= 500:
            yield self._clock.timeout(AGAIN_S)
            code = yield from client.send(operation, namespace)
        return code

    def _post(self, client: Client, pod: int) -> Generator[Event, Any, None]:
        stored = yield from self._pod_control.create(client, pod)
        if not stored:
            self._pods.ids["phase"][pod] = Phase.REFUSED
        elif pod in self._unwanted:
            yield from self._pod_control.delete(client, pod)

    def _end(self, app: int, pods: range, asking: Event | None, _: Alarm) -> None:
        self._clock.start(self._delete(app, pods, asking))

    def _delete(self, app: int, pods: range, asking: Event | None) -> Generator[Event, Any, None]:
        """Delete the application, as soon as the answer to its creation is there."""
        if asking is not None and asking.callbacks is not None:
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
        if app in self._controllers.left:
            return  # it went with its namespace
        namespace = load.templates[load.app_template[app]].namespace
        foreground = getattr(load.app_options.get(app), "foreground", False)
        operation = (MARK_DELETED if foreground else DELETE)[AppKind(load.app_kind[app])]
        if (yield from self._insist(client, operation, namespace)) == 200:
            self._ended.add(app)
            (self._controllers.app_marked_deleted if foreground else self._controllers.app_deleted)(app)
