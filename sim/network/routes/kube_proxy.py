"""kube-proxy: services become rules on every node; how long that takes, and what a connection's first packet pays.

One sync at a time a node, not more often than the least period; what changes meanwhile goes with the next. A full restore
writes every rule, a partial one the changed services only but still reads the table. Sources: Kubernetes source
(pkg/proxy: bounded frequency runner; KEP 3453 partial restore); costs: our measurement of kube-proxy-shaped tables.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from sim.base.spec import Spec, param
from sim.network.costs import PathCosts

TABLES = "our measurement of kube-proxy-shaped NAT tables, iptables-legacy 1.8 on kernel 6.18"


class KubeProxySpec(Spec):
    """The service proxy of every node."""

    mode: Literal["iptables", "ipvs", "nftables", "none"] = param("iptables", "how services are turned into rules")
    partial_restore: bool = param(True, "write only the services that changed", source="Kubernetes 1.28, KEP 3453")
    min_sync_period_s: float = param(
        1.0, "least time between two syncs", source="Kubernetes, kube-proxy default", ge=0, le=3600
    )
    rules_per_service: int = param(
        4,
        "rules of a service with one endpoint",
        source="Kubernetes source, pkg/proxy/iptables: services, service and endpoint chains",
        ge=1,
        le=1000,
    )
    rules_per_endpoint: int = param(
        3, "rules of each further endpoint", source="Kubernetes source, pkg/proxy/iptables", ge=1, le=1000
    )
    program_s: float = param(3.61e-3, "starting iptables-save and iptables-restore", source=TABLES, ge=0, le=10)
    restore_rule_s: float = param(
        8.98e-6, "writing one rule of a restore", source=TABLES + ": 20,000 rules in 0.22 s", ge=0, le=1
    )
    table_rule_s: float = param(
        1.92e-6,
        "a restore that writes next to nothing still copies the table: each rule of it",
        source=TABLES + ": one rule into 20,000 takes 42 ms",
        ge=0,
        le=1,
    )
    ipvs_change_s: float = param(50e-6, "one netlink request of IPVS: one real server", unverified=True, ge=0, le=1)
    nft_change_s: float = param(
        5.0e-3,
        "one nftables transaction on maps",
        source="our measurement: one element into a set of 20,000",
        ge=0,
        le=1,
    )
    played_nodes: int = param(
        20, "kube-proxies that a run plays, with loops at different phases; they stand for all", ge=1, le=100_000
    )
    endpoint_slice_s: float = param(
        1.0,
        "from a pod seen running to its endpoint at the node, where no EndpointSlice controller runs (`controllers.endpoints`)",
        unverified=True,
        ge=0,
        le=600,
    )

    def rules(self, services: int, endpoints: int) -> int:
        """Rules on every node."""
        if self.mode != "iptables":
            return 0 if self.mode == "none" else 20
        return services * self.rules_per_service + max(0, endpoints - services) * self.rules_per_endpoint

    def sync_s(self, services: int, endpoints: int, changed_services: int) -> float:
        """One sync that has `changed_services` to write."""
        if self.mode == "none":
            return 0.0
        if self.mode == "ipvs":
            return changed_services * self.ipvs_change_s
        if self.mode == "nftables":
            return self.nft_change_s
        rules = self.rules(services, endpoints)
        written = rules if not self.partial_restore or not services else rules * min(1.0, changed_services / services)
        return self.program_s + written * self.restore_rule_s + rules * self.table_rule_s

    def first_packet_s(self, services: int, costs: PathCosts) -> float:
        """What the first packet of a connection to a service pays on average: half of the list, or a look-up."""
        return services / 2 * costs.service_rule_s if self.mode == "iptables" else 0.0


def programming_latency_s(
    spec: KubeProxySpec, services: int, endpoints: int, changes_per_s: float, horizon_s: float, rng: np.random.Generator
) -> np.ndarray:
    """Seconds from each change (Poisson, one service each) until one node's rules hold it, over `horizon_s`."""
    arrivals = np.cumsum(rng.exponential(1 / changes_per_s, int(changes_per_s * horizon_s * 1.2) + 10))
    arrivals = arrivals[arrivals < horizon_s] + spec.endpoint_slice_s
    latency = np.empty(len(arrivals))
    free_s = last_start_s = -np.inf
    index = 0
    while index < len(arrivals):
        start_s = max(arrivals[index], free_s, last_start_s + spec.min_sync_period_s)
        end = int(np.searchsorted(arrivals, start_s, side="right"))
        free_s = start_s + spec.sync_s(services, endpoints, end - index)
        latency[index:end] = free_s - (arrivals[index:end] - spec.endpoint_slice_s)
        last_start_s = start_s
        index = end
    return latency
