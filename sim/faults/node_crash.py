"""Nodes crash; and what all faults of nodes have in common."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.base.errors import Problems, near_miss
from sim.base.spec import param
from sim.faults.catalog import FAULTS, FaultSpec, Struck, Targets
from sim.node_lifecycle.faults import NodeFaults


class NodeFaultSpec(FaultSpec):
    """Base of the faults of nodes: named ones, all of a zone, or some drawn among those that are ready."""

    nodes: tuple[str, ...] = param((), "nodes by name; none: see `zone` and `count`")
    zone: str = param("", "all nodes of this zone; empty: see `count`")
    count: int = param(
        1,
        "so many, drawn among the nodes that are ready, where neither `nodes` nor `zone` is given",
        ge=1,
        le=1_000_000,
    )

    def check(self, path: str, targets: Targets, problems: Problems) -> None:
        super().check(path, targets, problems)
        for number, name in enumerate(self.nodes):
            if targets.nodes and name not in targets.nodes:
                problems.add(f"{path}.nodes[{number}]", name, "is no node", near_miss(name, list(targets.nodes)[:200]))
        zones = set(targets.nodes.values())
        if self.zone and zones and self.zone not in zones:
            problems.add(f"{path}.zone", self.zone, "is no zone of a node", near_miss(self.zone, zones))

    def hit(self, struck: Struck) -> tuple[NodeFaults, list[int]]:
        """The nodes that this strike is about, as rows."""
        assert struck.nodes is not None
        return struck.nodes, struck.nodes.choose(self.nodes, self.zone, self.count)


@FAULTS.register("node-crash")
class NodeCrash(NodeFaultSpec):
    """Machines stop with all that runs on them. After `down_s` they start again: kubelets start the pods that are still theirs."""

    down_s: float = param(300.0, "from the crash until the kubelet runs again", gt=0, le=1e9)

    def strike(self, struck: Struck) -> Generator[Event, Any, None]:
        faults, rows = self.hit(struck)
        for row in rows:
            faults.crash(row)
        yield struck.clock.timeout(self.down_s)
        for row in rows:
            faults.restart(row)
