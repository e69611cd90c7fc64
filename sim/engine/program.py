"""A program on a machine: work costs more when a thread must first be woken for it."""

from __future__ import annotations

from collections.abc import Callable

from simpy.events import Event

from sim.engine.clock import Clock, fire
from sim.engine.machine import Machine

PIECE_S = 5.0e-3
"""Work that nobody waits for is put on the cores in pieces no smaller than this."""
GRAIN_S = 1.0e-3
"""Chance strikes each such stretch of a piece of work anew, so longer pieces vary less (our estimate)."""


class Program:
    """One operating-system process whose threads sleep when they have nothing to do, as a Go program's do.

    It has as many threads as the machine has cores. Work that arrives while all of them are busy costs what it costs:
    one will come to it by itself. Else a thread is woken, which costs too: interrupt, scheduler, leaving the core's idle
    state. So work becomes cheaper per operation as a program gets busy.
    With `spin_s`, a thread without work looks for some that long before it sleeps. It takes a core meanwhile (an
    event each time), and work that it finds needs no wake-up.

    wake_cpu_s: core seconds of one wake-up, before the piece of work that caused it. factor: drawn for each piece of
    work and its wake-up, mean 1; None: always 1. Of pieces longer than `GRAIN_S` its deviation shrinks as that of a mean.
    """

    __slots__ = (
        "_active",
        "_clock",
        "_factor",
        "_idle_since_s",
        "_owed_s",
        "_spinning",
        "_spun_from_s",
        "cpu_s",
        "machine",
        "spin_s",
        "wake_cpu_s",
        "wakeups",
    )

    def __init__(
        self,
        clock: Clock,
        machine: Machine,
        wake_cpu_s: float,
        spin_s: float = 0.0,
        factor: Callable[[], float] | None = None,
    ) -> None:
        self._clock = clock
        self._factor = factor
        self.machine = machine
        self.wake_cpu_s = wake_cpu_s
        self.spin_s = spin_s
        self._active = 0
        self._idle_since_s = -1.0
        self._owed_s = 0.0
        self._spinning: Event | None = None
        self._spun_from_s = 0.0
        self.wakeups = 0
        self.cpu_s = 0.0
        """Core seconds used so far."""

    def work(self, cpu_s: float, threads: int = 1) -> Event:
        """Put `cpu_s` core seconds on the cores, evenly over `threads`; the event fires when they are done."""
        machine = self.machine
        now = self._clock._now
        if now > self._idle_since_s and self._active < machine.cores:
            if self._spinning is None:  # `_rouse`, written out, as in `owe`
                self.wakeups += 1
                cpu_s += self.wake_cpu_s
            else:
                self._rouse(now)
        if cpu_s <= 0:
            event = Event(self._clock)
            fire(event)
            return event
        if self._factor is not None:
            cpu_s *= self._factor() if cpu_s <= GRAIN_S else 1.0 + (self._factor() - 1.0) * (GRAIN_S / cpu_s) ** 0.5
        self.cpu_s += cpu_s
        self._active += 1
        event = machine.work(cpu_s, threads)
        event.callbacks.append(self._done)
        return event

    def load(self, cpu_s: float, threads: int = 1) -> None:
        """Put work on the cores that nobody waits for, over `threads`."""
        if cpu_s > 0:
            self.work(cpu_s, threads)

    def cancel(self, event: Event, threads: int = 1) -> None:
        """Take work off the cores that is not done yet; its event never fires."""
        self.machine.cancel(event, threads)
        self._active -= 1

    def stretch(self) -> float:
        """Seconds that one core second of a thread takes at the present load."""
        return self.machine.stretch_s

    def owe(self, cpu_s: float, at_s: float) -> float:
        """Work that begins at `at_s` and that nobody waits for; returns how long it takes, with the wake-up.

        It goes on the cores in pieces of `PIECE_S` or more: an event a piece, not one for each crumb.
        """
        machine = self.machine
        if at_s > self._idle_since_s and self._active < machine.cores:  # else a thread comes to it by itself
            if self._spinning is None:  # `_rouse`, written out: etcd's members owe most of their work
                self.wakeups += 1
                cpu_s += self.wake_cpu_s
            else:
                self._rouse(at_s)
        if self._factor is not None:
            cpu_s *= self._factor()
        self.cpu_s += cpu_s
        self._owed_s += cpu_s
        if self._owed_s >= PIECE_S:
            machine.load(self._owed_s)
            self._owed_s = 0.0
        took_s = cpu_s * machine.stretch_s
        ends_s = at_s + took_s
        if ends_s > self._idle_since_s:
            self._idle_since_s = ends_s
        return took_s

    def _rouse(self, at_s: float) -> float:
        """What a piece of work that arrives then costs before it begins."""
        if self._active >= self.machine.cores or at_s <= self._idle_since_s:
            return 0.0  # a thread comes to it by itself
        if self._spinning is not None:
            self.cpu_s += self.machine.attained_s() - self._spun_from_s
            self.machine.cancel(self._spinning)
            self._spinning = None
            return 0.0
        self.wakeups += 1
        return self.wake_cpu_s

    def _done(self, _: object) -> None:
        self._active -= 1
        self._idle_since_s = self._clock._now
        if self.spin_s and self._spinning is None:
            self._clock.at(0.0, self._look_around)

    def _look_around(self, _: object) -> None:
        """A thread has found nothing to do at once."""
        if self._spinning is None and self._active < self.machine.cores:
            self._spun_from_s = self.machine.attained_s()
            self._spinning = self.machine.work(self.spin_s)
            self._spinning.callbacks.append(self._sleep)

    def _sleep(self, _: object) -> None:
        self._spinning = None
        self.cpu_s += self.spin_s
