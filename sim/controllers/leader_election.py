"""client-go's leader election: replicas that compete for one record in the API server.

All that a replica knows of the others is the record, and the time on its own clock at which it last saw it change.
A replica that sees no change for a lease's length takes over, by a write that fails if anyone else wrote meanwhile.
Rules: Kubernetes 1.20 to 1.34 source, client-go tools/leaderelection.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pydantic import model_validator
from simpy.events import Event

from sim.base.spec import Spec, param
from sim.engine.clock import Clock, fire

CLIENT_GO = "Kubernetes 1.20 to 1.34 source, component configuration defaults"
RENEW_ROUND_UP_S = 1.0
"""Lease durations in the record are whole seconds."""


class LeaderElectionSpec(Spec):
    """Who leads among the replicas of a component. A replica alone leads without asking; the GET and the PUT every 2 s
    with which it would renew its lease are left out."""

    lease_s: float = param(
        15.0, "a standby waits this long after the last change that it saw", source=CLIENT_GO, gt=0, le=3600
    )
    renew_deadline_s: float = param(
        10.0, "a leader that could not renew for this long stops leading", source=CLIENT_GO, gt=0, le=3600
    )
    retry_s: float = param(2.0, "wait between two tries", source=CLIENT_GO, gt=0, le=3600)
    jitter: float = param(
        1.2,
        "standbys wait retry_s times 1 to 1 + jitter, drawn evenly",
        source="client-go source, JitterFactor",
        ge=0,
        le=10,
    )
    release_on_stop: bool = param(
        False,
        "a leader that is stopped gives the record back, so that a standby need not wait",
        source=CLIENT_GO + ": off for the scheduler before 1.27, off for the controller manager",
    )
    restart_s: float = param(
        10.0,
        "a replica that died or lost the lease is started again after this",
        source="Kubernetes 1.20 to 1.34 source, kubelet's first back-off of a crashed container",
        gt=0,
        le=3600,
    )
    clock_skew_s: float = param(
        0.0, "clocks of replicas differ by up to this, evenly; the record's times are the writer's", ge=0, le=3600
    )

    @model_validator(mode="after")
    def _ordered(self) -> LeaderElectionSpec:
        if self.lease_s <= self.renew_deadline_s:
            raise ValueError(
                f"lease_s ({self.lease_s:g}) must be more than renew_deadline_s ({self.renew_deadline_s:g})"
            )
        if self.renew_deadline_s <= self.jitter * self.retry_s:
            raise ValueError(
                f"renew_deadline_s ({self.renew_deadline_s:g}) must be more than jitter x retry_s "
                f"({self.jitter * self.retry_s:g}), else a single slow try ends a leadership"
            )
        return self


@dataclass(frozen=True, slots=True)
class Record:
    """What the Lease (or, in 1.12, the annotation of an Endpoints object) says."""

    holder: str
    """Empty: released."""
    lease_s: float
    acquired_s: float
    """On the holder's clock."""
    renewed_s: float
    """On the holder's clock."""
    transitions: int


class Lock(Protocol):
    """The port to the record: two requests to the API server. Processes; each takes as long as it takes."""

    def get(self) -> Generator[Event, Any, tuple[Record | None, int] | None]:
        """The record and its version; (None, 0) when there is no record yet; None when the request failed."""

    def update(self, record: Record, version: int) -> Generator[Event, Any, int]:
        """Write the record if its version is still `version` (0: create it); returns the new version, 0 when refused."""


class Elector:
    """One replica's side. Run `run()` as a process; `leads` says whether it may act now.

    name: identity in the record. draw: evenly in [0, 1). skew_s: how far its clock is ahead.
    on_start, on_stop: called when it begins and ceases to lead; in the same instant as `leads` changes.
    """

    def __init__(
        self,
        clock: Clock,
        spec: LeaderElectionSpec,
        name: str,
        lock: Lock,
        draw: Callable[[], float],
        *,
        skew_s: float = 0.0,
        on_start: Callable[[], None] = lambda: None,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self.name = name
        self._lock = lock
        self._draw = draw
        self._skew_s = skew_s
        self._on_start = on_start
        self._on_stop = on_stop
        self.leads = False
        self.dead = False
        self._stopping = False
        self._observed: Record | None = None
        self._version = 0
        self._observed_at_s = 0.0
        self._deadline: object = None
        self._woken: Event | None = None
        self.acquired_at_s: list[float] = []
        """When this replica came to lead."""

    def run(self) -> Generator[Event, Any, None]:
        """Process: try to acquire; once leading, renew until that fails for `renew_deadline_s`; then the process ends,
        as the real component exits."""
        spec, clock = self._spec, self._clock
        while not (yield from self._try()):
            if self.dead or self._stopping:
                return
            yield self._pause(spec.retry_s * (1.0 + spec.jitter * self._draw()))
            if self.dead or self._stopping:
                return
        if self.dead:
            return
        self.leads = True
        self.acquired_at_s.append(clock._now)
        self._on_start()
        while self.leads:
            self._arm_deadline()
            while self.leads and not self._stopping and not (yield from self._try()):
                yield self._pause(spec.retry_s)
            if not self.leads:
                return
            self._deadline = None
            if self._stopping:
                break
            yield self._pause(spec.retry_s)
            if self._stopping:
                break
        if self.leads:
            self._cease()
            if spec.release_on_stop and self._observed is not None:
                now = self._now()
                yield from self._lock.update(
                    replace(self._observed, holder="", lease_s=RENEW_ROUND_UP_S, renewed_s=now, acquired_s=now),
                    self._version,
                )

    @property
    def ended(self) -> bool:
        """Dead, stopped, or out of its leadership: it will never lead again."""
        return self.dead or self._stopping or (bool(self.acquired_at_s) and not self.leads)

    def stop(self) -> None:
        """Ask the replica to end; a leader ceases at its next step and gives the record back if so configured."""
        self._stopping = True
        self._wake()

    def kill(self) -> None:
        """The process dies, without a word."""
        self.dead = True
        if self.leads:
            self._cease()

    def _now(self) -> float:
        return self._clock._now + self._skew_s

    def _pause(self, for_s: float) -> Event:
        event = Event(self._clock)
        self._woken = event
        self._clock.at(for_s, lambda _: self._wake_if(event))
        return event

    def _wake_if(self, event: Event) -> None:
        if self._woken is event:
            self._wake()

    def _wake(self) -> None:
        event, self._woken = self._woken, None
        if event is not None:
            fire(event)

    def _cease(self) -> None:
        self.leads = False
        self._on_stop()

    def _arm_deadline(self) -> None:
        """Whatever the try is waiting for: when the deadline is over, the replica leads no more."""
        mark = self._deadline = object()

        def over(_: object) -> None:
            if self._deadline is mark and self.leads:
                self._cease()
                self._wake()

        self._clock.at(self._spec.renew_deadline_s, over)

    def _try(self) -> Generator[Event, Any, bool]:
        """Acquire or renew: read the record, judge it, write it if it is mine or free."""
        spec = self._spec
        wanted = Record(self.name, spec.lease_s, self._now(), self._now(), 0)
        answer = yield from self._lock.get()
        if answer is None or self.dead:
            return False
        record, version = answer
        if record is None:
            return (yield from self._write(wanted, 0))
        if record != self._observed:
            self._observed, self._observed_at_s = record, self._now()
        self._version = version
        mine = record.holder == self.name
        if record.holder and not mine and self._observed_at_s + spec.lease_s > wanted.renewed_s:
            return False
        if mine:
            wanted = replace(wanted, acquired_s=record.acquired_s, transitions=record.transitions)
        else:
            wanted = replace(wanted, transitions=record.transitions + 1)
        return (yield from self._write(wanted, version))

    def _write(self, record: Record, version: int) -> Generator[Event, Any, bool]:
        new = yield from self._lock.update(record, version)
        if self.dead or not new:
            return False
        self._observed, self._version, self._observed_at_s = record, new, self._now()
        return True
