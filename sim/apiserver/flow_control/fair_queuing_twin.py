"""The slow twin of `fair_queuing.py`: every sum is taken anew, every queue is looked at, nothing is skipped."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from sim.apiserver.flow_control.fair_queuing import SAME_R, Queue, Request, Rules


class FairQueuesTwin:
    """As `FairQueues`, for levels with queues."""

    def __init__(self, limit: int, queues: int, queue_length: int, rules: Rules) -> None:
        self.limit = limit
        self.rules = rules
        self.queues = [Queue(index) for index in range(queues)]
        self.queue_length = queue_length
        self.served: list[Request] = []
        self.kept: list[Request] = []
        """Finished, their seats not free yet."""
        self.robin = 0
        self.enqueues = 0
        self.r = 0.0
        self.now_s = 0.0

    @property
    def seats(self) -> int:
        return sum(request.width for request in (*self.served, *self.kept))

    def arrive(self, request: Request, hand: Sequence[int], now_s: float) -> bool:
        self._advance(now_s)
        rules = self.rules
        if rules.seat_seconds:
            request.work = request.seats * rules.service_s + request.final_seats * request.keep_s
            first = self.enqueues % len(hand)
            self.enqueues += 1
            order = [*hand[first:], *hand[:first]]
        else:
            request.work = rules.service_s
            order = list(hand)
        chosen = self.queues[order[0]]
        for card in order:
            if self._load(self.queues[card]) < self._load(chosen) - SAME_R:
                chosen = self.queues[card]
        if self.seats >= self.limit and len(chosen.waiting) >= self.queue_length:
            return False
        request.queue, request.arrived_s, request.arrived_r = chosen, now_s, self.r
        if not chosen.waiting and not self._served_from(chosen):
            chosen.next_r = self.r
        chosen.waiting.append(request)
        self._bound(chosen)
        return True

    def dispatch(self, now_s: float) -> list[Request]:
        self._advance(now_s)
        started = []
        while any(queue.waiting for queue in self.queues) and self.seats < self.limit:
            least, chosen = inf, None
            for step in range(1, len(self.queues) + 1):
                queue = self.queues[(self.robin + step) % len(self.queues)]
                if queue.waiting and queue.next_r + queue.waiting[0].work < least - SAME_R:
                    least, chosen = queue.next_r + queue.waiting[0].work, queue
            assert chosen is not None
            head = chosen.waiting[0]
            if self.rules.seat_seconds:
                alone = head.width > self.limit and not self.served
                if not alone and self.seats + head.width > self.limit:
                    break
                if head.final_seats > self.limit:
                    head.keep_s *= head.final_seats / self.limit
                    head.final_seats = self.limit
                    head.width = max(head.seats, self.limit)
            self.robin = chosen.index
            chosen.waiting.popleft()
            head.started_s = now_s
            self.served.append(head)
            chosen.next_r += head.work
            self._bound(chosen)
            started.append(head)
        return started

    def finish(self, request: Request, now_s: float) -> bool:
        self._advance(now_s)
        self.served.remove(request)
        queue = request.queue
        assert queue is not None
        queue.next_r -= request.seats * (self.rules.service_s - (now_s - request.started_s))
        self._bound(queue)
        if request.keep_s > 0:
            self.kept.append(request)
            return False
        return True

    def free(self, request: Request, now_s: float) -> None:
        self._advance(now_s)
        self.kept.remove(request)

    def give_up(self, request: Request, now_s: float) -> None:
        self._advance(now_s)
        assert request.queue is not None
        request.queue.waiting.remove(request)
        self._bound(request.queue)

    def set_limit(self, limit: int, now_s: float) -> None:
        self._advance(now_s)
        self.limit = limit

    def _load(self, queue: Queue) -> float:
        return sum(request.work for request in queue.waiting) if self.rules.seat_seconds else len(queue.waiting)

    def _served_from(self, queue: Queue) -> int:
        return sum(request.queue is queue for request in self.served)

    def _advance(self, now_s: float) -> None:
        held_s, self.now_s = now_s - self.now_s, now_s
        active = sum(1 for queue in self.queues if queue.waiting or self._served_from(queue))
        if not active:
            return
        wanted = len(self.served)
        if self.rules.seat_seconds:
            wanted = self.seats + sum(request.width for queue in self.queues for request in queue.waiting)
        self.r += held_s * min(wanted, self.limit) / active

    def _bound(self, queue: Queue) -> None:
        if self.rules.seat_seconds and queue.waiting:
            queue.next_r = max(queue.next_r, queue.waiting[0].arrived_r)
