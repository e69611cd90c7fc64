"""The network lets nothing through between a component and the API server."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal

from simpy.events import Event

from sim.base.errors import Problems
from sim.base.spec import param
from sim.faults.catalog import FAULTS, FaultSpec, Struck, Targets

REQUEST_TIMEOUT_S = 34.0
"""An API server answers a request that was not stored in this time with an error (Kubernetes 1.20 source, apiserver handlers)."""


@FAULTS.register("partition")
class Partition(FaultSpec):
    """The replica that leads is cut off. It cannot renew its lease, ceases to lead when its renew deadline is over, and a standby
    takes over when the lease is. With `etcd` the API servers are cut off from all of it: their requests wait, holding their seats,
    until they are given up. Nodes: see `node-network-loss`; members of etcd: see `etcd-network`."""

    component: Literal["kube-scheduler", "kube-controller-manager", "etcd"] = param(
        "kube-controller-manager",
        "what is cut off from the API server; of a component with replicas the one that leads",
    )
    duration_s: float = param(60.0, "how long it lasts", gt=0, le=1e9)

    def check(self, path: str, targets: Targets, problems: Problems) -> None:
        super().check(path, targets, problems)
        if self.component == "kube-scheduler" and targets.schedulers < 2:
            problems.add(f"{path}.component", self.component, "needs a standby", "set scheduler.replicas to 2 or more")

    def strike(self, struck: Struck) -> Generator[Event, Any, None]:
        if self.component == "etcd":
            for group in struck.etcd.values():
                group.cut_off(REQUEST_TIMEOUT_S)
            yield struck.clock.timeout(self.duration_s)
            for group in struck.etcd.values():
                group.reconnect()
            return
        replicas = struck.schedulers if self.component == "kube-scheduler" else struck.managers
        assert replicas is not None
        name = replicas.leader
        if name:
            replicas.cut_off(name)
        yield struck.clock.timeout(self.duration_s)
        if name:
            replicas.reconnect(name)
