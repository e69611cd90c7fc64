"""One tenant floods the API server."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal

from simpy.events import Event

from sim.apiserver.client import Client
from sim.apiserver.request import GET_POD, Operation, list_operation
from sim.base.errors import Problems, near_miss
from sim.base.spec import param
from sim.faults.catalog import FAULTS, FaultSpec, Struck, Targets

CREATE_CONFIG = Operation("POST", "configmaps", "create_cpu_s", writes=1, keys=1)
DELETE_CONFIG = Operation("DELETE", "configmaps", "delete_cpu_s", reads=1, writes=1, keys=-1)
ROUNDS: dict[str, tuple[Operation, ...]] = {
    "list": (list_operation("pods", scope="namespace"),),
    "list-cached": (list_operation("pods", scope="namespace", version="any"),),
    "get": (GET_POD,),
    "create-delete": (CREATE_CONFIG, DELETE_CONFIG),
}
"""What is sent each time, one after the other: lists and gets of pods, or ConfigMaps that come and go at once."""


@FAULTS.register("request-flood")
class RequestFlood(FaultSpec):
    """A tenant's program sends requests at a rate, evenly and without a limit of its own, from one process."""

    tenant: str = param("tenant-1", "whose program it is")
    requests: Literal["list", "list-cached", "get", "create-delete"] = param(
        "list",
        "lists of its namespace's pods (from etcd, or from the server's cache), gets of a pod, or objects created and deleted",
    )
    rate_per_s: float = param(200.0, "rounds begun a second", gt=0, le=1e6)
    for_s: float = param(60.0, "how long", gt=0, le=1e9)
    at_once: int = param(
        1000, "rounds under way at most; while so many are, no other is begun", source="our choice", ge=1, le=1_000_000
    )

    def check(self, path: str, targets: Targets, problems: Problems) -> None:
        super().check(path, targets, problems)
        if self.tenant not in targets.users or self.tenant.startswith("system:"):
            tenants = [user for user in targets.users if not user.startswith("system:")]
            problems.add(f"{path}.tenant", self.tenant, "is no tenant", near_miss(self.tenant, tenants))

    def strike(self, struck: Struck) -> Generator[Event, Any, None]:
        assert struck.tenant_client is not None
        client, namespace = struck.tenant_client(self.tenant)
        under_way: list[Event] = []
        period_s = 1 / self.rate_per_s
        for _ in range(round(self.for_s * self.rate_per_s)):
            if len(under_way) >= self.at_once:
                under_way = [event for event in under_way if event.callbacks is not None]
            if len(under_way) < self.at_once:
                under_way.append(struck.clock.start(_round(client, namespace, ROUNDS[self.requests])))
            yield struck.clock.timeout(period_s)


def _round(client: Client, namespace: str, operations: tuple[Operation, ...]) -> Generator[Event, Any, None]:
    """Send the requests of one round, each after the answer to the one before, while the answers are good."""
    for operation in operations:
        code = yield from client.send(operation, namespace)
        if code >= 400:
            return
