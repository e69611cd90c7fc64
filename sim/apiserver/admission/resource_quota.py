"""ResourceQuota: what a namespace may ask for in all, checked and written down before a pod is stored.

Quotas are evaluated a namespace at a time by a few workers: what arrives while a namespace is being evaluated is checked
together in its next turn. The sum is written to the quota's status, and only if nobody else has written meanwhile;
else it is checked again with what stands there now. Who has waited too long is refused.

What ended pods held is given back by the quota controller, which writes the same status. The real controller counts
what its informer shows, and for a moment may miss pods just admitted; here those count, so a quota is never exceeded.
What was charged for an object that was not stored after all is given back with the next count.

Source: Kubernetes 1.20 source, apiserver admission/plugin/resourcequota (controller.go, resource_access.go) and
pkg/quota/v1/evaluator/core/pods.go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from simpy.events import Event

from sim.apiserver.admission.objects import ResourceQuotaObject
from sim.base.spec import Spec, param
from sim.engine.clock import Alarm, Clock, Task, fire
from sim.engine.cores import Cores
from sim.engine.meter import Meter
from sim.scheduler.requests import pod_requests
from sim.state.objects import PodSpec

SOURCE = "Kubernetes 1.20 source, resource quota admission"
FORBIDDEN, CONFLICT, SERVER_ERROR = 403, 409, 500
COMPUTE = ("cpu", "memory")
SCOPES = ("Terminating", "NotTerminating", "BestEffort", "NotBestEffort")
COUNTED = ("pods", "count/pods", "cpu", "memory")
"""What quotas count here, beside `requests.<resource>` and `limits.<resource>`."""


class QuotaSpec(Spec):
    """How quotas are evaluated."""

    workers: int = param(5, "namespaces that are evaluated at a time", source=SOURCE, ge=1, le=1000)
    timeout_s: float = param(10.0, "a request that waits longer is answered 500", source=SOURCE, gt=0, le=3600)
    retries: int = param(3, "how often a conflict is tried again", source=SOURCE, ge=0, le=100)


def charges(spec: PodSpec) -> dict[str, int]:
    """What one pod counts, by the quota's resource names."""
    requests, limits = pod_requests(spec), _limits(spec)
    charged = {"pods": 1, "count/pods": 1}
    for name, amount in requests.items():
        charged[f"requests.{name}"] = amount
        if name in COMPUTE:
            charged[name] = amount
    charged.update({f"limits.{name}": amount for name, amount in limits.items()})
    return charged


def _limits(spec: PodSpec) -> dict[str, int]:
    total: dict[str, int] = {}
    for container in spec.containers:
        for name, amount in container.limits:
            total[name] = total.get(name, 0) + amount
    for container in spec.init_containers:
        for name, amount in container.limits:
            total[name] = max(total.get(name, 0), amount)
    return total


def is_best_effort(spec: PodSpec) -> bool:
    """Whether no container asks for, or is limited in, CPU or memory."""
    containers = (*spec.init_containers, *spec.containers)
    return not any(amount and name in COMPUTE for each in containers for name, amount in (*each.requests, *each.limits))


class Quota:
    """One ResourceQuota: hard limits and what is used. Never exceeded; released once for each pod charged."""

    __slots__ = ("ended", "hard", "name", "namespace", "scopes", "used", "version")

    def __init__(
        self, hard: Mapping[str, int], namespace: str = "", name: str = "", scopes: tuple[str, ...] = ()
    ) -> None:
        self.namespace = namespace
        self.name = name
        self.hard = dict(hard)
        self.scopes = scopes
        self.used = dict.fromkeys(hard, 0)
        self.ended = dict.fromkeys(hard, 0)
        """Part of `used` that nobody holds any more, and that the next count will give back."""
        self.version = 0
        """Grows with every write of its status."""

    def covers(self, spec: PodSpec) -> bool:
        """Whether its scopes include such pods. A pod's active deadline is not simulated: none is Terminating."""
        held = {"NotTerminating", "BestEffort" if is_best_effort(spec) else "NotBestEffort"}
        return held.issuperset(self.scopes)

    def missing(self, spec: PodSpec) -> list[str]:
        """Limited resources that a container of the pod must name, and does not."""
        needed = [name for name in self.hard if name.removeprefix("requests.").removeprefix("limits.") in COMPUTE]
        lacking = set()
        for container in (*spec.init_containers, *spec.containers):
            asked = {f"requests.{name}" for name, _ in container.requests}
            asked |= {f"limits.{name}" for name, _ in container.limits}
            lacking |= {name for name in needed if name not in asked and f"requests.{name}" not in asked}
        return sorted(lacking)

    def refusal(self, amounts: Mapping[str, int], used: Mapping[str, int]) -> str:
        """The first resource that does not fit beside `used`; empty: all fit."""
        for name, hard in self.hard.items():
            more = amounts.get(name, 0)
            if more and used[name] + more > hard:
                return name
        return ""

    def end(self, amounts: Mapping[str, int]) -> None:
        """What was charged is held no more; the next count gives it back."""
        for name in self.hard:
            self.ended[name] += amounts.get(name, 0)

    def add(self, more: Mapping[str, int]) -> None:
        """Write a charge down."""
        for name in self.hard:
            self.used[name] += more.get(name, 0)
        self.version += 1

    def give_back(self, amounts: Mapping[str, int]) -> None:
        """Take a charge off in this instant."""
        for name in self.hard:
            self.used[name] -= amounts.get(name, 0)

    def count(self) -> Count:
        """What a recount begun now will find: the version it reads, and what it will give back."""
        return Count(self.version, dict(self.ended))

    def store_count(self, count: Count) -> bool:
        """Write what a recount has found; False: somebody else has written since, count again."""
        if count.version != self.version:
            return False
        for name, amount in count.ended.items():
            self.used[name] -= amount
            self.ended[name] -= amount
        self.version += 1
        return True


@dataclass(frozen=True, slots=True)
class Count:
    """A recount of a quota's use that is under way."""

    version: int
    ended: dict[str, int]

    @property
    def changes(self) -> bool:
        """Whether there is anything to write."""
        return any(self.ended.values())


Charge = tuple[tuple[Quota, dict[str, int]], ...]
"""What an object counts, quota by quota."""


class Quotas:
    """All quotas of the cluster, by namespace; every API server sees the same.

    on_end: called with each quota of which a pod has ended, for the quota controller to count anew; None: there is none, and
    what is held no more is given back at once.
    """

    def __init__(self, objects: Iterable[ResourceQuotaObject]) -> None:
        self.of: dict[str, list[Quota]] = {}
        for each in objects:
            self.of.setdefault(each.namespace, []).append(
                Quota(dict(each.hard), each.namespace, each.name, each.scopes)
            )
        self.on_end: Callable[[Quota], None] | None = None

    def __iter__(self) -> Any:
        return (quota for quotas in self.of.values() for quota in quotas)

    def charge_of(self, spec: PodSpec) -> Charge:
        """What a pod of this spec counts; empty where no quota covers it."""
        covering = [quota for quota in self.of.get(spec.namespace, ()) if quota.covers(spec)]
        amounts = charges(spec) if covering else {}
        return tuple((quota, {name: amounts.get(name, 0) for name in quota.hard}) for quota in covering)

    def missing(self, spec: PodSpec) -> str:
        """Why no pod of this spec can be charged, or empty."""
        for quota in self.of.get(spec.namespace, ()):
            if quota.covers(spec) and (lacking := quota.missing(spec)):
                return f"failed quota: {quota.name}: must specify {','.join(lacking)}"
        return ""

    def release(self, charge: Charge) -> None:
        """A charged pod has ended, once."""
        for quota, amounts in charge:
            if self.on_end is None:
                quota.give_back(amounts)
            else:
                quota.end(amounts)
                self.on_end(quota)

    def forgo(self, charge: Charge) -> None:
        """What was charged was not stored after all: the next count finds out."""
        for quota, amounts in charge:
            if self.on_end is None:
                quota.give_back(amounts)
            else:
                quota.end(amounts)


class Waiter:
    """A request whose charge is to be evaluated."""

    __slots__ = ("charge", "charged", "due_s", "event", "left")

    def __init__(self, charge: Charge, event: Event, due_s: float) -> None:
        self.charge = charge
        self.event = event
        self.due_s = due_s
        self.charged: list[tuple[Quota, dict[str, int]]] = []
        """Part of the charge that is written down."""
        self.left = False
        """It has been answered."""


class QuotaEvaluator:
    """Evaluates the charges of one API server.

    write: puts a quota's status into etcd; its event's value is etcd's error or empty. cpu_s: of one turn of a namespace.
    server: its number, from 0.
    """

    def __init__(
        self,
        clock: Clock,
        spec: QuotaSpec,
        cores: Cores,
        write: Callable[[], Event],
        cpu_s: float,
        quotas: Quotas,
        server: int = 0,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._cores = cores
        self._write_status = write
        self._cpu_s = cpu_s
        self._quotas = quotas
        self._work: dict[str, list[Waiter]] = {}
        self._due: deque[str] = deque()
        """Namespaces that have work and are not being evaluated."""
        self._evaluated: set[str] = set()
        self._tasks: dict[str, Task] = {}
        """The turns under way."""
        self._oldest: deque[Waiter] = deque()
        self._armed = False
        self.conflicts = self.timeouts = self.updates = 0
        self.meter = Meter(
            clock, f"quota evaluation {server + 1}" if server else "quota evaluation", "apiserver", spec.workers
        )

    def evaluate(self, charge: Charge) -> Generator[Event, Any, int]:
        """Charge a new object; ends with 0, or with the code of the answer that refuses it."""
        namespace = charge[0][0].namespace
        waiter = Waiter(charge, Event(self._clock), self._clock._now + self._spec.timeout_s)
        work = self._work.setdefault(namespace, [])
        work.append(waiter)
        if len(work) == 1 and namespace not in self._evaluated:
            self._due.append(namespace)
            if len(self._evaluated) < self._spec.workers:
                self._start()
            else:
                self._note()
        else:
            self._note()
        self._oldest.append(waiter)
        if not self._armed:
            self._arm()
        try:
            code: int = (yield waiter.event) if waiter.event.callbacks is not None else waiter.event.value
        finally:  # also where the request is abandoned
            waiter.left = True
        return code

    def lose(self) -> None:
        """The server has died, and with it all requests that wait here."""
        tasks, self._tasks = self._tasks, {}
        self._work.clear()
        self._due.clear()
        self._evaluated.clear()
        for task in tasks.values():
            task.abandon()
        self._note()

    def _start(self) -> None:
        namespace = self._due.popleft()
        self._evaluated.add(namespace)
        task = self._clock.start(self._serve(namespace))
        if task.callbacks is not None:
            self._tasks[namespace] = task

    def _serve(self, namespace: str) -> Generator[Event, Any, None]:
        work = self._work.pop(namespace)
        self._note()
        yield from self._check(work)
        self.meter.served += len(work)
        self._evaluated.discard(namespace)
        self._tasks.pop(namespace, None)
        if namespace in self._work:
            self._due.append(namespace)
        if self._due:
            self._start()
        self._note()

    def _check(self, work: list[Waiter]) -> Generator[Event, Any, None]:
        """One turn of a namespace: check, write, and check again what met a conflict."""
        refused: dict[Waiter, int] = {}
        answered = False
        try:
            yield from self._check_and_write(work, refused)
            answered = True
        finally:  # also where the server dies
            for waiter in work:
                self._answer(waiter, refused.get(waiter, 0 if answered else SERVER_ERROR))

    def _check_and_write(self, work: list[Waiter], refused: dict[Waiter, int]) -> Generator[Event, Any, None]:
        quotas: list[Quota] = list(dict.fromkeys(quota for waiter in work for quota, _ in waiter.charge))
        for tried in range(self._spec.retries + 1):
            yield self._cores.work(self._cpu_s)
            read = {quota: quota.version for quota in quotas}
            sums = {quota: dict(quota.used) for quota in quotas}
            more: dict[Quota, dict[str, int]] = {quota: dict.fromkeys(quota.hard, 0) for quota in quotas}
            wanted: list[tuple[Waiter, list[tuple[Quota, dict[str, int]]]]] = []
            for waiter in work:
                if waiter in refused:
                    continue
                parts = [(quota, amounts) for quota, amounts in waiter.charge if quota in read]
                if any(quota.refusal(amounts, sums[quota]) for quota, amounts in parts):
                    refused[waiter] = FORBIDDEN
                    continue
                for quota, amounts in parts:
                    for name in quota.hard:
                        sums[quota][name] += amounts[name]
                        more[quota][name] += amounts[name]
                wanted.append((waiter, parts))
            failed, error = yield from self._write(read, more, wanted)
            if not failed:
                break
            quotas = failed
            if error or tried == self._spec.retries:
                code = SERVER_ERROR if error else CONFLICT
                refused.update({waiter: code for waiter, parts in wanted if any(part[0] in failed for part in parts)})
                break

    def _write(
        self,
        read: dict[Quota, int],
        more: dict[Quota, dict[str, int]],
        wanted: list[tuple[Waiter, list[tuple[Quota, dict[str, int]]]]],
    ) -> Generator[Event, Any, tuple[list[Quota], str]]:
        """Write the quotas that change; ends with those that were not written, and etcd's error if that was why.

        Each waiter is told at once what is charged for it: the server may die between two quotas.
        """
        failed: list[Quota] = []
        error = ""
        for quota, version in read.items():
            if not any(more[quota].values()):
                continue
            self.updates += 1
            lost = yield self._write_status()
            if lost:
                failed.append(quota)
                error = lost
            elif quota.version != version:
                failed.append(quota)
                self.conflicts += 1
            else:
                quota.add(more[quota])
                for waiter, parts in wanted:
                    waiter.charged += [part for part in parts if part[0] is quota]
        return failed, error

    def _answer(self, waiter: Waiter, code: int) -> None:
        if waiter.charged and (code or waiter.left):  # nobody will store what this is for
            self._quotas.forgo(tuple(waiter.charged))
        if not waiter.left:
            waiter.left = True
            fire(waiter.event, code)

    def _note(self) -> None:
        waiting = sum(map(len, self._work.values())) if self._work else 0
        self.meter.level(len(self._evaluated), waiting)

    def _arm(self) -> None:
        """All wait as long at most, so one alarm for the oldest is enough."""
        while self._oldest and self._oldest[0].left:
            self._oldest.popleft()
        self._armed = bool(self._oldest)
        if self._armed:
            self._clock.at(max(0.0, self._oldest[0].due_s - self._clock._now), self._ring)

    def _ring(self, _: Alarm) -> None:
        now_s = self._clock._now
        while self._oldest and (self._oldest[0].left or self._oldest[0].due_s <= now_s):
            waiter = self._oldest.popleft()
            if not waiter.left:
                waiter.left = True
                self.timeouts += 1
                fire(waiter.event, SERVER_ERROR)
        self._arm()
