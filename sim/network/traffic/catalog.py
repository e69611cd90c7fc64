"""What every kind of traffic answers: its transfers and its calls among given pods."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sim.base.plugin import Catalog
from sim.base.spec import Spec, param
from sim.network.data_path import Protocol


@dataclass(frozen=True)
class Demand:
    """What some traffic asks of the network.

    Transfers: source, destination int64 pods (-1 = outside the cluster), size_bytes float64, start_s float64, rising. Calls: every pod of
    `callers` makes `calls_per_s` calls to pods chosen at random among `callees`, each of which makes `fan_out` calls in turn, `depth` deep.
    """

    source: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    destination: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    size_bytes: np.ndarray = field(default_factory=lambda: np.zeros(0))
    start_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    message_bytes: float | None = None
    """Size of one write or datagram; None: as large as can be."""
    protocol: Protocol = Protocol.TCP
    calls_per_s: float = 0.0
    """Of the whole application."""
    request_bytes: float = 0.0
    response_bytes: float = 0.0
    fan_out: int = 0
    depth: int = 0
    services: int = 0


class TrafficSpec(Spec):
    """Base of every kind."""

    application: int | None = param(None, "number of the application in the load whose pods talk; null: all pods", ge=0)
    start_s: float = param(
        0.0, "in a run: begins then, or as soon as two of its pods run; `network compare` plays it alone", ge=0, le=1e9
    )
    needs: tuple[Literal["vrrp", "broadcast", "multicast"], ...] = param(
        (), "layer-2 features that the workload cannot do without"
    )

    def demand(self, pods: np.ndarray, rng: np.random.Generator) -> Demand:
        """Transfers and calls among `pods` (int64, at least two)."""
        raise NotImplementedError


class TransferSpec(TrafficSpec):
    """Base of the kinds that are transfers."""

    every_s: float | None = param(
        None, "in a run: begins anew this often, with the pods that run then; null: once", gt=0, le=1e9
    )


TRAFFIC: Catalog[type[TrafficSpec]] = Catalog("traffic", package="sim.network.traffic")
