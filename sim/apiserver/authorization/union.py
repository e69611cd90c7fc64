"""All authorizers of one API server in their order, with the decisions that need no asking remembered."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from simpy.events import Event

from sim.apiserver.authorization.attributes import Attributes, attributes_of
from sim.apiserver.authorization.catalog import Authorizer, Bench, Opinion
from sim.apiserver.authorization.spec import AuthorizationSpec
from sim.apiserver.identity import MASTERS, Identity
from sim.apiserver.request import Operation

Key = tuple[Identity, Operation, str]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is known of a request beforehand."""

    code: int
    """0: allowed; 403: refused; 500: an authorizer failed and nobody else allowed it."""
    cpu_s: float
    ask: bool = False
    """Somebody has to be asked: see `Authorization.ask`. `cpu_s` then counts only up to there."""


class _Decisions(dict[Key, Decision]):
    """(user, operation, namespace) -> decision; worked out when first asked for."""

    def __init__(self, work_out: Callable[[Identity, Operation, str], Decision]) -> None:
        self._work_out = work_out

    def __missing__(self, key: Key) -> Decision:
        decision = self[key] = self._work_out(*key)
        return decision


class Authorization:
    """The authorizers of one API server. `decisions[user, operation, namespace]` is what a request needs to know."""

    def __init__(self, bench: Bench, spec: AuthorizationSpec) -> None:
        self._bench = bench
        self.authorizers: dict[str, Authorizer] = {name: spec.methods[name].build(bench, name) for name in spec.modes}
        self.decisions: dict[Key, Decision] = _Decisions(self._decide)

    def decide(self, asked: Attributes) -> Decision:
        """The decision as far as it can be known at once."""
        if MASTERS in asked.user.groups:
            return Decision(0, 0.0)
        cpu_s = 0.0
        for authorizer in self.authorizers.values():
            if authorizer.waits:
                return Decision(0, cpu_s, ask=True)
            opinion, cost_s = authorizer.opinion(asked)
            cpu_s += cost_s
            if opinion is Opinion.ALLOW:
                return Decision(0, cpu_s)
            if opinion is Opinion.DENY:
                break
        return Decision(403, cpu_s)

    def ask(self, user: Identity, operation: Operation, namespace: str) -> Generator[Event, Any, int]:
        """Process: ask every authorizer in turn; ends with the code of `Decision`."""
        code = yield from self.ask_about(attributes_of(user, operation, namespace))
        return code

    def ask_about(self, asked: Attributes) -> Generator[Event, Any, int]:
        """`ask` for attributes."""
        failed = False
        for authorizer in self.authorizers.values():
            if authorizer.waits:
                opinion = yield from authorizer.ask(asked)
            else:
                opinion, cost_s = authorizer.opinion(asked)
                yield self._bench.machine.work(cost_s)
            if opinion is Opinion.ALLOW:
                return 0
            if opinion is Opinion.DENY:
                return 403
            failed |= opinion is Opinion.FAILED
        return 500 if failed else 403

    def _decide(self, user: Identity, operation: Operation, namespace: str) -> Decision:
        return self.decide(attributes_of(user, operation, namespace))
