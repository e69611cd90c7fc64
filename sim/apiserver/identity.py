"""Who sends a request: the name and groups that flow schemas, bindings and policies match, and how it is proved.

Sources of names and groups: Kubernetes documentation "Authenticating" and 1.20 source (user and serviceaccount packages).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"
"""Allowed everything, before any authorizer is asked."""
NODES = "system:nodes"
BOOTSTRAPPERS = "system:bootstrappers"
SERVICE_ACCOUNTS = "system:serviceaccounts"
SERVICE_ACCOUNT = "system:serviceaccount:"
"""What the name of a service account begins with; its namespace and own name follow."""
ANY_NODE = "system:node"
"""One identity in place of `system:node:<name>` where all nodes' requests are simulated together."""

SCHEDULER = "system:kube-scheduler"
CONTROLLER_MANAGER = "system:kube-controller-manager"
COMPONENTS = (SCHEDULER, CONTROLLER_MANAGER, ANY_NODE)
"""Clients that every cluster has; the controllers' service accounts share the controller manager's connection."""


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """A user as the API server knows it. Made by `identity` alone: equal users are the same object, cheap as a key."""

    name: str
    groups: tuple[str, ...]
    """All of them, `system:authenticated` or `system:unauthenticated` last."""
    credential: str = ""
    """The authentication method that proves it (`x509`, `static-token`, …); empty: known without proof."""

    @property
    def is_node(self) -> bool:
        return NODES in self.groups

    @property
    def service_account(self) -> tuple[str, str] | None:
        """(namespace, name) of a service account; None: no service account."""
        if not self.name.startswith(SERVICE_ACCOUNT):
            return None
        namespace, _, name = self.name.removeprefix(SERVICE_ACCOUNT).partition(":")
        return namespace, name

    def __str__(self) -> str:
        return self.name


@cache
def identity(name: str, groups: tuple[str, ...] = (), credential: str = "") -> Identity:
    """The user of this name. groups: those beside what the name says (nodes, service accounts, authenticated or not)."""
    return Identity(name, (*groups, *(group for group in _groups_of(name) if group not in groups)), credential)


def as_identity(user: Identity | str) -> Identity:
    """A user, or the user of a name."""
    return identity(user) if isinstance(user, str) else user


def service_account(namespace: str, name: str, credential: str = "") -> Identity:
    """The user that a pod's, or a controller's, service account is."""
    return identity(f"{SERVICE_ACCOUNT}{namespace}:{name}", (), credential)


def _groups_of(name: str) -> tuple[str, ...]:
    if name == "system:anonymous":
        return (UNAUTHENTICATED,)
    if name == ANY_NODE or name.startswith(f"{ANY_NODE}:"):
        return NODES, AUTHENTICATED
    if name.startswith(SERVICE_ACCOUNT):
        return SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{name.split(':')[2]}", AUTHENTICATED
    if name.startswith("system:bootstrap:"):
        return BOOTSTRAPPERS, AUTHENTICATED
    if name == "system:apiserver":
        return MASTERS, AUTHENTICATED
    return (AUTHENTICATED,)
