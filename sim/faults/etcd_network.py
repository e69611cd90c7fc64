"""The network between two members of etcd is cut or slow."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.base.errors import Problems
from sim.base.spec import param
from sim.faults.catalog import FAULTS, EtcdFaultSpec, Struck, Targets


@FAULTS.register("etcd-network")
class EtcdNetwork(EtcdFaultSpec):
    """A member is cut off from some others, or everything between them is late."""

    member: int = param(0, "the member, from 0; the first leads at the start", ge=0, le=8)
    others: tuple[int, ...] = param((), "members that it cannot reach; none: all others")
    extra_s: float | None = param(None, "None: cut; else so much longer each way", gt=0, le=1e6)
    for_s: float = param(30.0, "how long", gt=0, le=1e9)

    def check(self, path: str, targets: Targets, problems: Problems) -> None:
        super().check(path, targets, problems)
        self.check_member(f"{path}.member", self.member, targets, problems)
        for number, other in enumerate(self.others):
            self.check_member(f"{path}.others[{number}]", other, targets, problems)
            if other == self.member:
                problems.add(f"{path}.others[{number}]", other, "is the member itself", "name others")

    def strike(self, struck: Struck) -> Generator[Event, Any, None]:
        etcd = struck.etcd[self.group]
        others = self.others or tuple(other for other in range(len(etcd.programs)) if other != self.member)
        for other in others:
            if self.extra_s is None:
                etcd.cut(self.member, other)
            else:
                etcd.slow_link(self.member, other, self.extra_s)
        yield struck.clock.timeout(self.for_s)
        for other in others:
            etcd.heal(self.member, other)
