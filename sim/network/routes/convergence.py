"""How long the cluster takes to learn that a node joined or died, and what keeping routes costs while nothing happens."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan

import numpy as np

from sim.network.cni.catalog import Shape, Spread
from sim.network.routes.bgp import estimate, withdrawal_s
from sim.network.spec import NetworkSpec


@dataclass(frozen=True, slots=True)
class Convergence:
    """Of one data path on one cluster. NaN: nothing has to be learnt."""

    join_s: float
    """From a node's start until 99 % of the others route to its pods and it to theirs."""
    silent_death_s: float
    """From a node's silent death until the last peer has dropped its routes; inf: they stay."""
    upkeep_cores: float
    """Cores of each node that timers, keepalives and refreshes keep busy."""


def convergence(spec: NetworkSpec, shape: Shape, rng: np.random.Generator, deaths: int = 50) -> Convergence:
    """By the mechanism of the spec's plug-in. deaths: draws of the timers, of which the median counts."""
    cni, nodes = spec.cni, shape.nodes
    spread = cni.features.spread
    tables = cni.tables(shape)
    felix_cores = spec.felix.refresh_cores(tables.rules, tables.routes) if hasattr(cni, "block_prefix") else 0.0
    if spread is Spread.NONE or nodes < 2:
        return Convergence(nan, nan, felix_cores)
    if spread is Spread.CLOUD:
        return Convergence(spec.cloud_route_period_s / 2, inf, 0.0)
    if spread is Spread.LEASE:
        vxlan = "vxlan" in cni.features.hops
        return Convergence(
            max(spec.lease.join_s(nodes, 0.99, vxlan), spec.lease.own_tables_s(nodes, vxlan)),
            spec.lease.node_death_s(),
            0.0,
        )
    if spread is Spread.BGP:
        close = estimate(spec.bgp, nodes)
        dead = float(np.median([withdrawal_s(spec.bgp, nodes, "silent", rng)[-1] for _ in range(deaths)]))
        own_s = (
            spec.bgp.connect_delay_s + close.join_cpu_s
            if spec.bgp.topology == "mesh"
            else spec.bgp.connect_delay_s + nodes * spec.bgp.route_cpu_s
        )
        return Convergence(own_s + close.announce_s, dead, felix_cores + close.idle_cores)
    felix = spec.felix
    return Convergence(felix.watch_s + felix.remote_s(0.99, nodes, 0, 3) + nodes * 3 * felix.route_s, inf, felix_cores)
