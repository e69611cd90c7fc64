"""The namespace controller: everything in a namespace that is being deleted goes, type by type, and then the namespace.

Rules: Kubernetes 1.20 source, pkg/controller/namespace. For each type that can be deleted as a collection it sends that, then lists
what is left; pods are listed before, too, as the longest grace of theirs says when to look again. Finding out which types there are
(discovery) is not simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import cache
from typing import Any

import numpy as np
from simpy.events import Event

from sim.apiserver.client import Client
from sim.apiserver.request import Operation, list_operation
from sim.controllers.namespace_spec import NamespaceSpec
from sim.controllers.operations import GET_NAMESPACE, UPDATE_NAMESPACE, UPDATE_NAMESPACE_STATUS
from sim.controllers.pod_control import PodControl
from sim.controllers.work_queue import WorkQueue
from sim.engine.clock import Clock
from sim.state.pods import Phase, PodTable

OWNERS = ("daemonsets", "deployments", "statefulsets", "cronjobs", "jobs")
TYPES = (
    *OWNERS,
    "replicasets",
    "pods",
    "configmaps",
    "controllerrevisions",
    "endpoints",
    "endpointslices",
    "events",
    "horizontalpodautoscalers",
    "ingresses",
    "leases",
    "limitranges",
    "networkpolicies",
    "persistentvolumeclaims",
    "poddisruptionbudgets",
    "podtemplates",
    "replicationcontrollers",
    "resourcequotas",
    "rolebindings",
    "roles",
    "secrets",
    "serviceaccounts",
    "services",
)
"""Types of objects in namespaces that an API server has of its own, each once; their real order is that of a hash table."""


@cache
def delete_collection(resource: str, objects: int, removed: int) -> Operation:
    """The request that deletes `objects` of a type in one namespace, of which `removed` go at once."""
    return Operation(
        "DELETECOLLECTION",
        resource,
        "delete_cpu_s",
        reads=1 + objects,
        writes=objects,
        keys=-removed,
        scope="namespace",
    )


class NamespaceController:
    """`workers` namespaces at a time.

    objects: how many objects of a type a namespace has. grace_of: a pod's grace period. namespace_of: a pod's namespace.
    owners_deleted: tells that all objects with pods of a type in a namespace are deleted (type, namespace). gone: told of a
    namespace whose object is removed.
    """

    def __init__(
        self,
        clock: Clock,
        spec: NamespaceSpec,
        retry_base_s: float,
        retry_max_s: float,
        client: Client,
        pods: PodTable,
        pod_control: PodControl,
        objects: Callable[[str, str], int],
        in_namespace: Callable[[str], np.ndarray],
        grace_of: Callable[[int], float],
        owners_deleted: Callable[[str, str], None],
        gone: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._client = client
        self._pods = pods
        self._pod_control = pod_control
        self._objects = objects
        self._in_namespace = in_namespace
        self._grace_of = grace_of
        self._owners_deleted = owners_deleted
        self._gone = gone
        self._deleted_s: dict[str, float] = {}
        """Namespaces that are being deleted, and since when."""
        self.removed = 0
        self.queue: WorkQueue[str] = WorkQueue(clock, "namespace", spec.workers, self._sync, retry_base_s, retry_max_s)

    def namespace_deleted(self, namespace: str) -> None:
        """It was marked: the first look comes when all API servers have heard of it."""
        self._deleted_s[namespace] = self._clock._now
        self.queue.add_after(namespace, self._spec.grace_s)

    def resync(self) -> None:
        """A new process has listed everything."""
        for namespace in self._deleted_s:
            self.queue.add_after(namespace, self._spec.grace_s)

    def _sync(self, namespace: str) -> Generator[Event, Any, bool]:
        if namespace not in self._deleted_s:
            return True
        if not (yield from self._send(GET_NAMESPACE, namespace)):
            return False
        wait_s = 0.0
        for resource in TYPES:
            here = self._pods_here(namespace) if resource == "pods" else None
            left_s = 0.0
            if here is not None:
                if not (yield from self._send(list_operation("pods", "namespace"), namespace)):
                    return False
                left_s = self._longest_grace_s(here, self._clock._now - self._deleted_s[namespace])
            if not (yield from self._delete_all(resource, namespace)):
                return False
            if not (yield from self._send(list_operation(resource, "namespace"), namespace)):
                return False
            if here is not None and self._pods_here(namespace):
                if left_s <= 0:
                    return False  # they should have gone: again after a back-off
                wait_s = max(wait_s, left_s)
        if not (yield from self._send(UPDATE_NAMESPACE_STATUS, "")):
            return False
        if wait_s:
            self.queue.add_after(namespace, wait_s // 2 + 1)
            return True
        if not (yield from self._send(UPDATE_NAMESPACE, "")):
            return False
        del self._deleted_s[namespace]
        self.removed += 1
        self._gone(namespace)
        return True

    def _pods_here(self, namespace: str) -> list[int]:
        """Pods of the namespace that have not ended."""
        rows = self._in_namespace(namespace)
        phase = np.array(self._pods.ids["phase"], np.int32)[rows]
        alive = (phase == Phase.PENDING) | (phase == Phase.SCHEDULED) | (phase == Phase.RUNNING)
        found: list[int] = rows[alive].tolist()
        return found

    def _longest_grace_s(self, pods: list[int], since_s: float) -> float:
        """The longest grace of these pods; 0 once so much time has passed since the deletion."""
        longest_s = max((self._grace_of(pod) for pod in pods), default=0.0)
        return longest_s if since_s < longest_s else 0.0

    def _delete_all(self, resource: str, namespace: str) -> Generator[Event, Any, bool]:
        there = self._objects(resource, namespace)
        if resource != "pods":
            if not (yield from self._send(delete_collection(resource, there, there), namespace)):
                return False
            if there:
                self._owners_deleted(resource, namespace)
            return True
        phase, requested_s = self._pods.ids["phase"], self._pods.times["delete_requested_s"]
        alive = self._pods_here(namespace)
        bound = sum(phase[pod] != Phase.PENDING for pod in alive)
        marked = [pod for pod in alive if np.isnan(requested_s[pod])]
        at_once = max(0, there - bound)
        waiting = sum(phase[pod] == Phase.PENDING for pod in marked)
        for pod in marked:
            requested_s[pod] = self._clock._now
        writes = len(marked) - waiting + at_once
        if not (yield from self._send(delete_collection(resource, writes, at_once), namespace)):
            for pod in marked:
                requested_s[pod] = np.nan
            return False
        for pod in marked:
            self._pod_control.deletion_stored(pod)
        return True

    def _send(self, operation: Operation, namespace: str) -> Generator[Event, Any, bool]:
        life = self.queue.life
        if (yield from self._client.turn()) or life != self.queue.life:
            return False
        return (yield from self._client.send(operation, namespace)) == 200
