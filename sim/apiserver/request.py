"""The kinds of request: what each asks of the API server and of etcd.

Updates start from the watch cache's copy of an object, so they read nothing from etcd; a pod's final DELETE updates
the object once more before it removes it. Source: etcd requests counted per pod, Kubernetes 1.20.2, our measurement.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One kind of request, as the API server sees it. Each is made once: it is a key by identity."""

    verb: str
    resource: str
    cost: str
    """Field of `ApiServerSpec` that holds its CPU cost, besides decoding and encoding."""
    reads: int = 0
    """etcd ranges before anything is written."""
    writes: int = 0
    """etcd puts."""
    keys: int = 0
    """Objects that etcd has more afterwards."""
    scope: str = "resource"
    share: float = 1.0
    """How much of the object the request and its answer carry."""

    @property
    def mutating(self) -> bool:
        return self.verb not in ("GET", "LIST", "WATCH")

    @property
    def kind(self) -> str:
        """The resource without its subresource."""
        return self.resource.partition("/")[0]

    @property
    def body(self) -> float:
        """What the request carries, in objects."""
        return self.share * _BODY.get(self.verb, 0.0)


_BODY = {"POST": 1.0, "PUT": 1.0, "PATCH": 0.25}
"""Objects that a request carries by its verb; a patch has the changed part only (our estimate)."""


Version = Literal["newest", "any", "known"]
"""What a read asks for: the newest state (no resource version), whatever the cache has (version 0), or nothing older than
what the client has seen (a version of its own)."""
Selection = Literal["all", "one", "of-a-node"]
"""Which objects of the scope a LIST or WATCH selects: all, one by its name, or those of one node."""


@dataclass(frozen=True, slots=True, eq=False)
class ListOperation(Operation):
    """A LIST. Which objects it returns is known when it is served."""

    version: Version = "newest"
    limit: int = 0
    """Objects a page; 0: all at once. A page is a request of its own."""
    selects: Selection = "all"


@cache
def list_operation(
    resource: str, scope: str = "cluster", version: Version = "newest", limit: int = 0, selects: Selection = "all"
) -> ListOperation:
    """The LIST of these properties. scope: cluster, namespace, or resource (of one object, by its name)."""
    return ListOperation("LIST", resource, "list_cpu_s", scope=scope, version=version, limit=limit, selects=selects)


@cache
def watch_operation(resource: str, scope: str = "cluster") -> Operation:
    """The request that opens a watch. scope: as of a LIST; resource: of one object, by its name."""
    return Operation("WATCH", resource, "watch_cpu_s", scope=scope, share=0.0)


CREATE_POD = Operation("POST", "pods", "create_cpu_s", writes=1, keys=1)
CREATE_OWNER = Operation("POST", "deployments", "create_cpu_s", writes=1, keys=1)
CREATE_REPLICASET = Operation("POST", "replicasets", "create_cpu_s", writes=1, keys=1)
CREATE_JOB = Operation("POST", "jobs", "create_cpu_s", writes=1, keys=1)
DELETE_OWNER = Operation("DELETE", "deployments", "delete_cpu_s", reads=1, writes=1, keys=-1)
BIND_POD = Operation("POST", "pods/binding", "bind_cpu_s", writes=1, share=0.05)
GET_POD = Operation("GET", "pods", "get_cpu_s", reads=1)
PATCH_POD_STATUS = Operation("PATCH", "pods/status", "patch_cpu_s", writes=1)
MARK_POD_DELETED = Operation("DELETE", "pods", "delete_cpu_s", reads=1, writes=1)
REMOVE_POD = Operation("DELETE", "pods", "delete_cpu_s", reads=2, writes=2, keys=-1)
RENEW_LEASE = Operation("PUT", "leases", "lease_cpu_s", writes=1)
CREATE_EVENT = Operation("POST", "events", "create_cpu_s", writes=1, keys=1)
