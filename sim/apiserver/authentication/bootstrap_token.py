"""Bootstrap tokens: short-lived secrets of kube-system by which new nodes ask for their certificate."""

from __future__ import annotations

from sim.apiserver.authentication.catalog import AUTHENTICATORS, Method, MethodSpec, Place
from sim.base.spec import param


@AUTHENTICATORS.register("bootstrap-token")
class BootstrapToken(MethodSpec):
    """`--enable-bootstrap-token-auth`: the secret is looked up by the token's id in the server's cache of secrets."""

    order = 3

    lookup_cpu_s: float = param(
        1.0e-5, "look the secret up, compare it, read its expiry", source="our estimate", unverified=True, ge=0, le=0.1
    )
    refuse_cpu_s: float = param(
        1.0e-6, "see that a token has not the form of one", source="our estimate", unverified=True, ge=0, le=0.1
    )

    def build(self, place: Place, name: str) -> Method:
        return Method(self.lookup_cpu_s, self.refuse_cpu_s)
