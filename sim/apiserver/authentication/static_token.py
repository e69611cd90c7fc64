"""The static token file: one look-up in memory."""

from __future__ import annotations

from sim.apiserver.authentication.catalog import AUTHENTICATORS, Method, MethodSpec, Place
from sim.base.spec import param


@AUTHENTICATORS.register("static-token")
class StaticToken(MethodSpec):
    """`--token-auth-file`, read once when the server starts."""

    order = 1
    constant = True

    lookup_cpu_s: float = param(
        1.0e-6, "per request: look the bearer token up", source="our estimate", unverified=True, ge=0, le=0.1
    )

    def build(self, place: Place, name: str) -> Method:
        return Method(prove_cpu_s=self.lookup_cpu_s, refuse_cpu_s=self.lookup_cpu_s)
