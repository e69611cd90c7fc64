"""A load that is played in steps: what a test program does, which waits for what it asked before it goes on.

The steps are those of Kubernetes' scheduler benchmark (test/integration/scheduler_perf). A load with a script is a closed
loop: its applications are asked for when their step comes, not at times drawn beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simpy.events import AllOf, Event

from sim.apiserver.client import Client
from sim.controllers.pod_control import PodControl
from sim.engine.clock import Clock
from sim.state.pods import Phase, PodTable

if TYPE_CHECKING:
    from sim.workload import Load

POLL_S = 1.0
"""Between two looks whether what is waited for has come. Source: Kubernetes 1.20 and 1.34 source, scheduler_perf."""


@dataclass(frozen=True, slots=True)
class Post:
    """Post all pods of these applications, so many at a time, and go on when the last is answered."""

    apps: tuple[int, ...]
    workers: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on when so many pods of these applications are bound, or have been tried; pods that are gone do not count."""

    apps: tuple[int, ...]
    pods: int
    attempted: bool = False


@dataclass(frozen=True, slots=True)
class Sleep:
    """Go on after a time."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the pods of these applications that are there, all at once or one after the other at a rate."""

    apps: tuple[int, ...]
    per_s: float = 0.0
    """0: all at once."""
    in_background: bool = False
    """Go on at once."""


@dataclass(frozen=True, slots=True)
class Churn:
    """From now until the script's end: every so often one more pod of each application.

    recreate: instead `number` are created, one a period, then deleted, one a period, and so on.
    """

    apps: tuple[int, ...]
    period_s: float
    number: int = 0
    """At most so many; 0: no end."""
    recreate: bool = False


Step = Post | Wait | Sleep | Delete | Churn


class Script:
    """Plays the steps of a load, one after the other.

    client_of: the client in whose name an application's pods are posted and deleted.
    """

    def __init__(
        self, clock: Clock, load: Load, pods: PodTable, pod_control: PodControl, client_of: Callable[[int], Client]
    ) -> None:
        self._clock = clock
        self._steps = load.script
        self._pods = pods
        self._pod_control = pod_control
        self._client_of = client_of
        self._rows = [
            range(first, first + count)
            for first, count in zip(load.app_first_pod.tolist(), load.app_pods.tolist(), strict=True)
        ]
        self.over = False
        """The last step is done."""

    def play(self) -> Generator[Event, Any, None]:
        """Process: the whole script."""
        for step in self._steps:
            if isinstance(step, Post):
                yield from self._post_all(step)
            elif isinstance(step, Wait):
                while sum(self._counts(pod, step.attempted) for pod in self._pods_of(step.apps)) < step.pods:
                    yield self._clock.timeout(POLL_S)
            elif isinstance(step, Sleep):
                yield self._clock.timeout(step.duration_s)
            elif isinstance(step, Churn):
                self._clock.start(self._churn(step))
            elif step.in_background:
                self._clock.start(self._delete(step))
            else:
                yield from self._delete(step)
        self.over = True

    def _pods_of(self, apps: tuple[int, ...]) -> Iterator[int]:
        return (pod for app in apps for pod in self._rows[app])

    def _counts(self, pod: int, attempted: bool) -> bool:
        phase = self._pods.ids["phase"][pod]
        bound = phase in (Phase.SCHEDULED, Phase.RUNNING)
        return bound or (attempted and phase == Phase.PENDING and self._pods.ids["attempts"][pod] > 0)

    def _post_all(self, step: Post) -> Generator[Event, Any, None]:
        turns = [(self._client_of(app), pod) for app in step.apps for pod in self._rows[app]]
        for _, pod in turns:
            self._pods.times["requested_s"][pod] = self._clock._now
        left = iter(turns)
        workers = [self._clock.start(self._post_in_turn(left)) for _ in range(min(step.workers, len(turns)))]
        if workers:
            yield AllOf(self._clock, workers)

    def _post_in_turn(self, left: Iterator[tuple[Client, int]]) -> Generator[Event, Any, None]:
        for client, pod in left:
            yield from self._post(client, pod)

    def _post(self, client: Client, pod: int) -> Generator[Event, Any, bool]:
        stored = yield from self._pod_control.create(client, pod)
        if not stored:
            self._pods.ids["phase"][pod] = Phase.REFUSED
        return stored

    def _delete(self, step: Delete) -> Generator[Event, Any, None]:
        phase = self._pods.ids["phase"]
        deletions = []
        for app in step.apps:
            client = self._client_of(app)
            for pod in self._rows[app]:
                if phase[pod] not in (Phase.PENDING, Phase.SCHEDULED, Phase.RUNNING):
                    continue
                if step.per_s:
                    yield self._clock.timeout(1.0 / step.per_s)
                deletions.append(self._clock.start(self._pod_control.delete(client, pod)))
        if deletions:
            yield AllOf(self._clock, deletions)

    def _churn(self, step: Churn) -> Generator[Event, Any, None]:
        turn = 0
        held: dict[tuple[int, int], int] = {}
        """The pod that an application holds in a place."""
        unused = {app: self._rows[app][0] for app in step.apps}
        while step.recreate or not step.number or turn < step.number:
            yield self._clock.timeout(step.period_s)
            if self.over:
                return
            for app in step.apps:
                client = self._client_of(app)
                place = (app, turn % step.number if step.recreate else turn)
                if place in held and step.recreate:
                    yield from self._pod_control.delete(client, held.pop(place))
                    continue
                if app in unused:
                    pod = unused.pop(app)
                    self._pods.times["requested_s"][pod] = self._clock._now
                else:
                    pod = self._pod_control.replace(self._rows[app][0])
                if (yield from self._post(client, pod)):
                    held[place] = pod
            turn += 1
