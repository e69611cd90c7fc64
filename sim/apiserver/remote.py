"""A server that the API server asks: token and access reviews, keys of an identity provider. It has a capacity of its own."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from simpy.events import Event

from sim.base.rand import Dist, Lognormal, Sampler, Streams
from sim.base.spec import Spec, param
from sim.engine.clock import Clock, fire
from sim.engine.meter import Meter
from sim.engine.semaphore import Semaphore


class RemoteSpec(Spec):
    """A queueing station: so many requests are served at a time, the others wait in order of arrival."""

    workers: int = param(..., "requests that it serves at a time: its capacity", ge=1, le=1_000_000)
    service_s: Dist = param(
        Lognormal(median=5.0e-3, sigma=0.5), "time that it works on one request",
        source="our choice: one look-up in a database", unverified=True,
    )  # fmt: skip
    round_trip_s: float = param(5.0e-4, "network, there and back", unverified=True, ge=0, le=60)
    timeout_s: float = param(
        30.0, "the API server waits so long for an answer", source="Kubernetes 1.20 source, webhooks", gt=0, le=3600
    )


class Remote:
    """Runs a `RemoteSpec`. What is asked and not waited for any more keeps its worker busy all the same."""

    def __init__(self, clock: Clock, spec: RemoteSpec, name: str, streams: Streams) -> None:
        self._clock = clock
        self._spec = spec
        self._service_s: Callable[[], float] = Sampler(spec.service_s, streams(f"remote.{name}"))
        self._workers = Semaphore(clock, name, "apiserver", spec.workers)
        self.meter = self._workers.meter
        self.down = False
        """Refuses every connection."""
        self.slower = 1.0
        """Factor on the time it works on a request."""
        self.asked = 0
        self.failed = 0
        """Requests without an answer: refused, or not answered in time."""

    def ask(self) -> Generator[Event, Any, bool]:
        """One request; whether it was answered in time."""
        self.asked += 1
        if self.down:
            yield self._clock.timeout(self._spec.round_trip_s)
            self.failed += 1
            return False
        answer = Event(self._clock)
        self._clock.start(self._serve(answer))
        self._clock.at(self._spec.timeout_s, lambda _: None if answer.triggered else fire(answer, False))
        answered: bool = yield answer
        self.failed += not answered
        return answered

    def _serve(self, answer: Event) -> Generator[Event, Any, None]:
        yield self._clock.timeout(self._spec.round_trip_s)
        yield self._workers.acquire()
        yield self._clock.timeout(self._service_s() * self.slower)
        self._workers.release()
        if not answer.triggered:
            fire(answer, True)


class Remotes:
    """The servers that the API servers of a cluster ask, by name: each is one, whoever asks it."""

    def __init__(self, clock: Clock, streams: Streams) -> None:
        self._clock = clock
        self._streams = streams
        self.by_name: dict[str, Remote] = {}

    def of(self, name: str, spec: RemoteSpec) -> Remote:
        """The server of this name, made when it is first asked for."""
        if name not in self.by_name:
            self.by_name[name] = Remote(self._clock, spec, name, self._streams)
        return self.by_name[name]

    def meters(self) -> list[Meter]:
        """Of all of them."""
        return [remote.meter for remote in self.by_name.values()]
