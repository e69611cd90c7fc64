"""What authorizers look at: user, verb, resource and object of a request, in the words of policies."""

from __future__ import annotations

from dataclasses import dataclass

from sim.apiserver.identity import Identity
from sim.apiserver.request import Operation

VERBS = {
    "POST": "create",
    "GET": "get",
    "LIST": "list",
    "WATCH": "watch",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
    "DELETECOLLECTION": "deletecollection",
}
"""Policies' verb of each kind of request (Kubernetes documentation, "Determine the request verb")."""
READING = ("get", "list", "watch")

API_GROUPS = {
    **dict.fromkeys(("deployments", "replicasets", "statefulsets", "daemonsets", "controllerrevisions"), "apps"),
    **dict.fromkeys(("jobs", "cronjobs"), "batch"),
    "leases": "coordination.k8s.io",
    "endpointslices": "discovery.k8s.io",
    "poddisruptionbudgets": "policy",
    "priorityclasses": "scheduling.k8s.io",
    "horizontalpodautoscalers": "autoscaling",
    **dict.fromkeys(("ingresses", "networkpolicies", "servicecidrs", "ipaddresses"), "networking.k8s.io"),
    **dict.fromkeys(
        ("storageclasses", "csinodes", "csidrivers", "csistoragecapacities", "volumeattachments"), "storage.k8s.io"
    ),
    **dict.fromkeys(("roles", "rolebindings", "clusterroles", "clusterrolebindings"), "rbac.authorization.k8s.io"),
    "runtimeclasses": "node.k8s.io",
    "tokenreviews": "authentication.k8s.io",
    **dict.fromkeys(("subjectaccessreviews", "localsubjectaccessreviews"), "authorization.k8s.io"),
    "certificatesigningrequests": "certificates.k8s.io",
    **dict.fromkeys(("blockaffinities", "ipamblocks", "ipamhandles"), "crd.projectcalico.org"),
    **dict.fromkeys(("flowschemas", "prioritylevelconfigurations"), "flowcontrol.apiserver.k8s.io"),
}
"""API group of each resource; those that are not here are of the core group."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """One request as policies see it."""

    user: Identity
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    """Empty: not in a namespace, or in all."""
    name: str | None = ""
    """Of the object; empty: none, as for lists and creations. None: the one that the user is about, whichever that is."""
    path: str = ""
    """Of a request for no resource, such as `/healthz`."""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def attributes_of(user: Identity, operation: Operation, namespace: str) -> Attributes:
    """The attributes of a request. Which object it is about the simulation does not say: see `Attributes.name`."""
    verb = VERBS[operation.verb]
    resource, _, subresource = operation.resource.partition("/")
    of_one = operation.scope == "resource" and verb in ("list", "watch")  # by its name
    name = "" if verb in ("create", "list", "watch") and not subresource and not of_one else None
    return Attributes(user, verb, API_GROUPS.get(resource, ""), resource, subresource, namespace, name)
