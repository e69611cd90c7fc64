"""Everything is allowed, or nothing: for tests of the control plane, and as the last word after others."""

from __future__ import annotations

from sim.apiserver.authorization.attributes import Attributes
from sim.apiserver.authorization.catalog import AUTHORIZERS, Authorizer, AuthorizerSpec, Bench, Opinion


class _Always(Authorizer):
    def __init__(self, opinion: Opinion) -> None:
        self._opinion = opinion

    def opinion(self, asked: Attributes) -> tuple[Opinion, float]:
        return self._opinion, 0.0


@AUTHORIZERS.register("always-allow")
class AlwaysAllow(AuthorizerSpec):
    """`--authorization-mode=AlwaysAllow`."""

    def build(self, bench: Bench, name: str) -> Authorizer:
        return _Always(Opinion.ALLOW)


@AUTHORIZERS.register("always-deny")
class AlwaysDeny(AuthorizerSpec):
    """`--authorization-mode=AlwaysDeny`: no opinion on anything."""

    def build(self, bench: Bench, name: str) -> Authorizer:
        return _Always(Opinion.NONE)
