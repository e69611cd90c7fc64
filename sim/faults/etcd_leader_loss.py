"""etcd's leader dies."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.base.spec import param
from sim.faults.catalog import FAULTS, EtcdFaultSpec, Struck


@FAULTS.register("etcd-leader-loss")
class EtcdLeaderLoss(EtcdFaultSpec):
    """The member that leads is killed and comes back later; nothing happens when no member leads."""

    down_s: float = param(30.0, "from its death to its restart", gt=0, le=1e9)

    def strike(self, struck: Struck) -> Generator[Event, Any, None]:
        etcd = struck.etcd[self.group]
        leader = etcd.leader
        if leader >= 0:
            etcd.crash(leader)
            yield struck.clock.timeout(self.down_s)
            etcd.restart(leader)
