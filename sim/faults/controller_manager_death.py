"""The controller manager that leads dies."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.faults.catalog import FAULTS, FaultSpec, Struck

LOOK_S = 0.1
"""How often it is seen whether another leads."""


@FAULTS.register("controller-manager-death")
class ControllerManagerDeath(FaultSpec):
    """The replica that holds the lease is killed, with its work queues and its watches; it lasts until another leads. One alone
    is started again after `leader_election.restart_s`, and then waits for its own old lease to run out."""

    def strike(self, struck: Struck) -> Generator[Event, Any, None]:
        managers = struck.managers
        assert managers is not None
        if managers.leader:
            managers.kill(managers.leader)
        while not managers.leader:
            yield struck.clock.timeout(LOOK_S)
