"""PrioritySort: higher priority first, then who entered the queue first."""

from __future__ import annotations

from sim.scheduler.framework import PLUGINS, Plugin
from sim.scheduler.pod_info import PodInfo


@PLUGINS.register("PrioritySort")
class PrioritySort(Plugin):
    """The queue's order (Kubernetes 1.20 and 1.34, queuesort/priority_sort.go)."""

    def queue_sort(self, pod: PodInfo, entered_s: float) -> tuple[float, ...]:
        return (-pod.spec.priority, entered_s)
