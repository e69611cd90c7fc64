"""Parameters of the network."""

from __future__ import annotations

from typing import Annotated

from sim.base.spec import Choice, Spec, param
from sim.network.cni import CNI, CniSpec


class NetworkSpec(Spec):
    """How nodes are connected, and which plug-in connects pods to them."""

    cni: Annotated[CniSpec, Choice(CNI)] = param("bridge", "the CNI plug-in")
    nic_bytes_per_s: float = param(1.25e9, "what one node's interface receives or sends (10 Gbit/s)",
                                   source="Kubernetes CNI benchmarks of 2020 ran on 10 Gbit/s", gt=0, le=1e12)
