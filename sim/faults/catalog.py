"""What every fault says: when it strikes, and what it does then."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sim.base.errors import Problems, near_miss
from sim.base.plugin import Catalog
from sim.base.spec import Spec, param

if TYPE_CHECKING:
    from simpy.events import Event

    from sim.apiserver.authentication.union import Credentials
    from sim.apiserver.client import Client
    from sim.apiserver.remote import Remote
    from sim.apiserver.replicas import ApiServers
    from sim.controllers.replicas import Replicas
    from sim.engine.clock import Clock
    from sim.etcd.store import Etcd
    from sim.node_lifecycle.faults import NodeFaults


@dataclass(frozen=True, slots=True)
class Struck:
    """What faults can reach."""

    clock: Clock
    etcd: Mapping[str, Etcd]
    """Groups by name."""
    schedulers: Replicas | None
    """None: one scheduler that nobody can take over from."""
    nodes: NodeFaults | None = None
    """None: no fault of the scenario is about nodes."""
    credentials: Credentials | None = None
    """Users' proofs of identity."""
    tenant_client: Callable[[str], tuple[Client, str]] | None = None
    """Makes a client for another program of a tenant, with the namespace that it is at home in."""
    webhooks: Mapping[str, Remote] = field(default_factory=dict)
    """Servers behind webhooks: of admission by the webhook's name; others as `authentication.NAME`, `authorization.NAME`."""
    servers: ApiServers | None = None
    """None: there is one API server, and no fault of the scenario strikes it."""
    managers: Replicas | None = None
    """None: one controller manager that never dies."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What a scenario has that faults may name."""

    etcd_members: Mapping[str, int]
    """Number of members of each group of etcd."""
    schedulers: int
    users: Mapping[str, bool]
    """Components and tenants by the names of their identities, and whether they prove themselves by a client certificate."""
    nodes: Mapping[str, str] = field(default_factory=dict)
    """Zones by the names of the nodes; none where the nodes come with the workload."""
    apiservers: int = 1
    managers: int = 1
    """Controller managers."""


class FaultSpec(Spec):
    """Base of every fault: at given times, or at random with a mean time between two, or both."""

    at_s: tuple[float, ...] = param((), "strikes at these times")
    mean_between_s: float | None = param(None, "and at random: mean time from one strike to the next, exponential", gt=0, le=1e9)

    def strike(self, struck: Struck) -> Generator[Event, Any, None]:
        """Process: begin, wait as long as it lasts, and put things right."""
        raise NotImplementedError

    def prepare(self, struck: Struck) -> None:
        """Called shortly before a strike."""

    def check_built(self, path: str, struck: Struck, problems: Problems) -> None:
        """Report what does not fit and is known only when the cluster is built: what the load brings."""

    def check(self, path: str, targets: Targets, problems: Problems) -> None:
        """Report what does not fit the scenario."""
        if not self.at_s and self.mean_between_s is None:
            problems.add(path, self.at_s, "never strikes", "give at_s or mean_between_s")
        for number, at_s in enumerate(self.at_s):
            if at_s < 0:
                problems.add(f"{path}.at_s[{number}]", at_s, "must be at least 0")


class EtcdFaultSpec(FaultSpec):
    """Base of the faults of one etcd group."""

    group: str = param("main", "the group of etcd that it strikes")

    def prepare(self, struck: Struck) -> None:
        """From here on the group is simulated message by message, so that what is under way is known when it strikes."""
        struck.etcd[self.group].attend()

    def check(self, path: str, targets: Targets, problems: Problems) -> None:
        super().check(path, targets, problems)
        if self.group not in targets.etcd_members:
            hint = near_miss(self.group, targets.etcd_members)
            problems.add(f"{path}.group", self.group, "is no group of etcd", hint)

    def check_member(self, path: str, member: int, targets: Targets, problems: Problems) -> None:
        """Report a member that the group does not have."""
        size = targets.etcd_members.get(self.group)
        if size is not None and member >= size:
            problems.add(path, member, f"is no member of the group '{self.group}'", f"its members are 0 to {size - 1}")


FAULTS: Catalog[type[FaultSpec]] = Catalog("faults", package="sim.faults")
