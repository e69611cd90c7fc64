"""What a request is about, in the words that flow schemas and webhook rules use: verb, API group, resource, namespace."""

from __future__ import annotations

from sim.apiserver.flow_control.objects import Target
from sim.apiserver.request import Operation

VERBS = {
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "GET": "get",
    "DELETE": "delete",
    "DELETECOLLECTION": "deletecollection",
    "LIST": "list",
    "WATCH": "watch",
}
GROUPS = {
    "deployments": "apps",
    "replicasets": "apps",
    "statefulsets": "apps",
    "daemonsets": "apps",
    "controllerrevisions": "apps",
    "jobs": "batch",
    "cronjobs": "batch",
    "leases": "coordination.k8s.io",
    "endpointslices": "discovery.k8s.io",
    "poddisruptionbudgets": "policy",
    "horizontalpodautoscalers": "autoscaling",
    "roles": "rbac.authorization.k8s.io",
    "rolebindings": "rbac.authorization.k8s.io",
    "clusterroles": "rbac.authorization.k8s.io",
    "clusterrolebindings": "rbac.authorization.k8s.io",
    "csinodes": "storage.k8s.io",
    "csidrivers": "storage.k8s.io",
    "storageclasses": "storage.k8s.io",
    "volumeattachments": "storage.k8s.io",
    "runtimeclasses": "node.k8s.io",
    "priorityclasses": "scheduling.k8s.io",
}
"""API groups other than the core group, which has no name."""
HOME_NAMESPACES = {"leases": "kube-node-lease"}
"""Where components keep objects whose namespace a request leaves open: nodes their leases."""


def target_of(operation: Operation, namespace: str) -> Target:
    """The request's verb, API group, resource with subresource, and namespace."""
    resource = operation.resource.partition("/")[0]
    return Target(
        VERBS[operation.verb],
        GROUPS.get(resource, ""),
        operation.resource,
        namespace or HOME_NAMESPACES.get(resource, ""),
    )
