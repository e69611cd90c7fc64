"""Tenants that leave: the operator deletes their namespaces."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.controllers.operations import DELETE_NAMESPACE
from sim.engine.clock import Clock
from sim.tenancy.spec import Tenant

AGAIN_S = 1.0
"""A deletion that failed is tried again after this; our choice, as the default Retry-After."""


def leave(clock: Clock, tenant: Tenant, client: Client, marked: Callable[[str], None]) -> Generator[Event, Any, None]:
    """Process: one tenant's leave at its time. marked: told of each namespace whose deletion is stored."""
    yield clock.timeout(tenant.leaves_at_s)
    for namespace in tenant.namespaces:
        while (yield from client.send(DELETE_NAMESPACE, "")) != 200:
            yield clock.timeout(AGAIN_S)
        marked(namespace)
