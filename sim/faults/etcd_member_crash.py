"""One member of etcd dies."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.base.errors import Problems
from sim.base.spec import param
from sim.faults.catalog import FAULTS, EtcdFaultSpec, Struck, Targets


@FAULTS.register("etcd-member-crash")
class EtcdMemberCrash(EtcdFaultSpec):
    """A given member is killed and comes back later; if it missed too much, it gets a snapshot."""

    member: int = param(0, "which one, from 0", ge=0, le=8)
    down_s: float = param(30.0, "from its death to its restart", gt=0, le=1e9)

    def check(self, path: str, targets: Targets, problems: Problems) -> None:
        super().check(path, targets, problems)
        self.check_member(f"{path}.member", self.member, targets, problems)

    def strike(self, struck: Struck) -> Generator[Event, Any, None]:
        etcd = struck.etcd[self.group]
        etcd.crash(self.member)
        yield struck.clock.timeout(self.down_s)
        etcd.restart(self.member)
