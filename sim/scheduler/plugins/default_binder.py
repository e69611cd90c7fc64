"""DefaultBinder: the binding is written through the API server; the loop does the writing."""

from __future__ import annotations

from sim.scheduler.framework import PLUGINS, SUCCESS, Cycle, Plugin, Status


@PLUGINS.register("DefaultBinder")
class DefaultBinder(Plugin):
    """Accepts every pod for binding (Kubernetes 1.20 and 1.34, defaultbinder/default_binder.go)."""

    def bind(self, cycle: Cycle, row: int) -> Status | None:
        return Status(SUCCESS)
