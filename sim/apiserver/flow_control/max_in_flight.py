"""Max-in-flight, the flow control before API Priority and Fairness: seats for reading and seats for writing requests.

Who finds none is answered 429 at once, but for the group system:masters, which is always served. Watches are not counted.
Source: Kubernetes 1.12 and 1.20 source, apiserver filters/maxinflight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.apiserver.flow_control.catalog import (
    FLOW_CONTROLS,
    PASSED,
    FlowControl,
    FlowControlSpec,
    long_running,
    refused,
)
from sim.apiserver.flow_control.fair_queuing import Request
from sim.apiserver.identity import MASTERS, Identity
from sim.apiserver.request import Operation
from sim.base.spec import param
from sim.engine.meter import Meter

if TYPE_CHECKING:
    from sim.engine.clock import Clock


@FLOW_CONTROLS.register("max-in-flight")
class MaxInFlightSpec(FlowControlSpec):
    """So many reading and so many writing requests at a time."""

    retry_after_s: float = param(
        1.0, "Retry-After of a 429 answer", source="Kubernetes 1.20 source, max-in-flight filter", gt=0, le=60
    )

    def build(self, clock: Clock, base_dir: str) -> MaxInFlight:
        return MaxInFlight(clock, self)


class Seats:
    """The seats of one kind."""

    def __init__(self, clock: Clock, name: str, seats: int) -> None:
        self.seats = seats
        self.in_use = 0
        self.meter = Meter(clock, name, "apiserver", seats)
        self._seated = Request(self)
        """All that are served: none has anything of its own to remember."""
        self._refused = refused(self)

    def enter(self) -> Request:
        if self.in_use >= self.seats:
            return self._refused
        self.in_use += 1
        self.meter.level(self.in_use, 0)
        return self._seated

    def leave(self, request: Request) -> None:
        self.in_use -= 1
        meter = self.meter
        meter.served += 1
        meter.level(self.in_use, 0)


class MaxInFlight(FlowControl):
    """Both kinds of seats of one server."""

    def __init__(self, clock: Clock, spec: MaxInFlightSpec) -> None:
        self.reading = Seats(clock, "API server reading seats", spec.max_in_flight)
        self.writing = Seats(clock, "API server writing seats", spec.max_mutating_in_flight)
        self.meters = [self.writing.meter, self.reading.meter]
        self._retry_after_s = spec.retry_after_s

    def enter(self, operation: Operation, user: Identity, namespace: str) -> Request:
        if long_running(operation):
            return PASSED
        request = (self.writing if operation.mutating else self.reading).enter()
        return PASSED if request.code and MASTERS in user.groups else request

    def enter_many(self, operation: Operation, user: Identity, count: int, abreast: int) -> tuple[list[Request], int]:
        seats = self.writing if operation.mutating else self.reading
        taken = min(abreast, seats.seats - seats.in_use)
        return [seats.enter() for _ in range(taken)], count * taken // abreast

    def retry_after_s(self, operation: Operation, user: Identity, namespace: str) -> float:
        return self._retry_after_s
