"""The EndpointSlice and Endpoints controllers: which ready pods stand behind a Service, told to every node's kube-proxy.

A Service's endpoints are cut into slices of at most 100, so that one change makes one small object anew; the older Endpoints
object holds all of them, and is written as a whole. Rules: Kubernetes 1.20 source, pkg/controller/endpointslice; KEP 752.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from sim.base.spec import Spec, param
from sim.controllers.operations import (
    CREATE_ENDPOINTS,
    CREATE_SLICE,
    DELETE_SLICE,
    UPDATE_ENDPOINTS,
    UPDATE_SLICE,
)
from sim.controllers.work_queue import WorkQueue
from sim.engine.clock import Clock

if TYPE_CHECKING:
    from sim.apiserver.client import Client
    from sim.apiserver.request import Operation

K20 = "Kubernetes 1.20 source, pkg/controller/endpointslice"


class EndpointsSpec(Spec):
    """Services in front of Deployments, as the control plane pays for them."""

    services: bool = param(
        False, "every Deployment has a Service: its ready pods are written to EndpointSlices, which all nodes watch"
    )
    endpoints_object: bool = param(
        True,
        "the Endpoints object is written beside the slices",
        source="Kubernetes 1.20 and 1.34: both controllers run",
    )
    workers: int = param(5, "concurrent syncs of each of the two controllers", source=K20, ge=1, le=10_000)
    slice_endpoints: int = param(100, "most endpoints in a slice", source=K20, ge=1, le=1000)
    batch_s: float = param(1.0, "changes of a Service's pods gather for this long", source=K20, ge=0, le=600)
    retry_base_s: float = param(1.0, "first back-off after a failed sync, doubled each time", source=K20, gt=0, le=60)
    retry_max_s: float = param(100.0, "the largest of these", source=K20, gt=0, le=1e5)


def reconcile(
    slices: Sequence[frozenset[int]], wanted: frozenset[int], most: int
) -> tuple[list[frozenset[int]], list[int], list[int], list[frozenset[int]]]:
    """(slices afterwards, places that change, places that go, new slices) for the wanted endpoints.

    What is wanted no more leaves its slice; new endpoints fill the slices that change anyway, then the slice with the least room
    that takes them all, else new slices. No slice is touched for the sake of order alone.
    """
    kept = [held & wanted for held in slices]
    changed = {place for place, held in enumerate(slices) if kept[place] != held}
    new = sorted(wanted.difference(*kept)) if kept else sorted(wanted)
    for place in sorted(changed, key=lambda place: -len(kept[place])):
        room = most - len(kept[place])
        if new and room > 0 and kept[place]:
            kept[place] |= frozenset(new[:room])
            new = new[room:]
    if new and len(new) < most:
        rooms = [(most - len(held), place) for place, held in enumerate(kept) if held and place not in changed]
        fitting = [(room, place) for room, place in rooms if room >= len(new)]
        if fitting:
            _, place = min(fitting)
            kept[place] |= frozenset(new)
            changed.add(place)
            new = []
    emptied = [place for place, held in enumerate(kept) if not held and (place in changed or not slices[place])]
    for place in emptied:
        if new:  # a slice that would go is filled anew instead
            kept[place], new = frozenset(new[:most]), new[most:]
    gone = [place for place in emptied if not kept[place]]
    added = [frozenset(new[begin : begin + most]) for begin in range(0, len(new), most)]
    after = [held for place, held in enumerate(kept) if place not in gone] + added
    return after, sorted(changed.difference(gone)), gone, added


class _Service:
    """One Service."""

    __slots__ = ("due", "namespace", "ready", "slices", "written")

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.ready: dict[int, None] = {}
        """Pods that are ready and not being deleted."""
        self.slices: list[frozenset[int]] = []
        """As stored."""
        self.written: int = -1
        """Endpoints in the stored Endpoints object; -1: there is none."""
        self.due = False


class EndpointSliceController:
    """tell: publishes that a slice of an application's Service, or its Endpoints object, has changed (resource, kind, application)."""

    def __init__(
        self,
        clock: Clock,
        spec: EndpointsSpec,
        slices: Client,
        endpoints: Client,
        namespace_of: Callable[[int], str],
        tell: Callable[[str, str, int], None],
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._slice_client = slices
        self._endpoints_client = endpoints
        self._namespace_of = namespace_of
        self._tell = tell
        self.services: dict[int, _Service] = {}
        """By application."""
        self.writes = 0
        """Slices created, updated and deleted."""
        self.queue: WorkQueue[int] = WorkQueue(
            clock, "EndpointSlice", spec.workers, self._sync, spec.retry_base_s, spec.retry_max_s
        )

    def begin_with(self, app: int, pods: list[int]) -> None:
        """Before the run: the slices of an application's Service hold its pods."""
        service = self.services[app] = _Service(self._namespace_of(app))
        service.ready, service.written = dict.fromkeys(pods), len(pods)
        most = self._spec.slice_endpoints
        service.slices = [frozenset(pods[begin : begin + most]) for begin in range(0, len(pods), most)]

    def pod_ready(self, app: int, pod: int) -> None:
        """A pod of the application is ready."""
        service = self.services.get(app)
        if service is None:
            service = self.services[app] = _Service(self._namespace_of(app))
        service.ready[pod] = None
        self._changed(app, service)

    def pod_left(self, app: int, pod: int) -> None:
        """It is ready no more, is being deleted, or has ended."""
        service = self.services.get(app)
        if service is not None and pod in service.ready:
            del service.ready[pod]
            self._changed(app, service)

    def resync(self) -> None:
        """A new process has listed everything."""
        for app, service in self.services.items():
            service.due = False
            self.queue.add(app)

    def objects(self) -> Iterable[int]:
        return self.services

    def as_wanted(self, app: int) -> bool:
        return not self.services[app].due

    def _changed(self, app: int, service: _Service) -> None:
        if not service.due:
            service.due = True
            self.queue.add_after(app, self._spec.batch_s)

    def _sync(self, app: int) -> Generator[Event, Any, bool]:
        service = self.services[app]
        service.due = False
        wanted = frozenset(service.ready)
        after, changed, gone, added = reconcile(service.slices, wanted, self._spec.slice_endpoints)
        for operation, count in ((CREATE_SLICE, len(added)), (UPDATE_SLICE, len(changed)), (DELETE_SLICE, len(gone))):
            for _ in range(count):
                if not (yield from self._write(self._slice_client, operation, service.namespace)):
                    return False
                self.writes += 1
                self._tell("endpointslices", "changed", app)
        service.slices = after
        if self._spec.endpoints_object and (changed or added or gone):
            operation = UPDATE_ENDPOINTS if service.written >= 0 else CREATE_ENDPOINTS
            if not (yield from self._write(self._endpoints_client, operation, service.namespace)):
                return False
            service.written = len(wanted)
            self._tell("endpoints", "changed", app)
        return True

    def _write(self, client: Client, operation: Operation, namespace: str) -> Generator[Event, Any, bool]:
        if (yield from client.turn()):
            return False
        return (yield from client.send(operation, namespace)) in (200, 201)
