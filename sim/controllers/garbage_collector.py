"""The garbage collector: deletes what an owner that is gone has left behind.

For each dependent it reads the object, makes sure that its owner is gone (once an owner), and deletes it: two requests an
object. Rules: Kubernetes 1.20 source, pkg/controller/garbagecollector (background deletion).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.apiserver.request import GET_POD, Operation
from sim.controllers.pod_control import PodControl
from sim.controllers.spec import ControllerManagerSpec
from sim.controllers.work_queue import WorkQueue
from sim.engine.clock import Clock

Dependent = tuple[str, int]
"""("pods", row of the pod table), or (resource, number of the object)."""


class Owned:
    """An object other than a pod that goes with its owner. on_deleted: called when its deletion is stored."""

    __slots__ = ("delete", "get", "namespace", "on_deleted")

    def __init__(self, get: Operation, delete: Operation, namespace: str, on_deleted: Callable[[], None]) -> None:
        self.get = get
        self.delete = delete
        self.namespace = namespace
        self.on_deleted = on_deleted


class GarbageCollector:
    """`garbage_workers` dependents at a time, under its own client rate limit."""

    def __init__(
        self,
        clock: Clock,
        spec: ControllerManagerSpec,
        client: Client,
        pod_control: PodControl,
        namespace_of: Callable[[int], str],
    ) -> None:
        self._client = client
        self._pod_control = pod_control
        self._namespace_of = namespace_of
        self._objects: dict[Dependent, Owned] = {}
        self._left: dict[Dependent, Operation | None] = {}
        """What is to go, with the GET of an owner that nobody has made sure of yet."""
        self.queue: WorkQueue[Dependent] = WorkQueue(
            clock, "garbage collector", spec.garbage_workers, self._collect, spec.retry_base_s, spec.retry_max_s
        )

    def owner_deleted(self, pods: Iterable[int], get_owner: Operation | None) -> None:
        """The owner of these pods is gone. get_owner: how that is made sure of; None: it has been."""
        for pod in pods:
            self._want(("pods", pod), get_owner)
            get_owner = None

    def object_left(self, resource: str, number: int, owned: Owned, get_owner: Operation) -> None:
        """The owner of an object other than a pod is gone."""
        self._objects[resource, number] = owned
        self._want((resource, number), get_owner)

    def resync(self) -> None:
        """A new process has listed everything."""
        for dependent in self._left:
            self.queue.add(dependent)

    def _want(self, dependent: Dependent, get_owner: Operation | None) -> None:
        self._left.setdefault(dependent, get_owner)
        self.queue.add(dependent)

    def _collect(self, dependent: Dependent) -> Generator[Event, Any, bool]:
        number = dependent[1]
        owned = self._objects.get(dependent)
        namespace = owned.namespace if owned is not None else self._namespace_of(number)
        if (yield from self._client.turn()):
            return False
        if (yield from self._client.send(owned.get if owned is not None else GET_POD, namespace)) != 200:
            return False
        get_owner = self._left.get(dependent)
        if get_owner is not None:
            if (yield from self._client.turn()):
                return False
            yield from self._client.send(get_owner, namespace)
            self._left[dependent] = None
        if owned is None:
            if not (yield from self._pod_control.delete(self._client, number)):
                return False
        else:
            if (yield from self._client.turn()):
                return False
            if (yield from self._client.send(owned.delete, namespace)) != 200:
                return False
            self._objects.pop(dependent, None)
            owned.on_deleted()
        self._left.pop(dependent, None)
        return True
