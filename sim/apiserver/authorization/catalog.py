"""What every authorizer says: its opinion of a request, and what the look-up costs."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from sim.base.errors import Problems
from sim.base.plugin import Catalog
from sim.base.spec import Spec

if TYPE_CHECKING:
    from simpy.events import Event

    from sim.apiserver.authorization.attributes import Attributes
    from sim.apiserver.authorization.policy import Binding, Role
    from sim.apiserver.remote import Remotes
    from sim.engine.clock import Clock
    from sim.engine.cores import Cores


class Opinion(Enum):
    """An authorizer's answer. What nobody allows is refused."""

    ALLOW = "allow"
    DENY = "deny"
    """Refused, whatever later authorizers would say."""
    NONE = "no opinion"
    FAILED = "failed"
    """No opinion because something broke; if nobody later allows the request, it is answered 500 and not 403."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where an authorizer runs, and what it knows of the cluster."""

    clock: Clock
    machine: Cores
    remotes: Remotes
    version: str
    """Of Kubernetes: "1.20"."""
    owners: Mapping[str, str]
    """Namespace -> its tenant's user, in the order of tenants."""
    base_dir: str
    """Where relative paths start."""
    add_ons: tuple[tuple[Role, Binding], ...] = ()
    """What the manifests of the cluster's add-ons bring for their service accounts."""


class Authorizer:
    """An authorizer at work. `opinion` answers at once unless `waits`, and then `ask` does."""

    waits = False

    def opinion(self, asked: Attributes) -> tuple[Opinion, float]:
        """The opinion, and the CPU seconds that it takes."""
        raise NotImplementedError

    def ask(self, asked: Attributes) -> Generator[Event, Any, Opinion]:
        """A process that ends with the opinion."""
        raise NotImplementedError


class AuthorizerSpec(Spec):
    """Base of every authorizer's parameters."""

    def build(self, bench: Bench, name: str) -> Authorizer:
        """The authorizer at work in one API server, under its name in `methods`. `InputError` where files that it reads cannot be used."""
        raise NotImplementedError

    def check(self, path: str, problems: Problems) -> None:
        """Add what keeps it from working."""

    def check_files(self, path: str, version: str, base_dir: str, problems: Problems) -> None:
        """Read the files that it needs, and add what is wrong with them."""


AUTHORIZERS: Catalog[type[AuthorizerSpec]] = Catalog("authorizers", package="sim.apiserver.authorization")
