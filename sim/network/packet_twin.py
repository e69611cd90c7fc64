"""Packets one by one: the slow twin of flows and of the latency model, for small cases.

Every packet queues at the sender's core, at the link's port with its finite buffer, and at the receiver's core. TCP keeps a window with
slow start, additive increase and halving on loss (Reno, which shares a bottleneck evenly); UDP sends at its rate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sim.engine.clock import Clock


class Port:
    """A first-come first-served server with a finite buffer."""

    def __init__(self, clock: Clock, buffer: int) -> None:
        self._clock = clock
        self._buffer = buffer
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self._busy = False
        self.dropped = 0
        self.served = 0
        self.busy_s = 0.0

    def offer(self, service_s: float, done: Callable[[], None]) -> bool:
        """Queue one packet; False when the buffer is full and it is dropped."""
        if self._busy and len(self._waiting) >= self._buffer:
            self.dropped += 1
            return False
        self._waiting.append((service_s, done))
        if not self._busy:
            self._next()
        return True

    def _next(self) -> None:
        service_s, done = self._waiting.popleft()
        self._busy = True
        self.busy_s += service_s

        def finish(_: object) -> None:
            self.served += 1
            self._busy = False
            if self._waiting:
                self._next()
            done()

        self._clock.at(service_s, finish)


@dataclass
class TcpFlow:
    """One bulk TCP flow of equal segments through ports, with `service_s` at each, and a fixed delay of the acknowledgement."""

    clock: Clock
    ports: list[Port]
    service_s: list[float]
    delay_s: float
    window: float = 10.0
    threshold: float = 1e9
    in_flight: int = 0
    delivered: int = 0
    lost: int = 0
    _recovering_until: int = field(default=0)
    _sent: int = 0

    def start(self) -> None:
        while self.in_flight < int(self.window):
            self.in_flight += 1
            self._sent += 1
            self._hop(0, self._sent)

    def _hop(self, index: int, number: int) -> None:
        if index == len(self.ports):
            self.clock.at(self.delay_s, lambda _: self._acknowledged())
            return
        if not self.ports[index].offer(self.service_s[index], lambda: self._hop(index + 1, number)):
            self.clock.at(self.delay_s, lambda _: self._lost(number))

    def _acknowledged(self) -> None:
        self.delivered += 1
        self.in_flight -= 1
        self.window += 1.0 if self.window < self.threshold else 1.0 / self.window
        self.start()

    def _lost(self, number: int) -> None:
        self.lost += 1
        self.in_flight -= 1
        if number > self._recovering_until:  # one halving a window
            self.window = self.threshold = max(2.0, self.window / 2)
            self._recovering_until = self._sent
        self.start()


def waits_of_poisson(
    rate_per_s: float, service_s: Callable[[np.random.Generator], float], packets: int, rng: np.random.Generator
) -> np.ndarray:
    """Waiting times of Poisson packets at one port without a limit of buffer: an M/G/1 queue packet by packet."""
    clock = Clock()
    port = Port(clock, 10**9)
    waits = np.zeros(packets)

    def arrive(index: int) -> None:
        came = clock.now
        duration = service_s(rng)

        def done() -> None:
            waits[index] = clock.now - came - duration

        port.offer(duration, done)
        if index + 1 < packets:
            clock.at(rng.exponential(1 / rate_per_s), lambda _: arrive(index + 1))

    arrive(0)
    clock.run_until(1e12)
    return waits
