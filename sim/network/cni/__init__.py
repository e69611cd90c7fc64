"""CNI plug-ins, one file each: what attaching a pod to the network costs on its node."""

from sim.network.cni.catalog import CNI, CniSpec

__all__ = ["CNI", "CniSpec"]
