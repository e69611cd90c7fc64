"""`kubenet`: the kubelet's own bridge plug-in of old, with routes from the cloud's controller."""

from __future__ import annotations

from typing import ClassVar

from sim.network.cni.bridge import Bridge
from sim.network.cni.catalog import CNI


@CNI.register("kubenet")
class Kubenet(Bridge):
    """A bridge `cbr0`, host-local addresses from the node's podCIDR, one cloud route a node; hair-pin mode."""

    programs: ClassVar[int] = 2
    rules_per_pod: ClassVar[int] = 1
