"""Container runtimes, one file each; CRI's calls as processes on the node."""

from sim.kubelet.runtimes.catalog import RUNTIMES, RuntimeSpec

__all__ = ["RUNTIMES", "RuntimeSpec"]
