"""Replicas of an elected component: only the one that holds the lease works."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from simpy.events import Event

from sim.controllers.leader_election import Elector, LeaderElectionSpec, Lock
from sim.engine.clock import Clock, fire


class Replicas:
    """`count` processes of one component, each with its elector.

    lock: a replica's port to the record, by the replica's name. draw: evenly in [0, 1), for jitter, skew and starts.
    resume, suspend: called when a replica begins to lead and when it ceases; what the component knows comes from
    watches, which standbys have too, so it can go on at once.
    """

    def __init__(
        self,
        clock: Clock,
        spec: LeaderElectionSpec,
        component: str,
        count: int,
        lock: Callable[[str], Lock],
        draw: Callable[[], float],
        resume: Callable[[], None],
        suspend: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._draw = draw
        self._lock = lock
        self._resume = resume
        self._suspend = suspend
        self.component = component
        self._skew_s = {f"{component}-{number}": spec.clock_skew_s * (2 * draw() - 1) for number in range(count)}
        self._starts = 0
        self.electors: dict[str, Elector] = {}
        self.led_s: list[tuple[str, float]] = []
        """Who came to lead, and when."""
        self.ceased_s: list[tuple[str, float]] = []
        """Who ceased to, and when."""
        self._cut: dict[str, Event] = {}
        """Replicas that nothing passes to or from; fires when that is over."""
        for number, name in enumerate(self._skew_s):
            clock.at(number * spec.retry_s * draw(), partial(self._start_later, name))

    @property
    def leader(self) -> str:
        """Name of the replica that leads; "" when none does."""
        return next((name for name, elector in self.electors.items() if elector.leads), "")

    def cut(self, name: str = "") -> Event | None:
        """What ends the cut between a replica (the one that leads) and the API server; None: there is none."""
        return self._cut.get(name or self.leader) if self._cut else None

    def cut_off(self, name: str) -> None:
        """From now on nothing passes between a replica and the API server."""
        self._cut.setdefault(name, Event(self._clock))

    def reconnect(self, name: str) -> None:
        """It does again."""
        over = self._cut.pop(name, None)
        if over is not None:
            fire(over)

    def start(self, name: str) -> None:
        """Start a replica that does not run."""
        running = self.electors.get(name)
        if running is not None and not running.ended:
            return
        self._starts += 1  # an identity is a process's, not a machine's: who was killed is not taken for the holder
        self.electors[name] = elector = Elector(
            self._clock,
            self._spec,
            f"{name}_{self._starts}",
            self._lock(name),
            self._draw,
            skew_s=self._skew_s[name],
            on_start=lambda: self._started(name),
            on_stop=lambda: self._stopped(name),
        )
        self._clock.start(elector.run())

    def kill(self, name: str) -> None:
        """The replica's process dies and is started again after `restart_s`."""
        elector = self.electors.get(name)
        if elector is None or elector.ended:
            return
        led = elector.leads
        elector.kill()
        if not led:  # else `_stopped` has seen to it
            self._restart_later(name)

    def _started(self, name: str) -> None:
        self.led_s.append((name, self._clock.now))
        self._resume()

    def _stopped(self, name: str) -> None:
        """It died, or lost the lease, upon which the real component exits too."""
        self.ceased_s.append((name, self._clock.now))
        self._suspend()
        self._restart_later(name)

    def _restart_later(self, name: str) -> None:
        self._clock.at(self._spec.restart_s, partial(self._start_later, name))

    def _start_later(self, name: str, _: object) -> None:
        self.start(name)
