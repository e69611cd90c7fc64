"""Which group of etcd stores which resource."""

from __future__ import annotations

from collections.abc import Mapping

from sim.base.rand import Distribution, Streams
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.etcd.spec import MAIN, EtcdSpec
from sim.etcd.store import Etcd

__all__ = ["MAIN", "EtcdRouter", "etcd_groups"]


class EtcdRouter:
    """The API server's stores: one group for most resources, others for those the scenario gives them."""

    def __init__(self, groups: Mapping[str, Etcd], spec: EtcdSpec) -> None:
        self._main = groups[MAIN]
        self._object_bytes = spec.object_bytes
        self._usual_bytes = spec.usual_object_bytes
        self._of = {resource: groups[name] for name, group in spec.groups.items() for resource in group.resources}

    def of(self, resource: str) -> Etcd:
        """The group of a resource; a subresource such as `pods/status` lives with its resource."""
        if not self._of:
            return self._main
        return self._of.get(resource.partition("/")[0], self._main)

    def object_bytes(self, resource: str) -> int:
        """Usual size of an object of a resource, or of the one that a subresource belongs to."""
        return self._object_bytes.get(resource.partition("/")[0], self._usual_bytes)


def etcd_groups(clock: Clock, spec: EtcdSpec, machines: Mapping[str, Machine], fsync_s: Mapping[str, Distribution],
                streams: Streams) -> dict[str, Etcd]:
    """All groups by name, the main one first. machines, fsync_s: the scenario's machines and their disks."""
    names = {MAIN: spec.machines, **{name: group.machines for name, group in spec.groups.items()}}
    return {name: Etcd(clock, spec, [machines[machine] for machine in of_group], [fsync_s[machine] for machine in of_group], streams,
                       "etcd" if name == MAIN else f"etcd {name}")
            for name, of_group in names.items()}
