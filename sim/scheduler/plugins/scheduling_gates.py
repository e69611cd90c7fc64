"""SchedulingGates: a pod waits outside the active queue while it has gates."""

from __future__ import annotations

from sim.scheduler.framework import PLUGINS, UNRESOLVABLE, Plugin, Status
from sim.scheduler.pod_info import PodInfo


@PLUGINS.register("SchedulingGates")
class SchedulingGates(Plugin):
    """Gates keep a pod out of the active queue (Kubernetes 1.34, schedulinggates/scheduling_gates.go)."""

    def pre_enqueue(self, pod: PodInfo) -> Status | None:
        gates = pod.spec.scheduling_gates
        if not gates:
            return None
        return Status(UNRESOLVABLE, f"waiting for scheduling gates: [{' '.join(gates)}]", self.name)
