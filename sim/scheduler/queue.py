"""The scheduling queue: which pod comes next, which wait, and what brings the waiting ones back.

    add ──► active ──pop──► in flight ──done──► (bound)
              ▲  ▲             │ add_unschedulable_if_not_present
    back-off │  └── back-off ◄─┤   an event came meanwhile, or an error
    complete │         ▲       ▼
             └─────────┴── unschedulable ◄── gated (pre-enqueue)
                    event, or time-out

There is no clock here: methods take `now_s`, `next_wakeup_s` says when `flush` must be called next, and `ready` whether
`pop` would return a pod. Moving a waiting pod costs O(log n); an event that can help nobody costs one look for each
distinct set of rejecting plugins, however many pods wait.

Sources: Kubernetes 1.34 source, `scheduler/backend/queue`; Kubernetes 1.20 source, `scheduler/internal/queue`.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sim.base.errors import InputError, near_miss
from sim.scheduler.queueing_hints import (
    EVENTS,
    FORCE_ACTIVATE,
    HINTS_1_34,
    UNSCHEDULABLE_TIMEOUT,
    UNSCHEDULED_POD_ADD,
    UNSCHEDULED_POD_UPDATE,
    Action,
    ClusterEvent,
    HintMap,
    PodObject,
    Registrations,
    Resource,
    Strategy,
    Waiting,
    pod_updated,
)
from sim.state.objects import PodSpec

SCHEDULE_ATTEMPT_FAILURE = "ScheduleAttemptFailure"
BACKOFF_COMPLETE = "BackoffComplete"
POP_FROM_BACKOFF = "PopFromBackoffQ"


class Requeueing(Enum):
    """How an event chooses the pods that it moves."""

    ALL = "every unschedulable pod (up to 1.21)"
    EVENTS = "pods of which a rejecting plugin registered for the event (1.22 to 1.31)"
    HINTS = "the same, if the plugin's hint function agrees; events during a pod's cycle are kept (from 1.32)"


@dataclass(frozen=True)
class QueueRules:
    """The queue's constants and gates; the defaults are those of 1.34 (Kubernetes 1.34 source, scheduler defaults)."""

    initial_backoff_s: float = 1.0
    max_backoff_s: float = 10.0
    """0 switches the back-off off (1.34)."""
    unschedulable_limit_s: float = 300.0
    """Longest stay among the unschedulable pods; 60 s in 1.20."""
    leftover_flush_period_s: float = 30.0
    backoff_flush_period_s: float = 1.0
    pop_from_backoff: bool = True
    """An empty active queue serves the pod whose back-off ends first (on from 1.33). Back-offs then end on whole
    flush periods, within which the queue's order counts."""
    count_attempts: bool = False
    """Back-offs grow with all attempts (up to 1.33) instead of with rejections, and errors in a row, apart."""
    scheduling_gates: bool = True
    """Whether the plugin SchedulingGates holds pods back (on from 1.27)."""
    requeueing: Requeueing = Requeueing.HINTS

    @classmethod
    def for_version(cls, version: str, **overrides: Any) -> QueueRules:
        """The rules of a Kubernetes version ("1.20", "1.34"); 1.12 to 1.19 are taken to queue as 1.20 does."""
        numbers = version.split(".")
        if len(numbers) != 2 or numbers[0] != "1" or not numbers[1].isdigit():
            raise InputError(
                f"scheduler queue: '{version}' is not a Kubernetes version; write one such as 1.20 or 1.34"
            )
        minor = int(numbers[1])
        requeueing = Requeueing.HINTS if minor >= 32 else Requeueing.EVENTS if minor >= 22 else Requeueing.ALL
        rules: dict[str, Any] = {
            "unschedulable_limit_s": 300.0 if minor >= 24 else 60.0,
            "pop_from_backoff": minor >= 33,
            "count_attempts": minor < 34,
            "scheduling_gates": minor >= 27,
            "requeueing": requeueing,
        }
        unknown = sorted(overrides.keys() - cls.__dataclass_fields__.keys())
        if unknown:
            hint = near_miss(unknown[0], cls.__dataclass_fields__)
            raise InputError(f"scheduler queue: '{unknown[0]}' is not one of its rules; {hint}")
        return cls(**(rules | overrides))

    def registrations(self) -> Registrations:
        """The events that the default plugins register for under these rules."""
        return HINTS_1_34 if self.requeueing is Requeueing.HINTS else EVENTS


class Place(Enum):
    """Where a pod of the queue is."""

    ACTIVE = "active"
    BACKOFF = "backoff"
    ERROR_BACKOFF = "error backoff"
    UNSCHEDULABLE = "unschedulable"
    GATED = "gated"
    IN_FLIGHT = "in flight"


@dataclass(slots=True, eq=False)
class QueuedPod:
    """A pending pod and its history in the queue."""

    pod: int
    spec: PodSpec
    priority: int
    created_s: float
    timestamp_s: float
    """When it was added, or last came back from a failed attempt: the order among equal priorities."""
    sequence: int
    """Breaks ties of the timestamp: first come, first served."""
    initial_attempt_s: float | None = None
    """When it first became active; start of the scheduler's own latency metric."""
    attempts: int = 0
    unschedulable_count: int = 0
    consecutive_errors: int = 0
    rejecting: frozenset[str] = frozenset()
    pending: frozenset[str] = frozenset()
    gated_by: str = ""
    place: Place = Place.ACTIVE
    backoff_until_s: float | None = None
    """When its present back-off ends; None: not worked out since the last attempt."""
    ticket: int = 0
    """Which entry of a heap is its own; older entries of it are dead."""
    deleted: bool = False
    """Deleted while in flight: it must not come back."""


SortKey = Callable[[QueuedPod], tuple]
PreEnqueue = Callable[[QueuedPod], bool]


def priority_sort(queued: QueuedPod) -> tuple:
    """PrioritySort: higher priority first, then the one that waits longer."""
    return (-queued.priority, queued.timestamp_s)


def no_scheduling_gates(queued: QueuedPod) -> bool:
    """SchedulingGates: the pod may enter once it has no gates left."""
    return not queued.spec.scheduling_gates


class _Heap:
    """A heap of queued pods from which any can be dropped: dead entries are skipped, and swept out when they abound."""

    def __init__(self, key: SortKey) -> None:
        self._key = key
        self._entries: list[tuple[tuple, int, int, QueuedPod]] = []
        self._live = 0

    def __len__(self) -> int:
        return self._live

    def push(self, queued: QueuedPod, ticket: int) -> None:
        queued.ticket = ticket
        self._live += 1
        heapq.heappush(self._entries, (self._key(queued), queued.sequence, ticket, queued))

    def drop(self, queued: QueuedPod) -> None:
        queued.ticket = 0
        self._live -= 1
        if len(self._entries) > 64 and self._live < len(self._entries) // 2:
            self._entries = [entry for entry in self._entries if entry[3].ticket == entry[2]]
            heapq.heapify(self._entries)

    def peek(self) -> QueuedPod | None:
        entries = self._entries
        while entries and entries[0][3].ticket != entries[0][2]:
            heapq.heappop(entries)
        return entries[0][3] if entries else None

    def pop(self) -> QueuedPod | None:
        head = self.peek()
        if head is not None:
            heapq.heappop(self._entries)
            self._live -= 1
            head.ticket = 0
        return head


@dataclass(slots=True)
class _Group:
    """Unschedulable pods that share their spec and what rejected them: every hint is the same for all of them."""

    waiting: Waiting
    pods: dict[int, QueuedPod] = field(default_factory=dict)


_Rejection = tuple[frozenset[str], frozenset[str]]
"""(rejecting plugins, pending plugins)."""


class _UnschedulablePods:
    """The unschedulable pods by rejection, then by spec."""

    def __init__(self) -> None:
        self.groups: dict[_Rejection, dict[int, _Group]] = {}
        self._count = 0
        self._oldest: list[tuple[float, int, int, QueuedPod]] = []

    def __len__(self) -> int:
        return self._count

    def add(self, queued: QueuedPod, ticket: int) -> None:
        by_spec = self.groups.setdefault((queued.rejecting, queued.pending), {})
        # Replicas share one spec object; the group keeps it alive, so its id stays its own.
        group = by_spec.get(id(queued.spec))
        if group is None:
            group = by_spec[id(queued.spec)] = _Group(Waiting(queued.spec))
        group.pods[queued.pod] = queued
        self._count += 1
        queued.ticket = ticket
        if len(self._oldest) > 64 and self._count < len(self._oldest) // 2:
            self._oldest = [entry for entry in self._oldest if entry[3].ticket == entry[2]]
            heapq.heapify(self._oldest)
        heapq.heappush(self._oldest, (queued.timestamp_s, queued.sequence, ticket, queued))

    def remove(self, queued: QueuedPod) -> None:
        rejection = (queued.rejecting, queued.pending)
        by_spec = self.groups[rejection]
        group = by_spec[id(queued.spec)]
        del group.pods[queued.pod]
        self._count -= 1
        queued.ticket = 0
        if not group.pods:
            del by_spec[id(queued.spec)]
            if not by_spec:
                del self.groups[rejection]

    def oldest(self) -> QueuedPod | None:
        """The pod that has been here longest by its timestamp."""
        entries = self._oldest
        while entries and entries[0][3].ticket != entries[0][2]:
            heapq.heappop(entries)
        return entries[0][3] if entries else None


class SchedulingQueue:
    """Pods waiting to be scheduled, each in one place. Ids are the caller's; a pod's id may come back once it is gone.

    rules: constants and gates of a version. registrations: which plugin wants which events (default: those of the
    default plugins under these rules; plugins that are not listed want all). sort_key: the queue-sort plugin.
    pre_enqueue: plugin name → whether the pod may enter the active queue (default: SchedulingGates, if the rules have
    it). start_s: when the timers begin to run.
    """

    def __init__(
        self,
        rules: QueueRules | None = None,
        registrations: Registrations | None = None,
        sort_key: SortKey = priority_sort,
        pre_enqueue: Mapping[str, PreEnqueue] | None = None,
        start_s: float = 0.0,
    ) -> None:
        self.rules = rules or QueueRules()
        self._hints = HintMap(self.rules.registrations() if registrations is None else registrations)
        self._sort_key = sort_key
        if pre_enqueue is None:
            pre_enqueue = {"SchedulingGates": no_scheduling_gates} if self.rules.scheduling_gates else {}
        self._pre_enqueue = dict(pre_enqueue)
        self._pods: dict[int, QueuedPod] = {}
        self._active = _Heap(sort_key)
        self._backoff = _Heap(self._backoff_key if self.rules.pop_from_backoff else self._expiry_key)
        self._error_backoff = _Heap(self._expiry_key)
        self._unschedulable = _UnschedulablePods()
        self._gated: dict[int, QueuedPod] = {}
        self._tickets = 0
        self._sequence = 0

        self.scheduling_cycle = 0
        """How many pods were popped."""
        self._move_request_cycle = -1
        self._events: list[ClusterEvent] = []
        self._first_event = 0
        self._in_flight: dict[int, int] = {}

        self._nominated: dict[int, str | int] = {}
        self._nominated_on: dict[str | int, dict[int, None]] = {}

        self._start_s = start_s
        self._backoff_ticks = self._tick(start_s, self._backoff_origin_s, self.rules.backoff_flush_period_s)
        self._leftover_ticks = 0
        self.incoming: Counter[tuple[str, str]] = Counter()
        """Pods that entered a queue ("active", "backoff", "unschedulable", "gated"), by queue and event label."""

    # --- what is where ------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Pods waiting in any queue; those in flight are not counted."""
        return len(self._pods) - len(self._in_flight)

    def __contains__(self, pod: int) -> bool:
        return pod in self._pods

    def get(self, pod: int) -> QueuedPod | None:
        """The record of a pod that is pending or in flight."""
        return self._pods.get(pod)

    @property
    def ready(self) -> bool:
        """Whether `pop` would return a pod now."""
        return len(self._active) > 0 or (self.rules.pop_from_backoff and len(self._backoff) > 0)

    @property
    def lengths(self) -> dict[str, int]:
        """Pods by queue, as in the metric pending_pods, and those in flight."""
        return {
            "active": len(self._active),
            "backoff": len(self._backoff) + len(self._error_backoff),
            "unschedulable": len(self._unschedulable),
            "gated": len(self._gated),
            "in_flight": len(self._in_flight),
        }

    def unschedulable_by_plugin(self) -> Counter[str]:
        """How many waiting pods each plugin rejected at their last attempt."""
        counts: Counter[str] = Counter()
        for queued in self._pods.values():
            if queued.place is not Place.IN_FLIGHT:
                counts.update(queued.rejecting | queued.pending)
        return counts

    # --- the life of a pod --------------------------------------------------------------------------------------------

    def add(self, pod: int, spec: PodSpec, now_s: float, created_s: float | None = None) -> Place:
        """A new pending pod. Returns where it went: ACTIVE or GATED."""
        if pod in self._pods:
            raise ValueError(f"pod {pod} is in the queue already")
        self._sequence += 1
        queued = QueuedPod(pod, spec, spec.priority, now_s if created_s is None else created_s, now_s, self._sequence)
        self._pods[pod] = queued
        self._to_active(queued, UNSCHEDULED_POD_ADD.label, now_s)
        return queued.place

    def pop(self, now_s: float) -> QueuedPod | None:
        """Takes the first pod into its scheduling cycle; None when no pod is ready.

        Call `done` when it is bound or given up, or `add_unschedulable_if_not_present` when it failed.
        """
        queued = self._active.pop()
        if queued is None and self.rules.pop_from_backoff:
            queued = self._backoff.pop()
            if queued is not None:
                self._note_first_attempt(queued, now_s)
                self.incoming["active", POP_FROM_BACKOFF] += 1
        if queued is None:
            return None
        queued.place = Place.IN_FLIGHT
        queued.attempts += 1
        queued.rejecting = queued.pending = frozenset()
        queued.gated_by = ""
        queued.backoff_until_s = None
        self.scheduling_cycle += 1
        self._in_flight[queued.pod] = self._first_event + len(self._events)
        return queued

    def done(self, pod: int) -> None:
        """The pod's attempt is over (bound, or gone); the queue forgets it. Unknown pods are ignored."""
        if pod in self._in_flight:
            self._end_flight(pod)
            del self._pods[pod]
            self.clear_nomination(pod)

    def add_unschedulable_if_not_present(
        self, pod: int, now_s: float, rejecting: Iterable[str] = (), pending: Iterable[str] = ()
    ) -> Place | None:
        """An attempt failed. rejecting: the plugins that found the pod unschedulable; pending: those that want to be
        asked again without back-off; none of either: an error. Returns where the pod went; None: it was deleted.
        """
        queued = self._pods.get(pod)
        if queued is None or queued.place is not Place.IN_FLIGHT:
            raise ValueError(f"pod {pod} is not in its scheduling cycle")
        if queued.deleted:
            self.done(pod)
            return None
        queued.rejecting, queued.pending = frozenset(rejecting), frozenset(pending)
        failed_by_error = not queued.rejecting and not queued.pending
        if failed_by_error:
            queued.consecutive_errors += 1
        else:
            queued.unschedulable_count += 1
            queued.consecutive_errors = 0
        self._sequence += 1
        queued.timestamp_s, queued.sequence, queued.backoff_until_s = now_s, self._sequence, None
        first_event = self._in_flight[pod]
        if self.rules.requeueing is Requeueing.HINTS:
            strategy = self._strategy_after_flight(queued, first_event)
            self._end_flight(pod)
            self._requeue(queued, strategy, SCHEDULE_ATTEMPT_FAILURE, now_s)
        else:
            moved_meanwhile = self._move_request_cycle >= self.scheduling_cycle
            self._end_flight(pod)
            if moved_meanwhile or (failed_by_error and self.rules.requeueing is Requeueing.EVENTS):
                self._to_backoff(queued, SCHEDULE_ATTEMPT_FAILURE)
            else:
                self._to_unschedulable(queued, SCHEDULE_ATTEMPT_FAILURE)
        return queued.place

    def update(self, pod: int, spec: PodSpec, now_s: float) -> Place:
        """A pending pod's spec changed. It moves if the change may make it schedulable; returns where it is now."""
        queued = self._pods.get(pod)
        if queued is None:
            raise ValueError(f"pod {pod} is not in the queue")
        old = queued.spec
        events = pod_updated(pod, old, spec, assigned=False)
        match queued.place:
            case Place.IN_FLIGHT:
                queued.spec, queued.priority = spec, spec.priority
                if self.rules.requeueing is Requeueing.HINTS:
                    self._events.extend(events)
            case Place.UNSCHEDULABLE | Place.GATED:
                self._leave(queued)
                queued.spec, queued.priority = spec, spec.priority
                self._requeue_updated(queued, events, old != spec, now_s)
            case _:
                place = queued.place
                self._leave(queued)
                queued.spec, queued.priority = spec, spec.priority
                self._enter(queued, place)
        return queued.place

    def _requeue_updated(
        self, queued: QueuedPod, events: tuple[ClusterEvent, ...], changed: bool, now_s: float
    ) -> None:
        label = UNSCHEDULED_POD_UPDATE.label
        if self.rules.requeueing is Requeueing.HINTS:
            waiting = Waiting(queued.spec)
            for event in events:
                strategy = self._hints.strategy(event, waiting, queued.pod, queued.rejecting, queued.pending)
                if strategy is not Strategy.SKIP:
                    self._requeue(queued, strategy, event.label, now_s)
                    return
            self._stay(queued)
        elif not changed:
            self._stay(queued)
        elif self.rules.requeueing is Requeueing.EVENTS and self._is_backing_off(queued, now_s):
            self._to_backoff(queued, label)
        else:
            self._to_active(queued, label, now_s)

    def delete(self, pod: int) -> None:
        """A pending pod is gone. One in flight is forgotten when its attempt ends. Unknown pods are ignored."""
        queued = self._pods.get(pod)
        if queued is None:
            return
        self.clear_nomination(pod)
        if queued.place is Place.IN_FLIGHT:
            queued.deleted = True
        else:
            self._leave(queued)
            del self._pods[pod]

    def activate(self, pods: Iterable[int], now_s: float) -> None:
        """Plugins ask for these pods to be tried at once, without back-off; one in flight is retried if it fails."""
        for pod in pods:
            queued = self._pods.get(pod)
            if queued is None or queued.place is Place.ACTIVE:
                continue
            if queued.place is Place.IN_FLIGHT:
                if self.rules.requeueing is Requeueing.HINTS:
                    aim = PodObject(pod, queued.spec, assigned=False)
                    self._events.append(
                        ClusterEvent(Resource.WILDCARD, Action.ALL, new=aim, custom_label=FORCE_ACTIVATE.custom_label)
                    )
                self._move_request_cycle = self.scheduling_cycle
                continue
            was_backing_off = queued.place in (Place.BACKOFF, Place.ERROR_BACKOFF)
            self._leave(queued)
            self._to_active(queued, FORCE_ACTIVATE.label, now_s, passed=was_backing_off and self.rules.pop_from_backoff)

    # --- events and timers --------------------------------------------------------------------------------------------

    def move_all_to_active_or_backoff(
        self, event: ClusterEvent, now_s: float, check: Callable[[PodSpec], bool] | None = None
    ) -> int:
        """Something happened in the cluster: pods that it may help leave the unschedulable ones. Returns how many left.

        check: only pods whose spec passes are looked at (for example those of lower priority).
        """
        if self.rules.requeueing is Requeueing.ALL:
            if not _moves_all_1_20(event):
                return 0
        elif not self._hints.is_of_interest(event):
            return 0
        moving: list[tuple[QueuedPod, Strategy]] = []
        for (rejecting, pending), by_spec in self._unschedulable.groups.items():
            if not self._may_help(event, rejecting, pending):
                continue
            for group in by_spec.values():
                if check is not None and not check(group.waiting.spec):
                    continue
                strategy = self._strategy(event, group, rejecting, pending)
                if strategy is not Strategy.SKIP:
                    moving.extend((queued, strategy) for queued in group.pods.values())
        self._move(moving, event, now_s)
        return len(moving)

    def _may_help(self, event: ClusterEvent, rejecting: frozenset[str], pending: frozenset[str]) -> bool:
        """Whether any pod with this rejection can gain from the event, as far as registrations tell."""
        if self.rules.requeueing is Requeueing.ALL or event.is_wildcard or not (rejecting or pending):
            return True
        return bool(self._hints.hints(event, rejecting | pending if pending else rejecting))

    def _strategy(
        self, event: ClusterEvent, group: _Group, rejecting: frozenset[str], pending: frozenset[str]
    ) -> Strategy:
        scales_down = event.action == Action.UPDATE_POD_SCALE_DOWN
        if event.resource is Resource.ASSIGNED_POD and event.action != Action.DELETE and not scales_down:
            # A pod that came or changed helps only those that look across nodes for pods like it.
            assert isinstance(event.new, PodObject)
            same_namespace = event.new.spec.namespace == group.waiting.spec.namespace
            spreads = (
                self.rules.requeueing is not Requeueing.ALL and "PodTopologySpread" in rejecting and same_namespace
            )
            if not spreads and not group.waiting.wants(event.new.spec):
                return Strategy.SKIP
        if self.rules.requeueing is Requeueing.ALL:
            return Strategy.AFTER_BACKOFF
        return self._hints.strategy(event, group.waiting, -1, rejecting, pending)

    def _move(self, moving: list[tuple[QueuedPod, Strategy]], event: ClusterEvent, now_s: float) -> None:
        for queued, strategy in moving:
            self._leave(queued)
            self._requeue(queued, strategy, event.label, now_s)
        self._move_request_cycle = self.scheduling_cycle
        if self._in_flight and self.rules.requeueing is Requeueing.HINTS:
            self._events.append(event)

    def flush(self, now_s: float) -> int:
        """Runs the timers that are due at `now_s`; returns how many pods they moved. Calling it early does no harm."""
        moved = 0
        tick = self._tick(now_s, self._backoff_origin_s, self.rules.backoff_flush_period_s)
        if tick > self._backoff_ticks:
            self._backoff_ticks = tick
            tick_s = self._backoff_origin_s + tick * self.rules.backoff_flush_period_s
            for heap in (self._backoff, self._error_backoff):
                while (head := heap.peek()) is not None and not self._is_backing_off(head, tick_s):
                    heap.pop()
                    self._to_active(head, BACKOFF_COMPLETE, now_s, passed=self.rules.pop_from_backoff)
                    moved += 1
        tick = self._tick(now_s, self._start_s, self.rules.leftover_flush_period_s)
        if tick > self._leftover_ticks:
            self._leftover_ticks = tick
            tick_s = self._start_s + tick * self.rules.leftover_flush_period_s
            moving = []
            while (head := self._unschedulable.oldest()) is not None and self._has_overstayed(head, tick_s):
                self._unschedulable.remove(head)
                moving.append(head)
            for queued in moving:
                self._requeue(queued, Strategy.AFTER_BACKOFF, UNSCHEDULABLE_TIMEOUT.label, now_s)
            if moving:
                self._move([], UNSCHEDULABLE_TIMEOUT, now_s)
            moved += len(moving)
        return moved

    def next_wakeup_s(self) -> float:
        """The next time at which `flush` would move a pod; infinity when no timer runs."""
        times = [math.inf]
        period_s, origin_s = self.rules.backoff_flush_period_s, self._backoff_origin_s
        for heap in (self._backoff, self._error_backoff):
            if (head := heap.peek()) is not None:
                tick = self._tick(max(self._expiry_s(head), head.timestamp_s), origin_s, period_s)
                while self._is_backing_off(head, origin_s + tick * period_s):
                    tick += 1
                times.append(origin_s + max(tick, self._backoff_ticks + 1) * period_s)
        if (oldest := self._unschedulable.oldest()) is not None:
            period_s, origin_s = self.rules.leftover_flush_period_s, self._start_s
            tick = self._tick(oldest.timestamp_s + self.rules.unschedulable_limit_s, origin_s, period_s)
            while not self._has_overstayed(oldest, origin_s + tick * period_s):
                tick += 1
            times.append(origin_s + max(tick, self._leftover_ticks + 1) * period_s)
        return min(times)

    @property
    def _backoff_origin_s(self) -> float:
        """Back-off flushes fall on whole periods when pods are ordered by them, else on periods since the start."""
        return 0.0 if self.rules.pop_from_backoff else self._start_s

    @staticmethod
    def _tick(now_s: float, origin_s: float, period_s: float) -> int:
        """How many periods have gone by; a time a rounding error short of a tick counts as the tick."""
        return math.floor((now_s - origin_s) / period_s + 1e-9)

    def _has_overstayed(self, queued: QueuedPod, now_s: float) -> bool:
        return now_s - queued.timestamp_s > self.rules.unschedulable_limit_s

    # --- back-off -----------------------------------------------------------------------------------------------------

    def _expiry_s(self, queued: QueuedPod) -> float:
        """When the pod's back-off ends; minus infinity for one that owes none."""
        if queued.backoff_until_s is None:
            queued.backoff_until_s = self._work_out_expiry_s(queued)
        return queued.backoff_until_s

    def _work_out_expiry_s(self, queued: QueuedPod) -> float:
        rules = self.rules
        failures = queued.attempts if rules.count_attempts else queued.consecutive_errors or queued.unschedulable_count
        if failures == 0 or (rules.max_backoff_s == 0 and not rules.count_attempts):
            return -math.inf
        doublings = min(failures - 1, 62)
        expiry_s = queued.timestamp_s + min(rules.initial_backoff_s * 2.0**doublings, rules.max_backoff_s)
        if not rules.pop_from_backoff:
            return expiry_s
        return self._tick(expiry_s, 0.0, rules.backoff_flush_period_s) * rules.backoff_flush_period_s

    def _is_backing_off(self, queued: QueuedPod, now_s: float) -> bool:
        expiry_s = self._expiry_s(queued)
        if self.rules.pop_from_backoff:  # the whole period in which it ends counts as back-off
            period_s = self.rules.backoff_flush_period_s
            return expiry_s >= self._tick(now_s, 0.0, period_s) * period_s
        return expiry_s > now_s

    def _expiry_key(self, queued: QueuedPod) -> tuple:
        return (self._expiry_s(queued),)

    def _backoff_key(self, queued: QueuedPod) -> tuple:
        return (self._expiry_s(queued), *self._sort_key(queued))

    # --- moving -------------------------------------------------------------------------------------------------------

    def _requeue(self, queued: QueuedPod, strategy: Strategy, label: str, now_s: float) -> None:
        if strategy is Strategy.SKIP:
            self._to_unschedulable(queued, label)
        elif strategy is Strategy.AFTER_BACKOFF and self._is_backing_off(queued, now_s):
            self._to_backoff(queued, label)
        else:
            self._to_active(queued, label, now_s)

    def _to_active(self, queued: QueuedPod, label: str, now_s: float, passed: bool = False) -> None:
        """passed: the pre-enqueue plugins have let it through already."""
        if not passed and not self._passes_pre_enqueue(queued):
            self._to_gated(queued, label)
            return
        self._note_first_attempt(queued, now_s)
        self._enter(queued, Place.ACTIVE)
        self.incoming["active", label] += 1

    def _to_backoff(self, queued: QueuedPod, label: str) -> None:
        if self.rules.pop_from_backoff and not self._passes_pre_enqueue(queued):
            self._to_gated(queued, label)
            return
        failed_by_error = not queued.rejecting and not queued.pending
        self._enter(queued, Place.ERROR_BACKOFF if failed_by_error else Place.BACKOFF)
        self.incoming["backoff", label] += 1

    def _to_unschedulable(self, queued: QueuedPod, label: str) -> None:
        self._enter(queued, Place.UNSCHEDULABLE)
        self.incoming["unschedulable", label] += 1

    def _to_gated(self, queued: QueuedPod, label: str) -> None:
        self._enter(queued, Place.GATED)
        self.incoming["gated", label] += 1

    def _stay(self, queued: QueuedPod) -> None:
        """Back among the pods it came from."""
        self._enter(queued, Place.GATED if queued.gated_by else Place.UNSCHEDULABLE)

    def _passes_pre_enqueue(self, queued: QueuedPod) -> bool:
        for plugin, passes in self._pre_enqueue.items():
            if not passes(queued):
                queued.gated_by = plugin
                queued.rejecting |= {plugin}
                return False
        queued.gated_by = ""
        return True

    @staticmethod
    def _note_first_attempt(queued: QueuedPod, now_s: float) -> None:
        if queued.initial_attempt_s is None:
            queued.initial_attempt_s = now_s

    def _enter(self, queued: QueuedPod, place: Place) -> None:
        queued.place = place
        self._tickets += 1
        match place:
            case Place.ACTIVE:
                self._active.push(queued, self._tickets)
            case Place.BACKOFF:
                self._backoff.push(queued, self._tickets)
            case Place.ERROR_BACKOFF:
                self._error_backoff.push(queued, self._tickets)
            case Place.UNSCHEDULABLE:
                self._unschedulable.add(queued, self._tickets)
            case Place.GATED:
                self._gated[queued.pod] = queued

    def _leave(self, queued: QueuedPod) -> None:
        match queued.place:
            case Place.ACTIVE:
                self._active.drop(queued)
            case Place.BACKOFF:
                self._backoff.drop(queued)
            case Place.ERROR_BACKOFF:
                self._error_backoff.drop(queued)
            case Place.UNSCHEDULABLE:
                self._unschedulable.remove(queued)
            case Place.GATED:
                del self._gated[queued.pod]

    # --- in flight ----------------------------------------------------------------------------------------------------

    def _strategy_after_flight(self, queued: QueuedPod, first_event: int) -> Strategy:
        """What the events since the pod was popped mean for it, now that it is known what rejected it."""
        strategy = Strategy.AFTER_BACKOFF
        if queued.rejecting or queued.pending:
            strategy = Strategy.SKIP
            waiting = Waiting(queued.spec)
            for event in self._events[first_event - self._first_event :]:
                verdict = self._hints.strategy(event, waiting, queued.pod, queued.rejecting, queued.pending)
                if verdict is Strategy.IMMEDIATELY or (verdict is Strategy.AFTER_BACKOFF and not queued.pending):
                    return verdict
                if verdict is Strategy.AFTER_BACKOFF:
                    strategy = verdict
        return strategy

    def _end_flight(self, pod: int) -> None:
        """The pod is no longer in flight; events that all others in flight were popped after are dropped."""
        del self._in_flight[pod]
        if not self._in_flight:
            self._first_event += len(self._events)
            self._events.clear()
        else:
            # Pods are popped in the order of their first events, so the first one left has the earliest.
            unused = next(iter(self._in_flight.values())) - self._first_event
            if unused > 64 and unused > len(self._events) // 2:
                del self._events[:unused]
                self._first_event += unused

    # --- nominations --------------------------------------------------------------------------------------------------

    def nominate(self, pod: int, node: str | int) -> None:
        """Preemption made room for the pod on the node (the caller's name or index); replaces an earlier nomination."""
        self.clear_nomination(pod)
        self._nominated[pod] = node
        self._nominated_on.setdefault(node, {})[pod] = None

    def clear_nomination(self, pod: int) -> None:
        node = self._nominated.pop(pod, None)
        if node is not None:
            pods = self._nominated_on[node]
            del pods[pod]
            if not pods:
                del self._nominated_on[node]

    def nominated_node(self, pod: int) -> str | int | None:
        return self._nominated.get(pod)

    def nominated_pods(self, node: str | int) -> tuple[int, ...]:
        """The pods nominated to a node, in the order of their nomination."""
        return tuple(self._nominated_on.get(node, ()))


def _moves_all_1_20(event: ClusterEvent) -> bool:
    """The events upon which 1.20 retries the unschedulable pods."""
    if event.resource is Resource.NODE:
        return event.action not in (Action.DELETE, Action.UPDATE_NODE_ANNOTATION)
    return event.is_wildcard or event.resource is Resource.ASSIGNED_POD
