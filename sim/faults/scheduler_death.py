"""The scheduler that leads dies."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.base.errors import Problems
from sim.faults.catalog import FAULTS, FaultSpec, Struck, Targets

LOOK_S = 0.1
"""How often it is seen whether another leads."""


@FAULTS.register("scheduler-death")
class SchedulerDeath(FaultSpec):
    """The replica that holds the lease is killed; it lasts until another leads. Its restart is `leader_election.restart_s`."""

    def check(self, path: str, targets: Targets, problems: Problems) -> None:
        super().check(path, targets, problems)
        if targets.schedulers < 2:
            problems.add(path, "scheduler-death", "needs a standby", "set scheduler.replicas to 2 or more")

    def strike(self, struck: Struck) -> Generator[Event, Any, None]:
        schedulers = struck.schedulers
        assert schedulers is not None
        if schedulers.leader:
            schedulers.kill(schedulers.leader)
        while not schedulers.leader:
            yield struck.clock.timeout(LOOK_S)
