"""The Deployment controller: makes the ReplicaSet of a new Deployment."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.apiserver.request import CREATE_REPLICASET
from sim.controllers.spec import ControllerManagerSpec
from sim.engine.clock import Clock
from sim.engine.machine import Machine


class DeploymentController:
    """One sync a new Deployment; `on_replicaset(app, pods)` is called when its ReplicaSet is stored."""

    def __init__(
        self,
        clock: Clock,
        spec: ControllerManagerSpec,
        machine: Machine,
        client: Client,
        on_replicaset: Callable[[int, range], None],
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._machine = machine
        self._client = client
        self._on_replicaset = on_replicaset

    def on_created(self, app: int, namespace: str, pods: range) -> None:
        """A new Deployment reached the controller."""
        self._clock.start(self._sync(app, namespace, pods))

    def _sync(self, app: int, namespace: str, pods: range) -> Generator[Event, Any, None]:
        yield self._machine.work(self._spec.sync_cpu_s)
        failures = 0
        while True:
            yield from self._client.turn()
            if (yield from self._client.send(CREATE_REPLICASET, namespace)) == 201:
                break
            yield self._clock.timeout(min(self._spec.retry_base_s * 2**failures, self._spec.retry_max_s))
            failures += 1
        self._on_replicaset(app, pods)
