"""What the kubelet does next with a pod's containers: pure rules over what it has seen of them.

Source: Kubernetes 1.20 and 1.34 source, computePodActions of the runtime manager and getPhase.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from math import nan
from typing import TYPE_CHECKING

from sim.kubelet.plan import ALWAYS, NEVER
from sim.state.objects import Container

if TYPE_CHECKING:
    from sim.kubelet.crash_back_off import CrashBackOff


class Role(Enum):
    INIT = "init container"
    SIDECAR = "sidecar"
    MAIN = "container"


class Seen(Enum):
    """What the kubelet last saw of a container."""

    NEVER = "never started"
    STARTING = "started, and not seen yet"
    RUNNING = "running"
    ENDED = "ended"


class Run:
    """One container of a pod: its runs so far, and the present one."""

    __slots__ = (
        "back_off", "condemned", "container", "epoch", "exit_code", "finished_s", "number", "oom", "ready", "role", "running",
        "seen", "started", "started_s",
    )  # fmt: skip

    def __init__(self, container: Container, role: Role, back_off: CrashBackOff) -> None:
        self.container = container
        self.role = role
        self.back_off = back_off
        self.seen = Seen.NEVER
        self.running = False
        """Whether it runs in truth."""
        self.number = 0
        """Runs so far."""
        self.epoch = 0
        """Grows whenever a run begins or ends: what was arranged for another epoch is void."""
        self.started_s = self.finished_s = nan
        self.exit_code = 0
        self.oom = False
        self.started = False
        """Its startup probe has succeeded, or it has none and was seen running."""
        self.ready = False
        self.condemned: int | None = None
        """A probe wants it killed; the grace period in s."""

    @property
    def done(self) -> bool:
        """An init container that has done its work."""
        return self.role is Role.INIT and self.seen is Seen.ENDED and self.exit_code == 0


def should_restart(run: Run, policy: str) -> bool:
    """Whether a container that is not running is to be started (again)."""
    if run.seen is Seen.NEVER or run.role is Role.SIDECAR:
        return True
    if run.role is Role.INIT:
        return run.exit_code != 0 and policy != NEVER
    return policy == ALWAYS or (policy != NEVER and run.exit_code != 0)


def startable(runs: Sequence[Run], policy: str) -> list[Run]:
    """Containers to start now, in order: the next init container or sidecar, or all of the others once these are through.

    Sidecars that have ended are started again at any time. runs: init containers and sidecars first, in the pod's order.
    """
    again: list[Run] = []
    for run in runs:
        if run.role is Role.MAIN:
            break
        if run.role is Role.INIT:
            if run.done:
                continue
            if run.seen in (Seen.STARTING, Seen.RUNNING) or not should_restart(run, policy):
                return again
            return [*again, run]
        if run.seen in (Seen.NEVER, Seen.ENDED):
            if run.seen is Seen.NEVER:
                return [*again, run]
            again.append(run)
        elif not run.started:
            return again
    return [
        *again,
        *(
            run
            for run in runs
            if run.role is Role.MAIN and run.seen in (Seen.NEVER, Seen.ENDED) and should_restart(run, policy)
        ),
    ]


def is_over(runs: Sequence[Run], policy: str) -> bool:
    """Whether the pod has ended by itself: an init container failed for good, or all containers have ended for good."""
    mains = [run for run in runs if run.role is Role.MAIN]
    if any(
        run.role is Role.INIT and run.seen is Seen.ENDED and not run.done and not should_restart(run, policy)
        for run in runs
    ):
        return True
    return all(run.seen is Seen.ENDED and not should_restart(run, policy) for run in mains)


def has_failed(runs: Sequence[Run]) -> bool:
    """Of a pod that is over: whether its phase is Failed."""
    return any(run.seen is Seen.ENDED and run.exit_code != 0 for run in runs if run.role is not Role.SIDECAR) or any(
        run.seen is Seen.NEVER for run in runs if run.role is Role.MAIN
    )


def is_running(runs: Sequence[Run]) -> bool:
    """Whether the pod's phase is Running: every container has been seen started once."""
    mains = [run for run in runs if run.role is Role.MAIN]
    return all(
        run.seen in (Seen.RUNNING, Seen.ENDED) or (run.seen is Seen.STARTING and run.number > 1) for run in mains
    )


def is_ready(runs: Sequence[Run]) -> bool:
    """The pod's condition Ready: all that should run does and answers its readiness probe."""
    return all(run.ready for run in runs if run.role is not Role.INIT)
