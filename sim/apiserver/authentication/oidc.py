"""OpenID Connect: tokens signed by an identity provider whose keys are fetched and kept for a while."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.authentication.catalog import AUTHENTICATORS, Method, MethodSpec, Place
from sim.apiserver.identity import Identity
from sim.apiserver.pki import PkiSpec
from sim.apiserver.remote import Remote, RemoteSpec
from sim.base.errors import Problems, near_miss
from sim.base.spec import param
from sim.engine.clock import fire


class _Provider(Method):
    """Fetches the provider's keys when it has none that are fresh; requests meanwhile wait for the same fetch."""

    waits = True

    def __init__(self, place: Place, remote: Remote, keys_s: float, prove_cpu_s: float, refuse_cpu_s: float) -> None:
        super().__init__(prove_cpu_s, refuse_cpu_s)
        self._clock = place.clock
        self._remote = remote
        self._keys_s = keys_s
        self._fresh_until_s = 0.0
        self._fetch: Event | None = None

    def ask(self, user: Identity, own: bool) -> Generator[Event, Any, bool]:
        if not own:
            return False
        if self._clock._now < self._fresh_until_s:
            return True
        if self._fetch is not None:
            fetched: bool = yield self._fetch
            return fetched
        fetch = self._fetch = Event(self._clock)
        answered = False
        try:
            answered = yield from self._remote.ask()
            if answered:
                self._fresh_until_s = self._clock._now + self._keys_s
        finally:  # also when the server dies over it
            self._fetch = None
            fire(fetch, answered)
        return answered


@AUTHENTICATORS.register("oidc")
class Oidc(MethodSpec):
    """`--oidc-issuer-url`; the signature is checked locally."""

    order = 4

    provider: RemoteSpec | None = param(None, "the identity provider, asked for its keys; must be given")
    key: str = param("rsa-2048", "the key that signs the tokens", source="RS256, the specification's default")
    keys_s: float = param(
        3600.0, "fetched keys are kept so long", source="our choice; providers say so in Cache-Control", gt=0, le=1e9
    )
    decode_cpu_s: float = param(
        4.0e-5, "decode a token and check its claims", source="our estimate", unverified=True, ge=0, le=0.1
    )
    refuse_cpu_s: float = param(
        2.0e-6, "see that a token is of another kind or issuer", source="our estimate", unverified=True, ge=0, le=0.1
    )

    def build(self, place: Place, name: str) -> Method:
        assert self.provider is not None
        cost_s = self.decode_cpu_s + place.pki.keys[self.key].verify_cpu_s
        return _Provider(
            place, place.remotes.of(f"authentication.{name}", self.provider), self.keys_s, cost_s, self.refuse_cpu_s
        )

    def check(self, path: str, pki: PkiSpec, problems: Problems) -> None:
        if self.provider is None:
            problems.add(f"{path}.provider", None, "must be given: somebody has to answer", "such as {workers: 10}")
        if self.key not in pki.keys:
            problems.add(f"{path}.key", self.key, "is no kind of key", near_miss(self.key, pki.keys))
