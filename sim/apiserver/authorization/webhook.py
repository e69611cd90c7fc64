"""Access reviews by a webhook: a remote server decides, and its answers are kept for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.authorization.attributes import Attributes
from sim.apiserver.authorization.catalog import AUTHORIZERS, Authorizer, AuthorizerSpec, Bench, Opinion
from sim.apiserver.remote import Remote, RemoteSpec
from sim.base.errors import Problems
from sim.base.spec import param


class _Reviewer(Authorizer):
    """Allows components everything and each tenant everything in its own namespaces; keeps the answers it was given."""

    waits = True

    def __init__(self, bench: Bench, spec: WebhookAuthorizer, remote: Remote) -> None:
        self._bench = bench
        self._spec = spec
        self._remote = remote
        self._answers: OrderedDict[Attributes, tuple[float, Opinion]] = OrderedDict()

    def ask(self, asked: Attributes) -> Generator[Event, Any, Opinion]:
        clock, spec = self._bench.clock, self._spec
        yield self._bench.machine.work(spec.cache_cpu_s)
        until_s, opinion = self._answers.get(asked, (0.0, Opinion.NONE))
        if clock._now < until_s:
            self._answers.move_to_end(asked)
            return opinion
        yield self._bench.machine.work(spec.review_cpu_s)
        if not (yield from self._remote.ask()):
            return Opinion.FAILED
        user = asked.user.name
        allowed = user.startswith("system:") or self._bench.owners.get(asked.namespace) == user
        opinion = Opinion.ALLOW if allowed else Opinion.NONE
        if asked.name is None:  # an object that the simulation does not name: taken to be another than the one before
            return opinion
        self._answers[asked] = (clock._now + (spec.allowed_s if allowed else spec.denied_s), opinion)
        self._answers.move_to_end(asked)
        if len(self._answers) > spec.cache_entries:
            self._answers.popitem(last=False)
        return opinion


@AUTHORIZERS.register("webhook")
class WebhookAuthorizer(AuthorizerSpec):
    """`--authorization-webhook-config-file`: a SubjectAccessReview is posted to a remote server."""

    server: RemoteSpec | None = param(None, "the remote server; must be given")
    allowed_s: float = param(
        300.0, "what was allowed is kept so long", source="Kubernetes 1.20 source, authorization options", ge=0, le=1e6
    )
    denied_s: float = param(
        30.0,
        "what was not allowed is kept so long",
        source="Kubernetes 1.20 source, authorization options",
        ge=0,
        le=1e6,
    )
    cache_entries: int = param(
        8192, "answers kept, the least recently used go first", source="Kubernetes 1.20 source, webhook authorizer",
        ge=1, le=10_000_000,
    )  # fmt: skip
    cache_cpu_s: float = param(
        1.0e-5, "encode the review as a key and look it up", source="our estimate", unverified=True, ge=0, le=0.1
    )
    review_cpu_s: float = param(
        3.0e-4, "send a SubjectAccessReview and decode the answer", source="our estimate", unverified=True, ge=0, le=0.1
    )

    def build(self, bench: Bench, name: str) -> Authorizer:
        assert self.server is not None
        return _Reviewer(bench, self, bench.remotes.of(f"authorization.{name}", self.server))

    def check(self, path: str, problems: Problems) -> None:
        if self.server is None:
            problems.add(f"{path}.server", None, "must be given: a webhook without capacity", "such as {workers: 10}")
