"""Fair queuing of requests over the queues of one priority level: pure rules, no clock.

Every queue is owed an equal share of the level's seats. R, the seat-seconds owed to a queue so far, advances at
min(seats wanted, limit) / active queues; a queue's next dispatch stands at an R of its own, which grows by each
request's expected work and is corrected when the work is done. The queue whose head would finish first is served
first; from equal ones the next in turn.

Two generations. Kubernetes 1.20 counts requests: one seat each, expected to take 60 s; the shortest queue of the
hand is joined, and who has waited too long leaves when the next request joins that queue. From 1.26 on seat-seconds
are counted: a request is as wide as its work estimate (3 ms, and seats that it keeps for a while after it is done),
the queue with the least waiting work is joined, and no queue may save up unused share (its next dispatch never lies
before the arrival of its head).

Sources: Kubernetes enhancement 1040; Kubernetes 1.20 and 1.34 source, apiserver fairqueuing/queueset. The slow twin
is `fair_queuing_twin.py`.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

SAME_R = 1e-8
"""Seat-seconds that the real server cannot tell apart: its progress meter counts in units of 1e-8."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What differs between the generations."""

    service_s: float
    """How long a request is expected to take before it is known."""
    seat_seconds: bool
    """Widths, choice by work, and no saving up of share: as from 1.26 on."""


RULES_1_20 = Rules(service_s=60.0, seat_seconds=False)
RULES_1_34 = Rules(service_s=0.003, seat_seconds=True)


class Queue:
    """One queue of a level."""

    __slots__ = ("executing", "index", "next_r", "seats", "waiting", "work")

    def __init__(self, index: int) -> None:
        self.index = index
        self.waiting: deque[Request] = deque()
        self.executing = 0
        self.seats = 0
        """Seats that its requests hold, those they only keep for a while after the end included."""
        self.work = 0.0
        """Expected seat-seconds of what waits."""
        self.next_r = 0.0
        """R at which its head is dispatched, if all take their share."""


class Request:
    """One request at a level. `code` is 0 while it may go on, else the answer that it gets: 429 or 504."""

    __slots__ = (
        "arrived_r",
        "arrived_s",
        "code",
        "event",
        "final_seats",
        "keep_s",
        "level",
        "queue",
        "seats",
        "started_s",
        "width",
        "work",
    )

    def __init__(self, level: Any = None, seats: int = 1, final_seats: int = 0, keep_s: float = 0.0) -> None:
        self.level = level
        self.seats = seats
        """Seats while it is served."""
        self.final_seats = final_seats
        """Seats that it keeps for `keep_s` after its end, for the watchers that are told."""
        self.keep_s = keep_s
        self.code = 0
        self.event: Any = None
        """Fires when it is known what becomes of it; None: it is known."""
        self.queue: Queue | None = None
        self.arrived_s = 0.0
        self.arrived_r = 0.0
        self.started_s = -1.0
        """Below 0: not yet."""
        self.work = 0.0
        self.width = seats if seats > final_seats else final_seats
        """Seats that it holds from its start until it gives them back."""


class FairQueues:
    """The queues of one level.

    limit: seats. queues: how many; 0: none, who finds no seat is refused; -1: exempt, nobody waits. queue_length: most
    that wait in one queue. A caller passes the time now, which must not fall.
    """

    def __init__(self, limit: int, queues: int, queue_length: int, rules: Rules) -> None:
        self.limit = limit
        self.rules = rules
        self.queues = [Queue(index) for index in range(max(0, queues))]
        self.exempt = queues < 0
        self._queue_length = queue_length
        self._nonempty: list[int] = []
        """Queues in which someone waits, in order."""
        self._robin = 0
        self._active = 0
        """Queues in which someone waits or is served."""
        self._now_s = 0.0
        self._enqueues = 0
        self.r = 0.0
        self.waiting = 0
        self.executing = 0
        self.seats = 0
        self.seats_waiting = 0

    # --- what callers do

    def arrive(self, request: Request, hand: Sequence[int], now_s: float) -> bool:
        """A request of a flow with this hand of queues. False: refused. Where it waits afterwards, `dispatch` is due."""
        if not self.queues:
            return self._start_without_queue(request, now_s)
        self._advance(now_s)
        rules = self.rules
        if rules.seat_seconds:
            queue = self._least_work(hand)
            request.work = request.seats * rules.service_s + request.final_seats * request.keep_s
        else:
            queue = self._shortest(hand)
            request.work = rules.service_s
        if self.seats >= self.limit and len(queue.waiting) >= self._queue_length:
            return False
        request.queue = queue
        request.arrived_s = now_s
        request.arrived_r = self.r
        if not queue.waiting and not queue.executing:
            queue.next_r = self.r
            self._active += 1
        if not self.waiting and self.seats + request.width <= self.limit:  # nobody to be fair to: straight through
            if rules.seat_seconds and queue.next_r < self.r:
                queue.next_r = self.r
            self._robin = queue.index
            self._start(request, queue, now_s)
            return True
        if not queue.waiting:
            insort(self._nonempty, queue.index)
        queue.waiting.append(request)
        queue.work += request.work
        self.waiting += 1
        self.seats_waiting += request.width
        self._bound(queue)
        return True

    def dispatch(self, now_s: float) -> list[Request]:
        """Start as many as seats allow; returns them in order."""
        started: list[Request] = []
        self._advance(now_s)
        while self.waiting and self.seats < self.limit:
            request = self._next()
            if request is None:
                break
            started.append(request)
            self._start(request, self._leave_queue(request), now_s)
        return started

    def finish(self, request: Request, now_s: float) -> bool:
        """A request has been served. True: its seats are free; False: it keeps them for `keep_s`, then `free` is due."""
        queue = request.queue
        if queue is not None:
            self._advance(now_s)
            queue.executing -= 1
            if not queue.executing and not queue.waiting:
                self._active -= 1
            queue.next_r -= request.seats * (self.rules.service_s - (now_s - request.started_s))
            if queue.waiting:
                self._bound(queue)
        self.executing -= 1
        if request.keep_s > 0:
            return False
        self._give_back(request)
        return True

    def free(self, request: Request, now_s: float) -> None:
        """The seats that a finished request kept are free now."""
        self._advance(now_s)
        self._give_back(request)

    def give_up(self, request: Request, now_s: float) -> None:
        """A request that waits leaves its queue unserved."""
        self._advance(now_s)
        queue = self._leave_queue(request)
        if not queue.waiting and not queue.executing:
            self._active -= 1
        self._bound(queue)

    def set_limit(self, limit: int, now_s: float) -> None:
        """Another number of seats from now on; `dispatch` is due."""
        self._advance(now_s)
        self.limit = limit

    def queue_of(self, hand: Sequence[int]) -> Queue:
        """The queue that a flow with this hand joins next, under the rules of 1.20."""
        return self._shortest(hand)

    # --- the rules

    def _advance(self, now_s: float) -> None:
        held_s = now_s - self._now_s
        if held_s:
            self._now_s = now_s
            if self._active:
                wanted = self.seats + self.seats_waiting if self.rules.seat_seconds else self.executing
                self.r += held_s * (wanted if wanted < self.limit else self.limit) / self._active

    def _shortest(self, hand: Sequence[int]) -> Queue:
        queues = self.queues
        best = queues[hand[0]]
        if self.waiting:
            for card in hand:
                if len(queues[card].waiting) < len(best.waiting):
                    best = queues[card]
        return best

    def _least_work(self, hand: Sequence[int]) -> Queue:
        """Looked at from another card each time, so that flows whose hands overlap do not all prefer one queue."""
        first = self._enqueues % len(hand)
        self._enqueues += 1
        queues = self.queues
        best = queues[hand[first]]
        if self.waiting:
            for card in (*hand[first:], *hand[:first]):
                if queues[card].work < best.work - SAME_R:
                    best = queues[card]
        return best

    def _fits(self, request: Request) -> bool:
        if not self.rules.seat_seconds:
            return self.seats < self.limit
        width = request.width
        if width > self.limit:  # wider than the level: alone
            return not self.executing
        return self.seats + width <= self.limit

    def _next(self) -> Request | None:
        """The head that would finish first; None where its seats are not free yet."""
        least = inf
        chosen: Request | None = None
        turn = bisect_right(self._nonempty, self._robin)
        for index in (*self._nonempty[turn:], *self._nonempty[:turn]):
            queue = self.queues[index]
            head = queue.waiting[0]
            finish = queue.next_r + head.work
            if finish < least - SAME_R:
                least = finish
                chosen = head
        if chosen is None or not self._fits(chosen):
            return None
        if chosen.final_seats > self.limit:  # the same work on fewer seats
            chosen.keep_s *= chosen.final_seats / self.limit
            self.seats_waiting -= chosen.width
            chosen.final_seats = self.limit
            chosen.width = max(chosen.seats, self.limit)
            self.seats_waiting += chosen.width
        assert chosen.queue is not None
        self._robin = chosen.queue.index
        return chosen

    def _leave_queue(self, request: Request) -> Queue:
        queue = request.queue
        assert queue is not None
        if queue.waiting[0] is request:
            queue.waiting.popleft()
        else:
            queue.waiting.remove(request)
        queue.work = queue.work - request.work if queue.waiting else 0.0
        self.waiting -= 1
        self.seats_waiting -= request.width
        if not queue.waiting:
            self._nonempty.remove(queue.index)
        return queue

    def _start(self, request: Request, queue: Queue, now_s: float) -> None:
        width = request.width
        request.started_s = now_s
        self.executing += 1
        self.seats += width
        queue.executing += 1
        queue.seats += width
        queue.next_r += request.work
        if queue.waiting:
            self._bound(queue)

    def _bound(self, queue: Queue) -> None:
        """Unused share is not saved up: the next dispatch does not lie before the head's arrival."""
        if self.rules.seat_seconds and queue.waiting:
            earliest = queue.waiting[0].arrived_r
            if queue.next_r < earliest:
                queue.next_r = earliest

    def _start_without_queue(self, request: Request, now_s: float) -> bool:
        if not self.exempt and not self._fits(request):
            return False
        request.arrived_s = request.started_s = now_s
        self.executing += 1
        self.seats += request.width
        return True

    def _give_back(self, request: Request) -> None:
        width = request.width
        self.seats -= width
        if request.queue is not None:
            request.queue.seats -= width
