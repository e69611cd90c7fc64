"""API Priority and Fairness: each request goes to a priority level by the first flow schema that matches it, and waits
there, among the queues of its flow's hand, for its fair turn.

Sources: Kubernetes enhancement 1040; Kubernetes 1.20 and 1.34 source, apiserver flowcontrol.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from simpy.events import Event

from sim.apiserver.flow_control.borrowing import Bounds, Demand, bounds, new_limits
from sim.apiserver.flow_control.catalog import (
    FLOW_CONTROLS,
    GATEWAY_TIMEOUT,
    PASSED,
    TOO_MANY_REQUESTS,
    FlowControl,
    FlowControlSpec,
    long_running,
)
from sim.apiserver.flow_control.fair_queuing import RULES_1_20, RULES_1_34, FairQueues, Request
from sim.apiserver.flow_control.objects import EXEMPT, FlowSchema, PriorityLevel, flow_objects_of
from sim.apiserver.flow_control.retry_after import RetryAfter
from sim.apiserver.flow_control.shuffle_sharding import deal, flow_hash
from sim.apiserver.flow_control.targets import target_of
from sim.apiserver.flow_control.work import fan_out, list_seats, widest_request
from sim.apiserver.identity import ANY_NODE, Identity
from sim.apiserver.request import ListOperation, Operation
from sim.base.errors import InputError, Problems
from sim.base.spec import param
from sim.engine.clock import Alarm, fire
from sim.engine.meter import Meter

if TYPE_CHECKING:
    from sim.engine.clock import Clock

SOURCE_1_34 = "Kubernetes 1.34 source, apiserver flowcontrol"
NODE_FLOWS = 256
"""Where all nodes send as one, their requests are dealt in turn to the hands of so many nodes."""


@FLOW_CONTROLS.register("priority-and-fairness")
class PriorityAndFairnessSpec(FlowControlSpec):
    """Priority levels that share the seats for reading and writing together, with fair queuing inside each."""

    rules: Literal["1.20", "1.34"] = param(
        "1.20",
        "whose rules and default objects: 1.20 counts requests; 1.34 counts seat-seconds, lets levels borrow, "
        "weighs LISTs and changes that many watch, and raises Retry-After under overload",
    )
    objects: tuple[str, ...] = param(
        (), "files or folders with FlowSchemas and PriorityLevelConfigurations, over the default objects"
    )
    wait_limit_s: float = param(
        15.0,
        "longest wait in a queue: a quarter of the request timeout",
        source="Kubernetes 1.20 and 1.34 source, API server",
        gt=0,
        le=3600,
    )
    request_timeout_s: float = param(
        60.0,
        "a request older than this is answered 504; under the rules of 1.20 one may wait so long in a queue that nobody joins",
        source="Kubernetes 1.20 source, API server defaults",
        gt=0,
        le=3600,
    )
    retry_after_s: float = param(
        1.0, "Retry-After of a 429 answer, where it is not raised", source="Kubernetes 1.20 source", gt=0, le=60
    )
    longest_retry_after_s: int = param(32, "most that Retry-After is raised to", source=SOURCE_1_34, ge=1, le=3600)
    borrowing_period_s: float = param(10.0, "how often seats are lent anew", source=SOURCE_1_34, gt=0, le=3600)
    demand_smoothing: float = param(
        0.977, "weight of the demand before, when a level wants less than it did", source=SOURCE_1_34, ge=0, le=1
    )
    objects_per_seat: float = param(
        100.0, "objects that a LIST looks at for one seat", source=SOURCE_1_34, gt=0, le=1e6
    )
    watchers_per_seat: float = param(10.0, "watchers of a change for one seat", source=SOURCE_1_34, gt=0, le=1e6)
    watch_event_s: float = param(
        0.005, "how long a changing request keeps the seats of its watchers", source=SOURCE_1_34, ge=0, le=10
    )
    widest_request_seats: int = param(10, "most seats of one request", source=SOURCE_1_34, ge=1, le=1000)
    widest_request_share: float = param(0.15, "and of its level's nominal seats", source=SOURCE_1_34, gt=0, le=1)

    def check(self, path: str, base_dir: str, problems: Problems) -> None:
        try:
            flow_objects_of(self.paths(base_dir), self.rules)
        except InputError as error:
            for line in str(error).splitlines()[1:]:
                problems.add(f"{path}.objects", list(self.objects), line.strip())

    def paths(self, base_dir: str) -> list[Path]:
        return [Path(base_dir) / each for each in self.objects]

    def build(self, clock: Clock, base_dir: str) -> PriorityAndFairness:
        return PriorityAndFairness(clock, self, base_dir)


class Flow:
    """What a kind of request meets: its level, and the queues its flow may join."""

    __slots__ = ("hands", "last", "level", "schema", "turn")

    def __init__(self, level: Level | None, schema: str, hands: list[tuple[int, ...]]) -> None:
        self.level = level
        """None: not counted."""
        self.schema = schema
        self.hands = hands
        """One hand; many where it stands for many flows, which come in turn."""
        self.turn = self.last = len(hands) - 1


class Level(FairQueues):
    """One priority level: waiting, timing out and waking around the rules of fair queuing."""

    def __init__(self, clock: Clock, spec: PriorityAndFairnessSpec, level: PriorityLevel, within: Bounds) -> None:
        self.lends = spec.rules != "1.20"
        rules = RULES_1_34 if self.lends else RULES_1_20
        super().__init__(within.nominal, -1 if level.exempt else level.queues, level.queue_length, rules)
        self._clock = clock
        self.name = level.name
        self.config = level
        self.bounds = within
        self._hand_size = level.hand_size
        self.demand = Demand()
        """Kept under rules that let levels borrow."""
        self.widest = widest_request(
            within.nominal, level.hand_size, spec.widest_request_share, spec.widest_request_seats
        )
        self.retry_after = RetryAfter(spec.longest_retry_after_s)
        self.meter = Meter(clock, f"{level.name} seats", "apiserver", max(1, within.nominal))
        self.refused = self.timed_out = 0
        self.wait_s = 0.0
        """Sum over the requests that were served."""
        self._enter_limit_s = spec.wait_limit_s
        self._deadline_s = spec.wait_limit_s if self.lends else spec.request_timeout_s
        self._deadline_code = TOO_MANY_REQUESTS if self.lends else GATEWAY_TIMEOUT
        self._queued: deque[Request] = deque()
        """In order of arrival; those that wait no more are still here until the alarm comes to them."""
        self._armed = False
        self._ready: deque[Request] = deque()
        self._waking = False

    def enter(self, request: Request, hand: tuple[int, ...]) -> Request:
        """A request of a flow with this hand."""
        now_s = self._clock._now
        width = request.width
        seats = self.seats + width
        if self.waiting or seats > self.limit or not self.queues:
            return self._enter_or_wait(request, hand, now_s)
        # `arrive` and `_note` where seats are free and nobody waits, written out: all requests of a calm server
        rules = self.rules
        held_s = now_s - self._now_s
        if held_s:
            self._now_s = now_s
            if self._active:
                self.r += held_s * self.seats / self._active
        service_s = rules.service_s
        if rules.seat_seconds:
            queue = self.queues[hand[self._enqueues % self._hand_size]]
            self._enqueues += 1
            work = request.seats * service_s
            if request.keep_s:
                work += request.final_seats * request.keep_s
            if queue.next_r < self.r or not queue.executing:
                queue.next_r = self.r
        else:
            queue = self.queues[hand[0]]
            work = service_s
            if not queue.executing:
                queue.next_r = self.r
        if not queue.executing:
            self._active += 1
        queue.executing += 1
        queue.seats += width
        queue.next_r += work
        self._robin = queue.index
        self.executing += 1
        self.seats = seats
        request.queue = queue
        request.arrived_s = request.started_s = now_s
        request.work = work
        meter = self.meter
        held_s = now_s - meter.since_s
        if held_s:
            meter.in_use_s += held_s * meter.in_use
            meter.queue_s += held_s * meter.queue
            meter.since_s = now_s
        meter.in_use = seats
        meter.queue = 0
        if self.lends:
            self.demand.note(seats, now_s)
        return request

    def leave(self, request: Request) -> None:
        """A request has been served."""
        meter = self.meter
        meter.served += 1
        now_s = self._clock._now
        queue = request.queue
        if self.waiting or queue is None or request.keep_s:
            self._leave_and_wake(request, now_s)
            return
        # `finish` and `_note` where nobody waits, written out
        held_s = now_s - self._now_s
        if held_s:
            self._now_s = now_s
            if self._active:
                seats = self.seats
                self.r += held_s * (seats if seats < self.limit else self.limit) / self._active
        queue.executing -= 1
        if not queue.executing:
            self._active -= 1
        queue.next_r -= request.seats * (self.rules.service_s - (now_s - request.started_s))
        width = request.width
        queue.seats -= width
        self.executing -= 1
        self.seats -= width
        held_s = now_s - meter.since_s
        if held_s:
            meter.in_use_s += held_s * meter.in_use
            meter.queue_s += held_s * meter.queue
            meter.since_s = now_s
        meter.in_use = self.seats
        meter.queue = 0
        if self.lends:
            self.demand.note(self.seats, now_s)

    def _enter_or_wait(self, request: Request, hand: tuple[int, ...], now_s: float) -> Request:
        if self.waiting and not self.lends:
            self._expire(hand, now_s)
        if not self.arrive(request, hand, now_s):
            self._refuse(request, now_s)
        elif request.started_s < 0:
            if self.seats < self.limit:
                self._ready.extend(self.dispatch(now_s))
            if request.started_s < 0:
                request.event = Event(self._clock)
                self._queued.append(request)
                self._arm()
        if self._ready:
            self._wake()
        self._note()
        return request

    def _leave_and_wake(self, request: Request, now_s: float) -> None:
        if not self.finish(request, now_s):
            self._clock.at(request.keep_s, partial(self._free, request))
        elif self.waiting:
            self.admit(now_s)
            return
        self._note()

    def set_limit(self, limit: int, now_s: float) -> None:
        super().set_limit(limit, now_s)
        self.meter.capacity = max(self.meter.capacity, limit)  # use is told as a share of the most it has had

    def admit(self, now_s: float) -> None:
        """Let those go on whose turn it is."""
        self._ready.extend(self.dispatch(now_s))
        self._note()
        self._wake()

    def _free(self, request: Request, _: Alarm) -> None:
        now_s = self._clock._now
        self.free(request, now_s)
        self.admit(now_s)

    def _note(self) -> None:
        self.meter.level(self.seats, self.waiting)
        if self.lends:
            self.demand.note(self.seats + self.seats_waiting, self._clock._now)

    def _wake(self) -> None:
        """Let those go on of whom it is known what becomes of them. Who goes on may end at once and make more ready: they
        come in the loop below, so the stack does not grow."""
        if self._waking:
            return
        self._waking = True
        try:
            while self._ready:
                request = self._ready.popleft()
                event, request.event = request.event, None
                if event is not None:
                    if not request.code:
                        self.wait_s += self._clock._now - request.arrived_s
                    fire(event)
        finally:
            self._waking = False

    def _refuse(self, request: Request, now_s: float, code: int = TOO_MANY_REQUESTS) -> None:
        request.code = code
        self.refused += 1
        self.retry_after.note(now_s)

    def _expire(self, hand: tuple[int, ...], now_s: float) -> None:
        """Who has waited too long in the queue that a request joins leaves it."""
        waiting = self.queue_of(hand).waiting
        while waiting and now_s - waiting[0].arrived_s > self._enter_limit_s:
            self._give_up(waiting[0], now_s, TOO_MANY_REQUESTS)

    def _give_up(self, request: Request, now_s: float, code: int) -> None:
        self.give_up(request, now_s)
        self._refuse(request, now_s, code)
        self.timed_out += 1
        self._ready.append(request)

    def _arm(self) -> None:
        """All wait for the same time at most, so who came first leaves first."""
        if self._armed:
            return
        while self._queued and self._queued[0].event is None:
            self._queued.popleft()
        if self._queued:
            self._armed = True
            due_s = self._queued[0].arrived_s + self._deadline_s
            self._clock.at(max(0.0, due_s - self._clock._now), self._ring)

    def _ring(self, _: Alarm) -> None:
        self._armed = False
        now_s = self._clock._now
        while self._queued and (self._queued[0].event is None or now_s >= self._queued[0].arrived_s + self._deadline_s):
            request = self._queued.popleft()
            if request.event is not None:
                self._give_up(request, now_s, self._deadline_code)
        self._note()
        self._wake()
        self._arm()


LISTS = "*"


def _weight_of(operation: Operation) -> str:
    """What a request's width goes by: empty: it is one seat wide; `LISTS`: how many objects it looks at; else the resource
    that it changes, whose watchers are told."""
    if operation.verb == "LIST":
        return LISTS
    return operation.resource.partition("/")[0] if operation.mutating else ""


class PriorityAndFairness(FlowControl):
    """All levels of one server. How many watch each resource is looked at whenever seats are lent."""

    def __init__(self, clock: Clock, spec: PriorityAndFairnessSpec, base_dir: str) -> None:
        self._clock = clock
        self._spec = spec
        self.objects = flow_objects_of(spec.paths(base_dir), spec.rules)
        self._watched: dict[str, int] = {}
        """Watchers of the resources that many watch."""
        self._weight_of: dict[Operation, str] = {}
        self._stored: Callable[[str], int] = lambda resource: 0
        self._from_cache: Callable[[ListOperation], bool] = lambda operation: True
        self._watchers: Callable[[str], int] = lambda resource: 0
        self._flows: dict[tuple[Operation, Identity, str], Flow] = {}
        self._schema_of: dict[tuple[Operation, Identity, bool], FlowSchema] = {}
        self._flow_of: dict[tuple[FlowSchema, str, bool], Flow] = {}
        self._weighs = spec.rules != "1.20"
        seats = spec.max_in_flight + spec.max_mutating_in_flight
        shares = sum(level.shares for level in self.objects.levels)
        within = {
            level.name: bounds(level.shares, shares, seats, level.lendable_percent, level.borrowing_percent)
            for level in self.objects.levels
        }
        self.levels = {level.name: Level(clock, spec, level, within[level.name]) for level in self.objects.levels}
        self.meters = [level.meter for level in self.levels.values() if not level.config.exempt]
        if self._weighs:
            self._lend()

    def enter(self, operation: Operation, user: Identity, namespace: str) -> Request:
        try:
            flow = self._flows[operation, user, namespace]
        except KeyError:
            flow = self.flow_of(operation, user, namespace)
        level = flow.level
        if level is None:
            return PASSED
        hands = flow.hands
        turn = flow.turn
        flow.turn = turn - 1 if turn else flow.last
        if self._weighs:
            try:
                weight = self._weight_of[operation]
            except KeyError:
                weight = self._weight_of[operation] = _weight_of(operation)
                self._count_watchers()
            if weight and (weight == LISTS or weight in self._watched):
                return level.enter(self._weigh(operation, level), hands[turn])
        return level.enter(Request(level), hands[turn])

    def limits(self) -> dict[str, Callable[[], float]]:
        if not self._weighs:
            return {}
        limited = [level for level in self.levels.values() if not level.config.exempt]
        return {f"{level.name}_seats_limit": lambda level=level: float(level.limit) for level in limited}  # type: ignore[misc]

    def enter_many(self, operation: Operation, user: Identity, count: int, abreast: int) -> tuple[list[Request], int]:
        """Where no seat is free one waits its turn for all; those that go on serve all, if it takes longer."""
        level = self.flow_of(operation, user, "").level
        if level is None:
            return [PASSED] * abreast, count
        entered: list[Request] = []
        while len(entered) < abreast and (not entered or (level.seats < level.limit and not level.waiting)):
            request = self.enter(operation, user, "")
            if request.code:
                break
            entered.append(request)
        return entered, count if entered else 0

    def retry_after_s(self, operation: Operation, user: Identity, namespace: str) -> float:
        level = self.flow_of(operation, user, namespace).level
        if not self._weighs or level is None:
            return self._spec.retry_after_s
        return self._spec.retry_after_s * level.retry_after.seconds

    def flow_of(self, operation: Operation, user: Identity, namespace: str) -> Flow:
        """The flow that such a request belongs to."""
        asked = (operation, user, namespace)
        flow = self._flows.get(asked)
        if flow is None:
            flow = self._flows[asked] = self._classify(operation, user, namespace)
        return flow

    def _classify(self, operation: Operation, user: Identity, namespace: str) -> Flow:
        """Most schemas look at no namespace, so one match serves all namespaces of a user's kind of request."""
        alike = (operation, user, bool(namespace))
        schema = self._schema_of.get(alike)
        target = None
        if schema is None:
            target = target_of(operation, namespace)
            schema, everywhere = self.objects.schema_of(user, target)
            if everywhere:
                self._schema_of[alike] = schema
        told_apart = user.name if schema.distinguisher == "ByUser" else ""
        if schema.distinguisher == "ByNamespace":
            told_apart = (target or target_of(operation, namespace)).namespace
        uncounted = not self._weighs and long_running(operation)
        known = (schema, told_apart, uncounted)
        flow = self._flow_of.get(known)
        if flow is None:
            flow = self._flow_of[known] = self._new_flow(schema, told_apart, uncounted)
        return flow

    def _new_flow(self, schema: FlowSchema, told_apart: str, uncounted: bool) -> Flow:
        level = self.levels[schema.level]
        queues, hand_size = level.config.queues, level.config.hand_size
        if uncounted or (level.config.exempt and not self._weighs):
            return Flow(None, schema.name, [()])
        if not queues:
            return Flow(level, schema.name, [()])
        names = [told_apart]
        if told_apart == ANY_NODE:
            names = [f"{ANY_NODE}:node-{number + 1}" for number in range(NODE_FLOWS)]
        hands = [deal(flow_hash(schema.name, name) if queues > 1 else 0, queues, hand_size) for name in names]
        return Flow(level, schema.name, hands)

    def weigh_by(
        self,
        stored: Callable[[str], int],
        from_cache: Callable[[ListOperation], bool],
        watchers: Callable[[str], int],
    ) -> None:
        self._stored, self._from_cache, self._watchers = stored, from_cache, watchers

    def _count_watchers(self) -> None:
        least = self._spec.watchers_per_seat
        resources = {weight for weight in self._weight_of.values() if weight not in ("", LISTS)}
        counts = {resource: self._watchers(resource) for resource in resources}
        self._watched = {resource: count for resource, count in counts.items() if count >= least}

    def _weigh(self, operation: Operation, level: Level) -> Request:
        spec = self._spec
        weight = self._weight_of[operation]
        if weight == LISTS:
            return Request(level, min(self._list_seats(operation), level.widest))
        kept, keep_s = fan_out(self._watched[weight], spec.watchers_per_seat, spec.watch_event_s, level.widest)
        return Request(level, 1, kept, keep_s)

    def _list_seats(self, operation: Operation) -> int:
        if operation.scope == "resource" or not isinstance(operation, ListOperation):
            return 1
        return list_seats(
            self._stored(operation.resource),
            operation.limit,
            self._from_cache(operation),
            operation.selects != "all",
            self._spec.objects_per_seat,
        )

    def _lend(self, _: Alarm | None = None) -> None:
        """Every level's limit follows what the levels wanted in the period that ends."""
        self._count_watchers()
        now_s = self._clock._now
        highs = {name: level.demand.close(now_s, self._spec.demand_smoothing) for name, level in self.levels.items()}
        levels = [level for level in self.levels.values() if not level.config.exempt]
        exempt = self.levels.get(EXEMPT)
        limits = new_limits(
            [level.bounds for level in levels],
            [highs[level.name] for level in levels],
            [level.demand.smoothed for level in levels],
            max(exempt.bounds.least, highs[EXEMPT]) if exempt else 0,
        )
        for level, limit in zip(levels, limits, strict=True):
            if limit != level.limit:
                level.set_limit(limit, now_s)
                level.admit(now_s)
        self._clock.at(self._spec.borrowing_period_s, self._lend)
