"""All methods of one API server in their order, with the memory of bearer tokens in front of them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from math import inf
from typing import Any

from simpy.events import Event

from sim.apiserver.authentication.catalog import Method, MethodSpec, Place
from sim.apiserver.authentication.spec import LOOPBACK, AuthenticationSpec
from sim.apiserver.identity import Identity
from sim.engine.clock import fire

ASK = -1.0
"""In place of a cost: it is not known beforehand; see `Authentication.prove`."""


class Credentials:
    """Which users' credentials have expired or been taken away; the API servers of a cluster share one."""

    def __init__(self) -> None:
        self.spoilt: set[Identity] = set()
        self._listeners: list[Callable[[Identity], None]] = []

    def listen(self, changed: Callable[[Identity], None]) -> None:
        """Call `changed(user)` when a user's credential goes bad or good."""
        self._listeners.append(changed)

    def spoil(self, user: Identity) -> None:
        """From now on the user's credential is bad."""
        self.spoilt.add(user)
        self._tell(user)

    def renew(self, user: Identity) -> None:
        """The user has a good credential again."""
        self.spoilt.discard(user)
        self._tell(user)

    def _tell(self, user: Identity) -> None:
        for changed in self._listeners:
            changed(user)


class _KnownCosts(dict[Identity, float]):
    """User -> CPU seconds; worked out when first asked for, so that the next request costs one look-up."""

    def __init__(self, work_out: Callable[[Identity], float]) -> None:
        self._work_out = work_out

    def __missing__(self, user: Identity) -> float:
        cost_s = self[user] = self._work_out(user)
        return cost_s


class Authentication:
    """The authenticators of one API server.

    A request's cost is `known_cpu_s[user]`, and nothing has to be waited for, where this is not negative: client
    certificates and static tokens. Else `cost_s(user)` tells whether the token is remembered, or can be checked at once.
    What is negative there too takes a process, `prove`, that ends with True, or False for 401.
    """

    def __init__(self, place: Place, spec: AuthenticationSpec, credentials: Credentials) -> None:
        self._place = place
        self._spec = spec
        self._credentials = credentials
        ordered = sorted(((spec.methods[mode], mode) for mode in spec.modes), key=lambda pair: pair[0].order)
        self._specs: dict[str, MethodSpec] = {name: method for method, name in ordered}
        self._methods: dict[str, Method] = {name: method.build(place, name) for method, name in ordered}
        self._bearers = [name for name, method in self._specs.items() if method.bearer]
        self.known_cpu_s: dict[Identity, float] = _KnownCosts(self._known)
        self._good_until_s: dict[Identity, float] = {}
        self._bad_until_s: dict[Identity, float] = {}
        self._local_cpu_s: dict[Identity, float] = {}
        self._under_way: dict[Identity, Event] = {}
        self.refused = 0
        credentials.listen(self._forget)
        for method in self._specs.values():
            for at_s in method.validity_s:
                if 0 < at_s < inf:
                    place.clock.at(at_s, lambda _: self.known_cpu_s.clear())

    def by_certificate(self, user: Identity) -> bool:
        """Whether the user proves itself by a client certificate."""
        return self._spec.by_certificate(user)

    def valid(self, user: Identity) -> bool:
        """Whether the user's credential is good now."""
        method = self._specs.get(self._spec.method_of(user))
        if method is None:
            return self._spec.method_of(user) == LOOPBACK
        begin_s, end_s = method.validity_s
        return user not in self._credentials.spoilt and begin_s <= self._place.clock._now < end_s

    def cost_s(self, user: Identity) -> float:
        """CPU seconds to accept a bearer token; `ASK` when it has to be waited for, or may be refused."""
        now = self._place.clock._now
        if now < self._good_until_s.get(user, 0.0):
            return self._spec.token_cache_cpu_s
        cost_s = self._local_cpu_s.get(user)
        if cost_s is None:
            cost_s = self._local_cpu_s[user] = self._local(user)
        if cost_s >= 0:
            self._good_until_s[user] = now + self._spec.token_success_s
        return cost_s

    def each(self, user: Identity) -> tuple[bool, float]:
        """(accepted, CPU seconds) for each of many users behind one identity, whose tokens nobody remembers."""
        cost_s = self.known_cpu_s[user]
        if cost_s >= 0:
            return True, cost_s
        accepted, name = self.valid(user), self._spec.method_of(user)
        if self._specs[name].bearer:
            return accepted, self._spec.token_cache_cpu_s + self._bearer_cpu_s(name if accepted else "")
        return accepted, self._methods[name].prove_cpu_s

    def prove(self, user: Identity) -> Generator[Event, Any, bool]:
        """The long way: every method in its order, until one accepts."""
        machine = self._place.machine
        name = self._spec.method_of(user)
        if not self._specs[name].bearer:
            yield machine.work(self._methods[name].prove_cpu_s)
            accepted = self.valid(user)
        else:
            yield machine.work(self._spec.token_cache_cpu_s)
            accepted = yield from self._prove_token(user)
        self.refused += not accepted
        return accepted

    def _prove_token(self, user: Identity) -> Generator[Event, Any, bool]:
        now = self._place.clock._now
        if now < self._good_until_s.get(user, 0.0):
            return True
        if now < self._bad_until_s.get(user, 0.0):
            return False
        if user in self._under_way:  # requests with the same token wait for one answer
            shared: bool = yield self._under_way[user]
            return shared
        answer = self._under_way[user] = Event(self._place.clock)
        accepted = False
        try:
            accepted = yield from self._walk(user)
            until_s = self._good_until_s if accepted else self._bad_until_s
            kept_s = self._spec.token_success_s if accepted else self._spec.token_failure_s
            until_s[user] = self._place.clock._now + kept_s
        finally:  # also when the server dies over it
            del self._under_way[user]
            fire(answer, accepted)
        return accepted

    def _walk(self, user: Identity) -> Generator[Event, Any, bool]:
        own = self._spec.method_of(user) if self.valid(user) else ""
        cpu_s = 0.0
        for name in self._bearers:
            method = self._methods[name]
            cpu_s += method.prove_cpu_s if name == own else method.refuse_cpu_s
            if not method.waits:
                if name == own:
                    break
                continue
            yield self._place.machine.work(cpu_s)
            cpu_s = 0.0
            if (yield from method.ask(user, name == own)):
                return True
        yield self._place.machine.work(cpu_s)
        return own in self._bearers and not self._methods[own].waits

    def _known(self, user: Identity) -> float:
        name = self._spec.method_of(user)
        if name == LOOPBACK:
            return 0.0
        if not self.valid(user):
            return ASK
        if not self._specs[name].bearer:
            return self._methods[name].prove_cpu_s
        if self._specs[name].constant:
            return self._spec.token_cache_cpu_s + self._bearer_cpu_s(name)
        return ASK

    def _local(self, user: Identity) -> float:
        name = self._spec.method_of(user)
        if not self.valid(user) or not self._specs[name].bearer or self._methods[name].waits:
            return ASK
        return self._spec.token_cache_cpu_s + self._bearer_cpu_s(name)

    def _bearer_cpu_s(self, own: str) -> float:
        """CPU of a walk up to the method `own`, which accepts; of a whole walk where it is none of them."""
        cpu_s = 0.0
        for name in self._bearers:
            if name == own:
                return cpu_s + self._methods[name].prove_cpu_s
            cpu_s += self._methods[name].refuse_cpu_s
        return cpu_s

    def _forget(self, user: Identity) -> None:
        """The user's credential has changed; a token that was accepted stays so for its time, as in the real one."""
        self.known_cpu_s.pop(user, None)
        self._local_cpu_s.pop(user, None)
        if user not in self._credentials.spoilt:  # it comes with a new token
            self._bad_until_s.pop(user, None)
