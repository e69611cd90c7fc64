"""A program on a machine: work costs more when it must first be woken."""

from __future__ import annotations

from simpy.events import Event

from sim.engine.clock import Clock, fire
from sim.engine.machine import Machine

PIECE_S = 5.0e-3
"""Work that nobody waits for is put on the cores in pieces no smaller than this."""


class Program:
    """One operating-system process. With nothing to do it sleeps, and the next piece of work pays for the wake-up.

    The wake-up (interrupt, scheduler, leaving the core's idle state, the run-time's search for work) is paid once for
    all pieces that arrive until the program sleeps again: this makes work cheaper per operation under load.

    wake_cpu_s: core seconds of one wake-up, before the piece of work that caused it.
    """

    __slots__ = ("_active", "_clock", "_owed_s", "cpu_s", "machine", "wake_cpu_s", "wakeups")

    def __init__(self, clock: Clock, machine: Machine, wake_cpu_s: float) -> None:
        self._clock = clock
        self.machine = machine
        self.wake_cpu_s = wake_cpu_s
        self._active = 0
        self._owed_s = 0.0
        self.wakeups = 0
        self.cpu_s = 0.0
        """Core seconds used so far, at the reference speed."""

    def work(self, cpu_s: float, threads: int = 1) -> Event:
        """Put `cpu_s` core seconds on the cores, evenly over `threads`; the event fires when they are done."""
        if cpu_s <= 0 and (self._active or not self.wake_cpu_s):
            event = Event(self._clock)
            fire(event)
            return event
        if not self._active:
            self.wakeups += 1
            cpu_s += self.wake_cpu_s
        self.cpu_s += cpu_s
        self._active += 1
        event = self.machine.work(cpu_s, threads)
        if event.callbacks is None:
            self._active -= 1
        else:
            event.callbacks.append(self._done)
        return event

    def owe(self, cpu_s: float) -> float:
        """Work that nobody waits for; returns how long it takes at the machine's present load, with the wake-up.

        It goes on the cores in pieces of `PIECE_S` or more: an event a piece, not one for each crumb.
        """
        if not self._active:
            self.wakeups += 1
            cpu_s += self.wake_cpu_s
        self.cpu_s += cpu_s
        self._owed_s += cpu_s
        if self._owed_s >= PIECE_S:
            self.machine.load(self._owed_s)
            self._owed_s = 0.0
        return cpu_s * self.machine.stretch()

    def _done(self, _: Event) -> None:
        self._active -= 1
