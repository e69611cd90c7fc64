"""Token review by a webhook, such as Keystone's: a remote server says whom an opaque token belongs to."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.authentication.catalog import AUTHENTICATORS, Method, MethodSpec, Place
from sim.apiserver.identity import Identity
from sim.apiserver.pki import PkiSpec
from sim.apiserver.remote import Remote, RemoteSpec
from sim.base.errors import Problems
from sim.base.spec import param


class _Reviewer(Method):
    """Keeps each answer, good or bad, for a while; no answer is not kept."""

    waits = True

    def __init__(self, place: Place, remote: Remote, cache_s: float, review_cpu_s: float) -> None:
        super().__init__(0.0, 0.0)
        self._place = place
        self._remote = remote
        self._cache_s = cache_s
        self._review_cpu_s = review_cpu_s
        self._answers: dict[Identity, tuple[float, bool]] = {}

    def ask(self, user: Identity, own: bool) -> Generator[Event, Any, bool]:
        until_s, accepted = self._answers.get(user, (0.0, False))
        clock = self._place.clock
        if clock._now < until_s:
            return accepted
        yield self._place.machine.work(self._review_cpu_s)
        if not (yield from self._remote.ask()):
            return False
        self._answers[user] = (clock._now + self._cache_s, own)
        return own


@AUTHENTICATORS.register("webhook")
class TokenWebhook(MethodSpec):
    """`--authentication-token-webhook-config-file`: a TokenReview is posted to a remote server."""

    order = 5
    remote = True

    server: RemoteSpec | None = param(None, "the remote server; must be given")
    cache_s: float = param(
        120.0, "answers are kept so long", source="Kubernetes 1.20 source, authentication options", ge=0, le=1e6
    )
    review_cpu_s: float = param(
        3.0e-4,
        "encode a TokenReview, send it and decode the answer",
        source="our estimate",
        unverified=True,
        ge=0,
        le=0.1,
    )

    def build(self, place: Place, name: str) -> Method:
        assert self.server is not None
        return _Reviewer(
            place, place.remotes.of(f"authentication.{name}", self.server), self.cache_s, self.review_cpu_s
        )

    def check(self, path: str, pki: PkiSpec, problems: Problems) -> None:
        if self.server is None:
            problems.add(f"{path}.server", None, "must be given: a webhook without capacity", "such as {workers: 10}")
