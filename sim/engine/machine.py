"""Machines: cores shared by everything that runs on them."""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf

from simpy.events import Event

from sim.engine.clock import Clock, fire
from sim.engine.meter import Meter

TOLERANCE_S = 1e-9
"""Work left below this is done: a thousandth of the shortest modelled step, far above rounding at 10^5 s."""


class Machine:
    """Cores under egalitarian processor sharing, kept in virtual time: O(log n) a job.

    n threads on c cores each advance at min(1, c/n) core seconds a second. Virtual time is the service one
    thread has attained since the machine was last idle, so a job's finish is fixed when it arrives and
    only the map from virtual to real time changes. Completions fire directly from one alarm.

    name: as in results. cores: number of cores. speed: core seconds of reference work done in one second.
    """

    __slots__ = ("_alarm", "_alarm_at", "_clock", "_jobs", "_order", "_since", "_speed", "_threads", "_virtual", "cores", "meter")

    def __init__(self, clock: Clock, name: str, room: str, cores: float, speed: float = 1.0) -> None:
        self._clock = clock
        self.cores = cores
        self._speed = speed
        self._jobs: list[tuple[float, int, int, Event | None]] = []
        self._order = 0
        self._threads = 0
        self._virtual = 0.0
        self._since = 0.0
        self._alarm: Event | None = None
        self._alarm_at = inf
        self.meter = Meter(clock, name, room, cores)

    def work(self, cpu_s: float, threads: int = 1) -> Event:
        """Put `cpu_s` core seconds of work on the cores; the event fires when it is done.

        threads: the work is split evenly over that many threads, each on at most one core at a time.
        """
        event = Event(self._clock)
        if cpu_s <= 0:
            fire(event)
            return event
        self._add(cpu_s, threads, event)
        return event

    def load(self, cpu_s: float, threads: int = 1) -> None:
        """Put work on the cores that nobody waits for."""
        if cpu_s > 0:
            self._add(cpu_s, threads, None)

    def _add(self, cpu_s: float, threads: int, event: Event | None) -> None:
        self._advance()
        self._order += 1
        heappush(self._jobs, (self._virtual + cpu_s / (self._speed * threads), self._order, threads, event))
        self._threads += threads
        self.meter.level(min(self._threads, self.cores), max(0.0, self._threads - self.cores))
        self.meter.served += 1
        self._arm()

    def _advance(self) -> None:
        now = self._clock._now
        if self._threads:
            self._virtual += (now - self._since) * min(1.0, self.cores / self._threads)
        self._since = now

    def _arm(self) -> None:
        left = max(0.0, self._jobs[0][0] - self._virtual)
        finish = self._clock._now + left * max(1.0, self._threads / self.cores)
        if finish < self._alarm_at:  # a later finish waits for the alarm already set, which arms the next one
            self._alarm_at = finish
            self._alarm = self._clock.at(finish - self._clock._now, self._ring)

    def _ring(self, alarm: Event) -> None:
        if alarm is not self._alarm:
            return
        self._alarm, self._alarm_at = None, inf
        self._advance()
        jobs = self._jobs
        done = []
        while jobs and jobs[0][0] <= self._virtual + TOLERANCE_S:
            _, _, threads, event = heappop(jobs)
            self._threads -= threads
            if event is not None:
                done.append(event)
        self.meter.level(min(self._threads, self.cores), max(0.0, self._threads - self.cores))
        if jobs:
            self._arm()
        else:
            self._virtual = 0.0
        for event in done:
            fire(event)
