"""Machines: cores shared by everything that runs on them."""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf

from simpy.events import Event

from sim.engine.clock import NORMAL, Alarm, Clock, fire
from sim.engine.meter import Meter

TOLERANCE_S = 1e-9
"""Work left below this is done: a thousandth of the shortest modelled step, far above rounding at 10^5 s."""
CLOCK_STEPS = 2.0**-51
"""Two or more steps of a double, as a share of the time the clock shows."""


class _CoreMeter(Meter):
    """A meter whose integrals the machine keeps, together with its virtual time."""

    __slots__ = ("_machine",)

    def __init__(self, clock: Clock, name: str, room: str, cores: float, machine: Machine) -> None:
        super().__init__(clock, name, room, cores)
        self._machine = machine

    def read(self) -> tuple[float, float]:
        self._machine._advance()
        return self.in_use_s, self.queue_s


class Machine:
    """Cores under egalitarian processor sharing, kept in virtual time: O(log n) a job.

    n threads on c cores each advance at min(1, c/n) core seconds a second. Virtual time is the service one
    thread has attained since the machine was last idle, so a job's finish is fixed when it arrives and
    only the map from virtual to real time changes. Completions fire directly from one alarm.

    name: as in results. cores: number of cores. speed: core seconds of reference work done in one second.
    """

    __slots__ = (
        "_alarms",
        "_cancelled",
        "_clock",
        "_firing",
        "_jobs",
        "_order",
        "_rate",
        "_speed",
        "_threads",
        "_virtual",
        "cores",
        "meter",
        "stretch_s",
    )

    def __init__(self, clock: Clock, name: str, room: str, cores: float, speed: float = 1.0) -> None:
        self._clock = clock
        self.cores = cores
        self._speed = speed
        self._jobs: list[tuple[float, int, int, Event | None]] = []
        self._cancelled: set[Event] = set()
        self._firing: list[Event] = []
        self._order = 0
        self._threads = 0
        self._virtual = 0.0
        self._rate = 1.0
        """Virtual seconds a second: min(1, cores / threads)."""
        self.stretch_s = 1.0 / speed
        """`stretch()`, for those who ask very often."""
        self._alarms = [inf]
        """When the alarms set will ring, the next one last. One that work overtook rings too, and is the next job's again."""
        self.meter = _CoreMeter(clock, name, room, cores, self)

    def work(self, cpu_s: float, threads: int = 1) -> Event:
        """Put `cpu_s` core seconds of work on the cores; the event fires when it is done.

        threads: the work is split evenly over that many threads, each on at most one core at a time.
        """
        if cpu_s <= 0:
            return self._clock.happened
        event = Event(self._clock)
        self._add(cpu_s, threads, event)
        return event

    def load(self, cpu_s: float, threads: int = 1) -> None:
        """Put work on the cores that nobody waits for."""
        if cpu_s > 0:
            self._add(cpu_s, threads, None)

    def cancel(self, event: Event, threads: int = 1) -> None:
        """Take work off the cores that is not done yet; its event never fires. threads: as it was put on."""
        if event in self._firing:  # done in this very instant, and about to say so
            if event.callbacks is not None:
                event.callbacks.clear()
            return
        self._advance()
        self._cancelled.add(event)
        self._share(self._threads - threads)
        self._next()

    def attained_s(self) -> float:
        """Core seconds that a thread has had since the machine was last idle."""
        self._advance()
        return self._virtual

    def stretch(self) -> float:
        """Seconds that one core second of a thread takes at the present load."""
        return self.stretch_s

    def _add(self, cpu_s: float, threads: int, event: Event | None) -> None:
        # `_advance` and `_share`, written out: this is half of all that a run does
        clock, meter = self._clock, self.meter
        now = clock._now
        held = now - meter.since_s
        if held:
            self._virtual += held * self._rate
            meter.in_use_s += held * meter.in_use
            meter.queue_s += held * meter.queue
            meter.since_s = now
        self._order += 1
        jobs = self._jobs
        heappush(jobs, (self._virtual + cpu_s / (self._speed * threads), self._order, threads, event))
        meter.served += 1
        total = self._threads + threads
        if total <= self.cores:
            self._threads = total
            meter.in_use = total
            finish = now + (jobs[0][0] - self._virtual)
        else:
            self._share(total)
            finish = now + (jobs[0][0] - self._virtual) / self._rate
        if finish < self._alarms[-1] - TOLERANCE_S:  # a later finish waits for the alarm already set, which arms the next one
            at_s = finish if finish > now else now
            self._alarms.append(at_s)
            heappush(clock._queue, (at_s, NORMAL, next(clock._eid), Alarm(self._ring)))  # type: ignore[misc]

    def _advance(self) -> None:
        """Bring virtual time and the meter's integrals up to now."""
        meter = self.meter
        now = self._clock._now
        held = now - meter.since_s
        if held:
            self._virtual += held * self._rate
            meter.in_use_s += held * meter.in_use
            meter.queue_s += held * meter.queue
            meter.since_s = now

    def _share(self, threads: int) -> None:
        """From now on `threads` share the cores."""
        self._threads = threads
        meter = self.meter
        if threads <= self.cores:
            self._rate = 1.0
            meter.in_use = threads
            meter.queue = 0.0
        else:
            self._rate = self.cores / threads
            meter.in_use = self.cores
            meter.queue = waiting = threads - self.cores
            if waiting > meter.max_queue:
                meter.max_queue = waiting
        self.stretch_s = 1.0 / (self._rate * self._speed)

    def _arm(self) -> None:
        left = self._jobs[0][0] - self._virtual
        finish = self._clock._now + (left / self._rate if left > 0 else 0.0)
        if finish < self._alarms[-1] - TOLERANCE_S:
            clock = self._clock
            self._alarms.append(finish)
            heappush(clock._queue, (finish, NORMAL, next(clock._eid), Alarm(self._ring)))  # type: ignore[misc]

    def _next(self) -> None:
        """Set the alarm for the job that is done first, if there is one."""
        jobs = self._jobs
        while jobs and jobs[0][3] in self._cancelled:
            self._cancelled.remove(heappop(jobs)[3])  # type: ignore[arg-type]
        if jobs:
            self._arm()
        else:
            self._virtual = 0.0

    def _ring(self, _alarm: Alarm) -> None:
        self._alarms.pop()  # alarms ring in the order of their times
        # `_advance`, `_share` and `_next`, written out as in `_add`
        clock, meter = self._clock, self.meter
        now = clock._now
        held = now - meter.since_s
        if held:
            self._virtual += held * self._rate
            meter.in_use_s += held * meter.in_use
            meter.queue_s += held * meter.queue
            meter.since_s = now
        jobs = self._jobs
        virtual = self._virtual
        steps_s = now * CLOCK_STEPS  # less would not move the clock
        due = virtual + (steps_s if steps_s > TOLERANCE_S else TOLERANCE_S)
        threads = self._threads
        first: Event | None = None
        others: list[Event] = []
        while jobs and jobs[0][0] <= due:
            _, _, freed, event = heappop(jobs)
            if self._cancelled and event in self._cancelled:
                self._cancelled.remove(event)
                continue
            threads -= freed
            if event is None:
                continue
            if first is None:
                first = event
            else:
                others.append(event)
        if self._threads <= self.cores:
            self._threads = threads
            meter.in_use = threads
        else:
            self._share(threads)
        if not jobs or self._cancelled:
            self._next()
        else:
            left = jobs[0][0] - virtual
            finish = now + (left / self._rate if left > 0 else 0.0)
            if finish < self._alarms[-1] - TOLERANCE_S:
                self._alarms.append(finish)
                heappush(clock._queue, (finish, NORMAL, next(clock._eid), Alarm(self._ring)))  # type: ignore[misc]
        if first is None:
            return
        if others:
            self._firing = [first, *others]
            for event in self._firing:
                fire(event)
            self._firing = []
            return
        # `fire`, written out
        first._ok = True
        first._value = None
        callbacks, first.callbacks = first.callbacks, None  # type: ignore[assignment]
        for callback in callbacks:
            callback(first)
