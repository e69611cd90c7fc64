"""Network plug-ins, one file each: how pods are attached, what their packets cost, what tables they need."""

from sim.network.cni.catalog import CNI, CniSpec

__all__ = ["CNI", "CniSpec"]
