"""What every container runtime answers: CRI's calls, as processes on a node."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from simpy.events import Event

from sim.base.plugin import Catalog
from sim.base.spec import Spec

if TYPE_CHECKING:
    from sim.kubelet.node import Node

Process = Generator[Event, object, None]


class RuntimeSpec(Spec):
    """Base of every runtime: its parameters and its two calls that take time."""

    def run_pod_sandbox(self, node: Node, attach_network: Callable[[], Process]) -> Process:
        """Create the pod's sandbox on the node; runs `attach_network` where the real runtime calls the CNI plugin."""
        raise NotImplementedError

    def start_container(self, node: Node) -> Process:
        """Create and start one container in its sandbox; its image is on the node."""
        raise NotImplementedError


RUNTIMES: Catalog[type[RuntimeSpec]] = Catalog("runtimes", package="sim.kubelet.runtimes")
