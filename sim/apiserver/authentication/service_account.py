"""Service accounts: a signed token whose account, and before bound tokens whose secret, must still exist."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.authentication.catalog import AUTHENTICATORS, Method, MethodSpec, Place
from sim.apiserver.identity import Identity
from sim.apiserver.pki import PkiSpec
from sim.base.errors import Problems, near_miss
from sim.base.spec import param


class _LooksUp(Method):
    """Reads the account and its secret from etcd before it accepts."""

    waits = True

    def __init__(self, place: Place, reads: int, prove_cpu_s: float, refuse_cpu_s: float) -> None:
        super().__init__(prove_cpu_s, refuse_cpu_s)
        self._place = place
        self._reads = reads

    def ask(self, user: Identity, own: bool) -> Generator[Event, Any, bool]:
        if not own:
            return False
        error = yield self._place.etcd.of("secrets").range(self._reads)
        return not error


@AUTHENTICATORS.register("service-account")
class ServiceAccount(MethodSpec):
    """JSON Web Tokens signed by the cluster: of controllers and of pods."""

    order = 2

    key: str = param("rsa-2048", "the key that signs them", source="kubeadm's default")
    decode_cpu_s: float = param(
        4.0e-5, "decode a token and check its claims", source="our estimate", unverified=True, ge=0, le=0.1
    )
    refuse_cpu_s: float = param(
        2.0e-6, "see that a token is of another kind or issuer", source="our estimate", unverified=True, ge=0, le=0.1
    )
    lookup_cpu_s: float = param(
        5.0e-6, "look account and secret, or account and pod, up in the server's caches",
        source="our estimate", unverified=True, ge=0, le=0.1,
    )  # fmt: skip
    reads: int = param(
        0, "etcd reads of each verification: account and secret were read anew in 1.12, from informers' caches since",
        source="Kubernetes 1.12 and 1.20 source, service account token getters", unverified=True, ge=0, le=10,
    )  # fmt: skip

    def build(self, place: Place, name: str) -> Method:
        cost_s = self.decode_cpu_s + place.pki.keys[self.key].verify_cpu_s + self.lookup_cpu_s
        if self.reads:
            return _LooksUp(place, self.reads, cost_s, self.refuse_cpu_s)
        return Method(cost_s, self.refuse_cpu_s)

    def check(self, path: str, pki: PkiSpec, problems: Problems) -> None:
        if self.key not in pki.keys:
            problems.add(f"{path}.key", self.key, "is no kind of key", near_miss(self.key, pki.keys))
