"""A user's client certificate expires."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.identity import identity
from sim.base.errors import Problems, near_miss
from sim.base.spec import param
from sim.faults.catalog import FAULTS, FaultSpec, Struck, Targets


@FAULTS.register("expired-certificate")
class ExpiredCertificate(FaultSpec):
    """A component's or tenant's client certificate expires; until it is rotated, each of its requests is answered 401.

    Kubelets whose heartbeats are refused so for longer than the grace are silent to the node life cycle controller."""

    user: str = param(
        "system:kube-scheduler", "a component (system:kube-scheduler, system:node for all kubelets, …) or a tenant"
    )
    for_s: float = param(600.0, "until a new certificate is in place", gt=0, le=1e9)

    def check(self, path: str, targets: Targets, problems: Problems) -> None:
        super().check(path, targets, problems)
        if self.user not in targets.users:
            hint = near_miss(self.user, targets.users)
            problems.add(f"{path}.user", self.user, "is neither a component nor a tenant", hint)
        elif not targets.users[self.user]:
            hint = "see apiserver.authentication"
            problems.add(f"{path}.user", self.user, "proves itself without a client certificate", hint)

    def strike(self, struck: Struck) -> Generator[Event, Any, None]:
        assert struck.credentials is not None
        struck.credentials.spoil(identity(self.user))
        yield struck.clock.timeout(self.for_s)
        struck.credentials.renew(identity(self.user))
