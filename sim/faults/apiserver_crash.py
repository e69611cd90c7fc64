"""An API server dies."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.base.errors import Problems
from sim.base.spec import param
from sim.faults.catalog import FAULTS, FaultSpec, Struck, Targets


@FAULTS.register("apiserver-crash")
class ApiServerCrash(FaultSpec):
    """The process of one API server is killed and started again later.

    Its requests get no answer, its clients connect elsewhere or try until it is back, its caches are filled from etcd, and
    who watched there lists again. It lasts until the new process takes connections.
    """

    server: int = param(0, "which one, from 0", ge=0, le=99)
    down_s: float = param(10.0, "from its death to the start of a new process", ge=0, le=1e9)

    def check(self, path: str, targets: Targets, problems: Problems) -> None:
        super().check(path, targets, problems)
        if self.server >= targets.apiservers:
            problems.add(
                f"{path}.server",
                self.server,
                "is no API server",
                f"apiserver.replicas is {targets.apiservers}: they are 0 to {targets.apiservers - 1}",
            )

    def strike(self, struck: Struck) -> Generator[Event, Any, None]:
        servers = struck.servers
        assert servers is not None
        servers.crash(self.server)
        yield struck.clock.timeout(self.down_s)
        yield from servers.start(self.server)
