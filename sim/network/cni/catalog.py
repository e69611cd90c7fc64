"""What every CNI plug-in answers: ADD and DEL, as processes on a node."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from simpy.events import Event

from sim.base.plugin import Catalog
from sim.base.spec import Spec

if TYPE_CHECKING:
    from sim.kubelet.node import Node

Process = Generator[Event, object, None]


class CniSpec(Spec):
    """Base of every CNI plug-in: its parameters and its two calls."""

    def add(self, node: Node) -> Process:
        """Attach one pod to the node's network."""
        raise NotImplementedError

    def delete(self, node: Node) -> Process:
        """Detach one pod."""
        raise NotImplementedError


CNI: Catalog[type[CniSpec]] = Catalog("CNI plug-ins", package="sim.network.cni")
