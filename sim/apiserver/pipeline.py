"""A request's way through the API server: authenticate, flow control, authorize, admit, store, answer."""

from __future__ import annotations

from collections.abc import Generator
from math import ceil
from typing import Any

from simpy.events import Event

from sim.apiserver.authentication import request_cpu_s
from sim.apiserver.authorization import Rbac
from sim.apiserver.flow_control.catalog import TOO_MANY_REQUESTS
from sim.apiserver.identity import Identity
from sim.apiserver.quota import Quota
from sim.apiserver.request import Operation
from sim.apiserver.request_log import RequestLog
from sim.apiserver.spec import ApiServerSpec
from sim.engine.batcher import Batcher
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.etcd.router import EtcdRouter

Charge = tuple[Quota, dict[str, int]]


def _done(operation: Operation) -> int:
    """Status of an answer to a request that did what it asked for."""
    return 201 if operation.verb == "POST" else 200


class ApiServer:
    """One API server. `serve` is a process that ends with the HTTP status of the answer."""

    def __init__(
        self,
        clock: Clock,
        spec: ApiServerSpec,
        machine: Machine,
        etcd: EtcdRouter,
        rbac: Rbac,
        log: RequestLog,
        base_dir: str = ".",
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._machine = machine
        self._etcd = etcd
        self._rbac = rbac
        self._log = log
        self._authenticate_cpu_s = request_cpu_s(spec.authentication)
        self._quota_checks: dict[str, Batcher[Charge]] = {}
        self.flow_control = spec.flow_control.build(clock, base_dir)
        self.quotas: dict[str, Quota] = {}
        """Namespaces that have a ResourceQuota."""

    def serve(
        self, operation: Operation, user: Identity, namespace: str, charge: dict[str, int] | None = None
    ) -> Generator[Event, Any, int]:
        """One request of `user`. charge: what a new pod counts against its namespace's quota."""
        arrived_s = self._clock._now
        way = self.flow_control.enter(operation, user, namespace)
        if way.event is not None:
            yield way.event
        if way.code:
            yield self._machine.work(self._authenticate_cpu_s)
            self._log.add(operation, user.name, way.code, arrived_s)
            return way.code
        code = yield from self._seated(operation, user, namespace, charge)
        way.level.leave(way)
        self._log.add(operation, user.name, code, arrived_s)
        return code

    def serve_many(self, operation: Operation, user: Identity, count: int, over_s: float) -> Generator[Event, Any, int]:
        """`count` alike requests of components that come evenly over `over_s`, as one piece of work; returns how many were served.

        As many go on side by side as their work needs to keep up, which is also the number of seats they hold; where fewer
        seats are free, the rest waits or is refused, as the flow control does. Used for steady background load only.
        """
        arrived_s = self._clock._now
        _, walked = self._rbac.decide(user, operation.verb, operation.resource, "")
        cost_s = self._cpu_s(operation, walked)
        abreast = min(count, ceil(count * cost_s / over_s)) or 1
        ways, served = self.flow_control.enter_many(operation, user, count, abreast)
        if ways and ways[-1].event is not None:
            yield ways[-1].event
            if ways[-1].code:
                ways, served = ways[:-1], served * (len(ways) - 1) // len(ways)
        taken = len(ways)
        if served < count:
            self._machine.load((count - served) * self._authenticate_cpu_s)
            self._log.add(operation, user.name, TOO_MANY_REQUESTS, arrived_s, count - served)
        if served:
            yield self._machine.work(served * cost_s, threads=taken)
            each_s = (self._clock._now - arrived_s) * taken / served
            stored_s = self._clock._now
            error = ""
            if operation.reads:
                error = yield self._etcd.of(operation.resource).range(served * operation.reads)
            if operation.writes and not error:
                error = yield self._etcd.of(operation.resource).put(
                    served * operation.writes,
                    keys=served * operation.keys,
                    size_bytes=served * operation.writes * self._etcd.object_bytes(operation.resource),
                )
            self._log.add(operation, user.name, 500 if error else _done(operation), stored_s - each_s, served)
            if error:
                served = 0
        for way in ways:
            way.level.leave(way)
        return served

    def _cpu_s(self, operation: Operation, bindings_walked: int) -> float:
        own: float = getattr(self._spec, operation.cost)
        return self._authenticate_cpu_s + bindings_walked * self._spec.authorization.binding_cpu_s + own

    def _seated(
        self, operation: Operation, user: Identity, namespace: str, charge: dict[str, int] | None
    ) -> Generator[Event, Any, int]:
        allowed, walked = self._rbac.decide(user, operation.verb, operation.resource, namespace)
        if not allowed:
            yield self._machine.work(self._authenticate_cpu_s + walked * self._spec.authorization.binding_cpu_s)
            return 403
        yield self._machine.work(self._cpu_s(operation, walked))
        quota = self.quotas.get(namespace) if charge is not None else None
        if quota is not None and charge is not None:
            refused_for = yield self._quota_check(namespace).submit((quota, charge))
            if refused_for:
                return 403
        if operation.reads:
            error = yield self._etcd.of(operation.resource).range(operation.reads)
            if error:
                return 500
        if operation.writes:
            error = yield self._etcd.of(operation.resource).put(
                operation.writes,
                keys=operation.keys,
                size_bytes=operation.writes * self._etcd.object_bytes(operation.resource),
            )
            if error:
                return 500
        return _done(operation)

    def _quota_check(self, namespace: str) -> Batcher[Charge]:
        """One evaluation at a time a namespace; what arrives meanwhile is checked together in the next."""
        check = self._quota_checks.get(namespace)
        if check is None:
            check = Batcher(self._clock, f"quota {namespace}", "apiserver", self._evaluate_quota, max_batch=100_000)
            self._quota_checks[namespace] = check
        return check

    def _evaluate_quota(self, batch: list[Charge]) -> Generator[Event, Any, list[str]]:
        yield self._machine.work(self._spec.quota_cpu_s)
        verdicts = [quota.charge(amounts) for quota, amounts in batch]
        if not all(verdicts):  # at least one pod was charged: the quota's status is written before it is admitted
            yield self._etcd.of("resourcequotas").put()
        return verdicts
