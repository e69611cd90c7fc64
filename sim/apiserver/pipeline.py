"""A request's way through the API server: authenticate, flow control, authorize, admit, store, answer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from math import ceil
from typing import Any

from simpy.events import Event

from sim.apiserver.admission.chain import Admission, NewPod
from sim.apiserver.admission.resource_quota import QuotaEvaluator
from sim.apiserver.authentication.union import Authentication
from sim.apiserver.authorization.union import Authorization
from sim.apiserver.connections import Connection, Connections
from sim.apiserver.flow_control.catalog import TOO_MANY_REQUESTS
from sim.apiserver.flow_control.fair_queuing import Request
from sim.apiserver.identity import Identity
from sim.apiserver.listing import Lists
from sim.apiserver.request import ListOperation, Operation
from sim.apiserver.request_log import RequestLog
from sim.apiserver.spec import ApiServerSpec
from sim.apiserver.storage import Price, Storage
from sim.apiserver.watch import WatchHub
from sim.engine.clock import Clock
from sim.engine.cores import Cores

Guard = Callable[[], bool]
CONFLICT = 409


def done(operation: Operation) -> int:
    """Status of an answer to a request that did what it asked for."""
    return 201 if operation.verb == "POST" else 200


def _leave_later(way: Request) -> None:
    """A request is abandoned while it waits for its seat: it gives it back when it gets it."""
    assert way.event is not None
    way.event.callbacks.append(lambda _: None if way.code else way.level.leave(way))


class ApiServer:
    """One API server. `serve` is a process that ends with the HTTP status of the answer.

    It may be abandoned at any wait, when the server dies: what it holds is given back in `finally`.
    index: its number among the cluster's API servers.
    """

    def __init__(
        self,
        clock: Clock,
        spec: ApiServerSpec,
        cores: Cores,
        storage: Storage,
        hub: WatchHub,
        authentication: Authentication,
        authorization: Authorization,
        admission: Admission,
        log: RequestLog,
        base_dir: str = ".",
        index: int = 0,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._cores = cores
        self._storage = storage
        self._log = log
        self.authentication = authentication
        self.authorization = authorization
        self.connections = Connections(clock, spec.connections, spec.pki, cores)
        self._prices: dict[tuple[Operation, Identity], Price] = {}
        self.left_to_etcd: Event | None = None
        """The write of the request abandoned last, if etcd had it then: it is stored, and nobody is told."""
        self.index = index
        self.lists = Lists(spec.lists, cores, storage, hub, index)
        self.flow_control = spec.flow_control.build(clock, base_dir)
        self.flow_control.weigh_by(
            storage.objects, self.lists.from_cache, lambda resource: hub.watchers_of_all(resource, index)
        )
        put_quota = storage.of("resourcequotas").put
        evaluator = QuotaEvaluator(
            clock, spec.admission.quota, cores, put_quota, spec.quota_cpu_s, admission.quotas, index
        )
        self.admission = admission.of_server(evaluator)
        if index:  # names of meters are each taken once
            for meter in self.flow_control.meters:
                meter.name = f"{meter.name} {index + 1}"

    def connect(self, user: Identity, processes: int = 1) -> Connection:
        """The connection of a user's client; processes: so many alike ones behind one client."""
        return self.connections.open(user, self.authentication.by_certificate(user), processes)

    def serve(
        self,
        operation: Operation,
        user: Identity,
        namespace: str,
        new: NewPod | None = None,
        guard: Guard | None = None,
    ) -> Generator[Event, Any, int]:
        """One request of `user`.

        new: what a new pod meets in admission. guard: called when the write is stored: makes the change, or
        returns false if the object is not what the writer took it for any more; then the answer is 409.
        """
        arrived_s = self._clock._now
        proof_cpu_s = self.authentication.known_cpu_s[user]
        if proof_cpu_s < 0:
            proof_cpu_s = self.authentication.cost_s(user)
            if proof_cpu_s < 0:
                if not (yield from self.authentication.prove(user)):
                    self._log.add(operation, user.name, 401, arrived_s)
                    return 401
                proof_cpu_s = 0.0
        way = self.flow_control.enter(operation, user, namespace)
        try:
            if way.event is not None:
                yield way.event
            if way.code:
                yield self._cores.work(proof_cpu_s)
                self._log.add(operation, user.name, way.code, arrived_s)
                return way.code
            code = yield from self._seated(operation, user, namespace, new, guard, proof_cpu_s)
        finally:
            if way.event is not None:
                _leave_later(way)
            elif not way.code:
                way.level.leave(way)
        self._log.add(operation, user.name, code, arrived_s)
        return code

    def serve_many(self, operation: Operation, user: Identity, count: int, over_s: float) -> Generator[Event, Any, int]:
        """`count` alike requests of components that come evenly over `over_s`, as one piece of work; returns how many were served.

        As many go on side by side as their work needs to keep up, which is also the number of seats they hold; where fewer
        seats are free, the rest waits or is refused, as the flow control does. Used for steady background load only.
        """
        arrived_s = self._clock._now
        accepted, proof_cpu_s = self.authentication.each(user)
        decision = self.authorization.decisions[user, operation, ""]
        code = decision.code if accepted else 401
        if decision.ask and not code:  # one review stands for all of a tick
            code = yield from self.authorization.ask(user, operation, "")
        if code:
            yield self._cores.work(count * (proof_cpu_s + decision.cpu_s * accepted), threads=count)
            self._log.add(operation, user.name, code, arrived_s, count)
            return count  # they would be refused again
        price = self._price(operation, user)
        cost_s = proof_cpu_s + decision.cpu_s + price.cpu_s
        if isinstance(operation, ListOperation):
            cost_s += self.lists.objects_cpu_s(operation, user, "")
        abreast = min(count, ceil(count * cost_s / over_s)) or 1
        ways, served = self.flow_control.enter_many(operation, user, count, abreast)
        try:
            if ways and ways[-1].event is not None:
                yield ways[-1].event
                if ways[-1].code:
                    ways, served = ways[:-1], served * (len(ways) - 1) // len(ways)
            taken = len(ways)
            if served < count:
                self._cores.load((count - served) * proof_cpu_s)
                self._log.add(operation, user.name, TOO_MANY_REQUESTS, arrived_s, count - served)
            if served:
                yield self._cores.work(served * cost_s, taken)
                each_s = (self._clock._now - arrived_s) * taken / served
                stored_s = self._clock._now
                error = ""
                if operation.reads:
                    error = yield price.etcd.range(served * operation.reads)
                if operation.writes and not error:
                    error = yield price.etcd.put(
                        served * operation.writes, served * operation.keys, served * price.put_bytes
                    )
                    if operation.keys and not error:
                        self._storage.add(operation.resource, "", served * operation.keys)
                self._log.add(operation, user.name, 500 if error else done(operation), stored_s - each_s, served)
                if isinstance(operation, ListOperation) and not error:
                    self.lists.answered(operation, user, served)
                if error:
                    served = 0
        finally:
            for way in ways:
                if way.event is None:
                    way.level.leave(way)
                else:
                    _leave_later(way)
        return served

    def load(self, cpu_s: float) -> None:
        """Work that nobody waits for."""
        self._cores.load(cpu_s)

    def _price(self, operation: Operation, user: Identity) -> Price:
        """What such a request costs, worked out once."""
        price = self._prices.get((operation, user))
        if price is None:
            own_cpu_s: float = getattr(self._spec, operation.cost)
            price = self._prices[operation, user] = self._storage.price(operation, user, own_cpu_s)
        return price

    def _seated(
        self,
        operation: Operation,
        user: Identity,
        namespace: str,
        new: NewPod | None,
        guard: Guard | None,
        proof_cpu_s: float,
    ) -> Generator[Event, Any, int]:
        decision = self.authorization.decisions[user, operation, namespace]
        code, cpu_s = decision.code, proof_cpu_s + decision.cpu_s
        if decision.ask:
            yield self._cores.work(proof_cpu_s)
            code, cpu_s = (yield from self.authorization.ask(user, operation, namespace)), 0.0
        if code:
            yield self._cores.work(cpu_s)
            return code
        price = self._prices.get((operation, user)) or self._price(operation, user)
        if isinstance(operation, ListOperation):
            return (yield from self.lists.read(operation, user, namespace, cpu_s + price.cpu_s))
        yield self._cores.work(cpu_s + price.cpu_s)
        if new is not None:
            code = yield from self.admission.admit_pod(new)
        elif self.admission.hooked and operation.mutating:
            code = yield from self.admission.admit(operation, namespace)
        if code:
            return code
        stored, put = False, None
        try:
            if operation.reads:
                error = yield price.etcd.range(operation.reads)
                if error:
                    return 500
            if operation.writes:
                put = price.etcd.put(operation.writes, operation.keys, price.put_bytes)
                error = yield put
                if error:
                    return 500
                if guard is not None and not guard():
                    return CONFLICT
                if operation.keys:
                    self._storage.add(operation.resource, namespace, operation.keys)
            stored = True
        finally:
            if not stored:
                if put is not None and put.callbacks is not None:
                    self.left_to_etcd = put
                    put.callbacks.append(partial(self._stored_after_all, operation, namespace, new, guard))
                elif new is not None:
                    self.admission.not_stored(new)
        return done(operation)

    def _stored_after_all(
        self, operation: Operation, namespace: str, new: NewPod | None, guard: Guard | None, put: Event
    ) -> None:
        """What a write does that was under way in etcd when this server died."""
        if not put._value and (guard is None or guard()):
            if operation.keys:
                self._storage.add(operation.resource, namespace, operation.keys)
        elif new is not None:
            self.admission.not_stored(new)
