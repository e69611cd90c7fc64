"""What every authentication method says: its costs, and how it proves a credential.

The order of the methods is the API server's own, whatever the scenario's order: client certificates, then bearer tokens
through static tokens, service accounts, bootstrap tokens, OIDC and the webhook (Kubernetes 1.20 source, authenticator
configuration).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

from sim.base.errors import Problems
from sim.base.plugin import Catalog
from sim.base.spec import Spec

if TYPE_CHECKING:
    from simpy.events import Event

    from sim.apiserver.identity import Identity
    from sim.apiserver.pki import PkiSpec
    from sim.apiserver.remote import Remotes
    from sim.engine.clock import Clock
    from sim.engine.cores import Cores
    from sim.etcd.router import EtcdRouter


@dataclass(frozen=True, slots=True)
class Place:
    """Where a method runs."""

    clock: Clock
    machine: Cores
    etcd: EtcdRouter
    pki: PkiSpec
    remotes: Remotes


class Method:
    """A method at work in one API server: local and without memory, unless a subclass says otherwise.

    prove_cpu_s: CPU to accept a credential of its own. refuse_cpu_s: CPU to see that a credential is none of its own.
    """

    waits = False
    """Whether `ask` has to be waited for, also about credentials that are none of its own."""

    def __init__(self, prove_cpu_s: float, refuse_cpu_s: float) -> None:
        self.prove_cpu_s = prove_cpu_s
        self.refuse_cpu_s = refuse_cpu_s

    def ask(self, user: Identity, own: bool) -> Generator[Event, Any, bool]:
        """What has to be waited for, besides the CPU; ends with whether the credential is accepted."""
        yield from ()
        return own


class MethodSpec(Spec):
    """Base of every method's parameters."""

    order: ClassVar[int]
    """Place in the union."""
    bearer: ClassVar[bool] = True
    """Whether it proves bearer tokens; else it proves the connection's client certificate."""
    remote: ClassVar[bool] = False
    """Whether a remote server is asked about each token."""
    constant: ClassVar[bool] = False
    """Whether proving costs the same with and without a memory of the token, to well below a microsecond."""

    @property
    def validity_s(self) -> tuple[float, float]:
        """From when to when its credentials are good."""
        return 0.0, inf

    def build(self, place: Place, name: str) -> Method:
        """The method at work in one API server, under its name in `methods`."""
        raise NotImplementedError

    def check(self, path: str, pki: PkiSpec, problems: Problems) -> None:
        """Add what keeps it from working."""


AUTHENTICATORS: Catalog[type[MethodSpec]] = Catalog("authentication methods", package="sim.apiserver.authentication")
