"""Informers' resync: now and then each hands all that it holds to its controllers, which look at every object anew.

No request is sent: what it costs is a place in the work queues and the CPU of a sync. Objects that a sync finds as they should be
are done together (`WorkQueue.add_idle`), the others one by one. Rules: Kubernetes 1.20 source, client-go shared informers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from sim.controllers.spec import ControllerManagerSpec
from sim.controllers.work_queue import WorkQueue
from sim.engine.clock import Clock
from sim.engine.machine import Machine


class Resynced(Protocol):
    """What a controller has whose informer's resync reaches its queue."""

    queue: WorkQueue[Any]

    def objects(self) -> Iterable[Any]:
        """All that exist, as its queue names them."""

    def as_wanted(self, key: Any) -> bool:
        """Whether a sync of it would find nothing to do."""


class Resyncs:
    """Looks of all controllers, and those of StatefulSets where they have a period of their own.

    draw: evenly in [0, 1). The period counts from the start of the process that leads.
    """

    def __init__(
        self,
        clock: Clock,
        spec: ControllerManagerSpec,
        machine: Machine,
        draw: Callable[[], float],
        controllers: Callable[[], Sequence[Resynced]],
        stateful_sets: Resynced | None,
    ) -> None:
        self._clock = clock
        self._machine = machine
        self._sync_cpu_s = spec.sync_cpu_s
        self._period_s = spec.resync_s
        self._stateful_set_period_s = spec.stateful_set_resync_s
        self._draw = draw
        self._controllers = controllers
        self._stateful_sets = stateful_sets
        self._process = 0

    def begin(self) -> None:
        """A process has come to lead; the timers of the one before are gone."""
        self._process += 1
        self._every(self._period_s * (1.0 + self._draw()), self._controllers)
        only = self._stateful_sets
        if only is not None and self._stateful_set_period_s:
            self._every(self._stateful_set_period_s, lambda: (only,))

    def _every(self, period_s: float, controllers: Callable[[], Sequence[Resynced]]) -> None:
        process = self._process

        def look(_: object) -> None:
            if process == self._process:
                for controller in controllers():
                    self.look(controller)
                self._clock.at(period_s, look)

        self._clock.at(period_s, look)

    def look(self, controller: Resynced) -> None:
        """One informer's resync."""
        idle = 0
        for key in list(controller.objects()):
            if controller.as_wanted(key):
                idle += 1
            else:
                controller.queue.add(key)
        if idle:
            controller.queue.add_idle(idle, self._work)

    def _work(self, syncs: int) -> Any:
        return self._machine.work(syncs * self._sync_cpu_s)
