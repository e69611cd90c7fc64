"""Requests that controllers send, beside those of `sim.apiserver.request`, and those with which users change their objects."""

from __future__ import annotations

from sim.apiserver.request import Operation
from sim.workload import AppKind


def _create(resource: str) -> Operation:
    return Operation("POST", resource, "create_cpu_s", writes=1, keys=1)


def _update(resource: str) -> Operation:
    """A PUT of an object that the caller has in its cache."""
    return Operation("PUT", resource, "patch_cpu_s", writes=1)


def _patch(resource: str) -> Operation:
    return Operation("PATCH", resource, "patch_cpu_s", writes=1)


def _get(resource: str) -> Operation:
    return Operation("GET", resource, "get_cpu_s", reads=1)


def _delete(resource: str) -> Operation:
    return Operation("DELETE", resource, "delete_cpu_s", reads=1, writes=1, keys=-1)


RESOURCES: dict[AppKind, str] = {
    AppKind.POD: "pods",
    AppKind.SERVICE: "deployments",
    AppKind.JOB: "jobs",
    AppKind.STATEFUL_SET: "statefulsets",
    AppKind.DAEMON_SET: "daemonsets",
    AppKind.CRON_JOB: "cronjobs",
}
"""What the user creates for an application of each kind."""
CREATE = {kind: _create(resource) for kind, resource in RESOURCES.items()}
CHANGE = {kind: _patch(resource) for kind, resource in RESOURCES.items()}
DELETE = {kind: _delete(resource) for kind, resource in RESOURCES.items()}
MARK_DELETED = {
    kind: Operation("DELETE", resource, "delete_cpu_s", reads=1, writes=1) for kind, resource in RESOURCES.items()
}
"""In the foreground: the object stays, with a finalizer, until everything it owns has gone."""
REMOVE_LAST_FINALIZER = {
    resource: Operation("PATCH", resource, "patch_cpu_s", reads=1, writes=2, keys=-1)
    for resource in (*RESOURCES.values(), "replicasets")
}
"""The object is written once more, and goes."""
GET = {resource: _get(resource) for resource in (*RESOURCES.values(), "replicasets")}

CREATE_REPLICASET = _create("replicasets")
UPDATE_REPLICASET = _update("replicasets")
DELETE_REPLICASET = _delete("replicasets")
MARK_REPLICASET_DELETED = Operation("DELETE", "replicasets", "delete_cpu_s", reads=1, writes=1)
UPDATE_REPLICASET_STATUS = _update("replicasets/status")
UPDATE_DEPLOYMENT_STATUS = _update("deployments/status")
UPDATE_JOB_STATUS = _update("jobs/status")
UPDATE_STATEFUL_SET_STATUS = _update("statefulsets/status")
UPDATE_DAEMON_SET_STATUS = _update("daemonsets/status")
UPDATE_CRON_JOB_STATUS = _update("cronjobs/status")
CREATE_REVISION = _create("controllerrevisions")
REMOVE_FINALIZER = _patch("pods")
DELETE_POD_AT_ONCE = _delete("pods")
"""Of a pod that has no node yet, or has ended: nobody has to stop it first."""
UPDATE_NODE_STATUS = _update("nodes/status")
GET_NODE = _get("nodes")
PATCH_NODE = _patch("nodes")
UPDATE_POD_STATUS = _update("pods/status")
CREATE_ENDPOINTS = _create("endpoints")
UPDATE_ENDPOINTS = _update("endpoints")
CREATE_SLICE = _create("endpointslices")
UPDATE_SLICE = _update("endpointslices")
DELETE_SLICE = _delete("endpointslices")
GET_NAMESPACE = _get("namespaces")
DELETE_NAMESPACE = Operation("DELETE", "namespaces", "delete_cpu_s", reads=1, writes=1)
UPDATE_NAMESPACE_STATUS = _update("namespaces/status")
UPDATE_NAMESPACE = Operation("PUT", "namespaces/finalize", "patch_cpu_s", writes=2)
"""The last finalizer is taken away, and the object goes."""
UPDATE_QUOTA_STATUS = _update("resourcequotas/status")
