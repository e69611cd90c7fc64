"""What every flow control is asked: may this request be served now, must it wait, or is it refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sim.apiserver.flow_control.fair_queuing import Request
from sim.apiserver.identity import Identity
from sim.apiserver.request import ListOperation, Operation
from sim.base.errors import Problems
from sim.base.plugin import Catalog
from sim.base.spec import Spec, param
from sim.engine.meter import Meter

if TYPE_CHECKING:
    from sim.engine.clock import Clock

TOO_MANY_REQUESTS = 429
GATEWAY_TIMEOUT = 504


class Unlimited:
    """The level of requests that nothing holds back."""

    def leave(self, request: Request) -> None:
        """Nothing to give back."""


PASSED = Request(Unlimited())
"""The way of a request that is not counted."""


class FlowControl:
    """The seats of one API server.

    A request enters, and where its `event` is set waits for it; then, unless its `code` says that it is refused, it is
    served, and leaves with `request.level.leave(request)`.
    """

    meters: list[Meter]
    """One for each kind of seats."""

    def limits(self) -> dict[str, Callable[[], float]]:
        """Limits that change during a run, by the names of their time series."""
        return {}

    def enter(self, operation: Operation, user: Identity, namespace: str) -> Request:
        """A request arrives."""
        raise NotImplementedError

    def enter_many(self, operation: Operation, user: Identity, count: int, abreast: int) -> tuple[list[Request], int]:
        """`count` alike requests arrive, to be served up to `abreast` side by side: the ways of those that go on, of which
        the last may have to wait, and how many of `count` they serve; the rest is refused."""
        raise NotImplementedError

    def weigh_by(
        self,
        stored: Callable[[str], int],
        from_cache: Callable[[ListOperation], bool],
        watchers: Callable[[str], int],
    ) -> None:
        """What work estimates go by: objects of a resource that are stored, whether a LIST is answered from the cache, and who
        watches a resource, those aside who watch one object of it or the pods of one node."""

    def retry_after_s(self, operation: Operation, user: Identity, namespace: str) -> float:
        """What the answer 429 tells such a client to wait."""
        raise NotImplementedError


class FlowControlSpec(Spec):
    """Base of every entry of the catalog."""

    max_in_flight: int = param(
        400, "seats for reading requests", source="Kubernetes 1.20 source, API server defaults", ge=1, le=100_000
    )
    max_mutating_in_flight: int = param(
        200, "seats for writing requests", source="Kubernetes 1.20 source, API server defaults", ge=1, le=100_000
    )

    def check(self, path: str, base_dir: str, problems: Problems) -> None:
        """Add what is wrong with the files it names."""

    def build(self, clock: Clock, base_dir: str) -> FlowControl:
        """The seats of one server. base_dir: where relative paths start."""
        raise NotImplementedError


FLOW_CONTROLS: Catalog[type[FlowControlSpec]] = Catalog("flow controls", package="sim.apiserver.flow_control")


def long_running(operation: Operation) -> bool:
    """Whether its answer goes on for as long as the client listens: such requests hold no seat meanwhile."""
    return operation.verb == "WATCH"


def refused(level: Any, code: int = TOO_MANY_REQUESTS) -> Request:
    """The way of a request that ends here."""
    request = Request(level)
    request.code = code
    return request
