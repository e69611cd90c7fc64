"""Cores as those who work on them see them."""

from __future__ import annotations

from typing import Protocol

from simpy.events import Event


class Cores(Protocol):
    """A machine, or one program's part of it."""

    def work(self, cpu_s: float, threads: int = 1) -> Event:
        """Put `cpu_s` core seconds of work on the cores, evenly over `threads`; the event fires when it is done."""

    def load(self, cpu_s: float, threads: int = 1) -> None:
        """Put work on the cores that nobody waits for."""

    def cancel(self, event: Event, threads: int = 1) -> None:
        """Take work off the cores that is not done yet; its event never fires. threads: as it was put on."""


class MortalCores:
    """The cores of a process that may die: its work goes with it."""

    __slots__ = ("_cores", "_open")

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self._open: dict[Event, int] = {}
        """Work that is not done, and its threads."""

    def work(self, cpu_s: float, threads: int = 1) -> Event:
        event = self._cores.work(cpu_s, threads)
        if event.callbacks is not None:
            self._open[event] = threads
            event.callbacks.append(self._done)
        return event

    def load(self, cpu_s: float, threads: int = 1) -> None:
        if cpu_s > 0:
            self.work(cpu_s, threads)

    def cancel(self, event: Event, threads: int = 1) -> None:
        if self._open.pop(event, None) is not None:
            self._cores.cancel(event, threads)

    def die(self) -> None:
        """All its work is gone; nobody hears of it."""
        work, self._open = self._open, {}
        for event, threads in work.items():
            self._cores.cancel(event, threads)

    def _done(self, event: Event) -> None:
        self._open.pop(event, None)
