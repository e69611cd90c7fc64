"""A disk under etcd stalls or becomes slow."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.base.errors import Problems
from sim.base.spec import param
from sim.faults.catalog import FAULTS, EtcdFaultSpec, Struck, Targets


@FAULTS.register("etcd-disk-stall")
class EtcdDiskStall(EtcdFaultSpec):
    """No fsync of one member's log ends for a while."""

    member: int = param(0, "which one, from 0; the first leads at the start", ge=0, le=8)
    for_s: float = param(2.0, "how long", gt=0, le=1e9)

    def check(self, path: str, targets: Targets, problems: Problems) -> None:
        super().check(path, targets, problems)
        self.check_member(f"{path}.member", self.member, targets, problems)

    def strike(self, struck: Struck) -> Generator[Event, Any, None]:
        struck.etcd[self.group].stall_disk(self.member, self.for_s)
        yield struck.clock.timeout(self.for_s)


@FAULTS.register("etcd-slow-disk")
class EtcdSlowDisk(EtcdFaultSpec):
    """Each fsync of one member's log takes several times as long for a while."""

    member: int = param(0, "which one, from 0; the first leads at the start", ge=0, le=8)
    factor: float = param(10.0, "how many times as long", gt=1, le=1e6)
    for_s: float = param(60.0, "how long", gt=0, le=1e9)

    def check(self, path: str, targets: Targets, problems: Problems) -> None:
        super().check(path, targets, problems)
        self.check_member(f"{path}.member", self.member, targets, problems)

    def strike(self, struck: Struck) -> Generator[Event, Any, None]:
        etcd = struck.etcd[self.group]
        etcd.slow_disk(self.member, self.factor)
        yield struck.clock.timeout(self.for_s)
        etcd.slow_disk(self.member, 1.0)
