"""DefaultPreemption: when no node fits, evict pods of lower priority where that helps."""

from __future__ import annotations

from sim.scheduler.framework import PLUGINS, Plugin


@PLUGINS.register("DefaultPreemption")
class DefaultPreemption(Plugin):
    """Preemption (defaultpreemption/default_preemption.go)."""
