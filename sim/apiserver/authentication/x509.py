"""Client certificates: the connection carries the chain, and each request on it verifies the chain anew."""

from __future__ import annotations

from math import inf

from sim.apiserver.authentication.catalog import AUTHENTICATORS, Method, MethodSpec, Place
from sim.apiserver.pki import PkiSpec
from sim.base.errors import Problems
from sim.base.spec import param


@AUTHENTICATORS.register("x509")
class X509(MethodSpec):
    """The handshake asks for the certificate without checking its chain; the authenticator does, a request at a time.

    So a certificate that expires is refused on open connections too. Source: Kubernetes 1.20 source, x509 authenticator.
    """

    order = 0
    bearer = False

    chain_cpu_s: float = param(
        1.5e-5, "per request: find the chain and read its subject, besides the signatures in it",
        source="our estimate; certificate GETs cost 0.02 to 0.11 ms more than token GETs, Kubernetes 1.20.2",
        unverified=True, ge=0, le=0.1,
    )  # fmt: skip
    valid_from_s: float = param(0.0, "client certificates are valid from here on", ge=0, le=1e9)
    valid_until_s: float | None = param(None, "and expire here: from then on they are answered 401; null: never", gt=0)

    @property
    def validity_s(self) -> tuple[float, float]:
        return self.valid_from_s, inf if self.valid_until_s is None else self.valid_until_s

    def build(self, place: Place, name: str) -> Method:
        cost_s = self.chain_cpu_s + place.pki.client_chain * place.pki.authority.verify_cpu_s
        return Method(prove_cpu_s=cost_s, refuse_cpu_s=cost_s)

    def check(self, path: str, pki: PkiSpec, problems: Problems) -> None:
        if self.valid_until_s is not None and self.valid_until_s <= self.valid_from_s:
            rule = f"must be after valid_from_s ({self.valid_from_s:g}): the certificate expires before it begins"
            problems.add(f"{path}.valid_until_s", self.valid_until_s, rule)
