"""Max-in-flight: separate seats for reading and writing requests; who finds none is answered 429 at once."""

from __future__ import annotations

from sim.apiserver.spec import FlowControlSpec
from sim.engine.clock import Clock
from sim.engine.semaphore import Semaphore


class MaxInFlight:
    """The seats of one API server."""

    def __init__(self, clock: Clock, spec: FlowControlSpec) -> None:
        self.reading = Semaphore(clock, "API server reading seats", "apiserver", spec.max_in_flight)
        self.writing = Semaphore(clock, "API server writing seats", "apiserver", spec.max_mutating_in_flight)

    def seats(self, mutating: bool) -> Semaphore:
        return self.writing if mutating else self.reading
