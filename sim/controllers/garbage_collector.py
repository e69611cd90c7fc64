"""The garbage collector: deletes what an owner that is gone, or is to go, has left behind.

In the background: for each dependent it reads the object, makes sure that its owner is gone (once an owner), and deletes it: two
requests an object. In the foreground the owner's object is still there, marked and held by a finalizer: each dependent's owner is
read, and whenever a dependent has gone the owner is looked at; after the last one its finalizer is taken away, and it goes.
Rules: Kubernetes 1.20 source, pkg/controller/garbagecollector.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.apiserver.request import GET_POD, Operation
from sim.controllers.operations import GET, REMOVE_LAST_FINALIZER
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


class _Marked:
    """An owner that is being deleted in the foreground. blocking: dependents whose objects are still there."""

    __slots__ = ("blocking", "namespace")

    def __init__(self, namespace: str, blocking: set[Dependent]) -> None:
        self.namespace = namespace
        self.blocking = blocking


class GarbageCollector:
    """`garbage_workers` dependents at a time, under its own client rate limit.

    tell_removed: publishes that an owner held by its finalizer is removed (resource, number).
    """

    def __init__(
        self,
        clock: Clock,
        spec: ControllerManagerSpec,
        client: Client,
        pod_control: PodControl,
        namespace_of: Callable[[int], str],
        tell_removed: Callable[[str, int], None],
    ) -> None:
        self._tell_removed = tell_removed
        self._marked: dict[Dependent, _Marked] = {}
        self._holds: dict[Dependent, Dependent] = {}
        """Dependents that hold back a marked owner, and which."""
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

    def owner_marked(
        self, resource: str, number: int, namespace: str, dependents: Iterable[Dependent], ending: Iterable[int] = ()
    ) -> None:
        """An owner is to go when its dependents have. ending: its pods that are being deleted already."""
        owner = (resource, number)
        held = list(dependents)
        blocking = {*held, *(("pods", pod) for pod in ending)}
        self._marked[owner] = _Marked(namespace, blocking)
        self._holds.update(dict.fromkeys(blocking, owner))
        self.queue.add(owner)
        for dependent in held:
            self._want(dependent, GET[resource])

    @property
    def holds(self) -> bool:
        """Whether any owner waits for its dependents to go."""
        return bool(self._holds)

    def dependent_gone(self, resource: str, number: int) -> None:
        """An object was removed; its owner may have waited for that."""
        dependent = (resource, number)
        owner = self._holds.pop(dependent, None)
        if owner is not None:
            self._marked[owner].blocking.discard(dependent)
            self.queue.add(owner)

    def object_gone(self, resource: str, number: int) -> None:
        """Somebody else removed it."""
        self._objects.pop((resource, number), None)
        self._left.pop((resource, number), None)

    def object_left(self, resource: str, number: int, owned: Owned, get_owner: Operation) -> None:
        """The owner of an object other than a pod is gone."""
        self._objects[resource, number] = owned
        self._want((resource, number), get_owner)

    def resync(self) -> None:
        """A new process has listed everything."""
        for dependent in (*self._left, *self._marked):
            self.queue.add(dependent)

    def _want(self, dependent: Dependent, get_owner: Operation | None) -> None:
        self._left.setdefault(dependent, get_owner)
        self.queue.add(dependent)

    def wait_for(self, resource: str, number: int, owned: Owned) -> Dependent:
        """A dependent other than a pod of an owner that is marked next (`owner_marked`)."""
        self._objects[resource, number] = owned
        return resource, number

    def _look_at_marked(self, owner: Dependent, marked: _Marked) -> Generator[Event, Any, bool]:
        """Read the owner; if nothing holds it back, read it once more and take its finalizer away."""
        resource = owner[0]
        for operation in (GET[resource], GET[resource], REMOVE_LAST_FINALIZER[resource]):
            if (yield from self._client.turn()):
                return False
            if (yield from self._client.send(operation, marked.namespace)) != 200:
                return False
            if marked.blocking:
                return True
        del self._marked[owner]
        self._tell_removed(*owner)
        self.dependent_gone(*owner)
        return True

    def _collect(self, dependent: Dependent) -> Generator[Event, Any, bool]:
        marked = self._marked.get(dependent)
        if marked is not None:
            return (yield from self._look_at_marked(dependent, marked))
        if dependent not in self._left:
            return True
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
            if dependent not in self._holds:  # a marked owner is found each time
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
