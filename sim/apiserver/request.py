"""The kinds of request: what each asks of the API server and of etcd.

Updates start from the watch cache's copy of an object, so they read nothing from etcd; a pod's final DELETE updates
the object once more before it removes it. Source: etcd requests counted per pod, Kubernetes 1.20.2, our measurement.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One kind of request, as the API server sees it."""

    verb: str
    resource: str
    cost: str
    """Field of `ApiServerSpec` that holds its CPU cost."""
    reads: int = 0
    """etcd ranges before anything is written."""
    writes: int = 0
    """etcd puts."""
    keys: int = 0
    """Objects that etcd has more afterwards."""
    scope: str = "resource"

    @property
    def mutating(self) -> bool:
        return self.verb not in ("GET", "LIST", "WATCH")


CREATE_POD = Operation("POST", "pods", "create_cpu_s", writes=1, keys=1)
CREATE_OWNER = Operation("POST", "deployments", "create_cpu_s", writes=1, keys=1)
CREATE_REPLICASET = Operation("POST", "replicasets", "create_cpu_s", writes=1, keys=1)
CREATE_JOB = Operation("POST", "jobs", "create_cpu_s", writes=1, keys=1)
DELETE_OWNER = Operation("DELETE", "deployments", "delete_cpu_s", reads=1, writes=1, keys=-1)
BIND_POD = Operation("POST", "pods/binding", "bind_cpu_s", writes=1)
GET_POD = Operation("GET", "pods", "get_cpu_s", reads=1)
PATCH_POD_STATUS = Operation("PATCH", "pods/status", "patch_cpu_s", writes=1)
MARK_POD_DELETED = Operation("DELETE", "pods", "delete_cpu_s", reads=1, writes=1)
REMOVE_POD = Operation("DELETE", "pods", "delete_cpu_s", reads=2, writes=2, keys=-1)
RENEW_LEASE = Operation("PUT", "leases", "lease_cpu_s", writes=1)
CREATE_EVENT = Operation("POST", "events", "create_cpu_s", writes=1, keys=1)
