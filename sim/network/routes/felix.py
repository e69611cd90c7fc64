"""Calico's agents: Felix on every node programs chains, sets and routes; Typha fans the datastore's changes out to them.

Sources: Calico felix/config (refresh periods), typha/pkg/config (batches of 100), vendor documentation (one Typha for some
hundred agents); programming costs: our measurement of iptables and ipset.
"""

from __future__ import annotations

from math import ceil

from sim.base.spec import Spec, param

PROGRAMS = "our measurement of iptables-legacy and ipset, whole program"


class FelixSpec(Spec):
    """Felix and Typha."""

    typha: bool = param(
        True, "agents hear of changes from Typha, not from the API server each", source="Calico: needed above 50 nodes"
    )
    nodes_per_typha: int = param(
        200, "agents that one Typha serves", source="Calico documentation: hundreds", ge=1, le=10_000
    )
    typha_batch: int = param(
        100, "most updates in one message to an agent", source="Calico, typha/pkg/config", ge=1, le=100_000
    )
    typha_send_s: float = param(50e-6, "one message to one agent, on Typha's core", unverified=True, ge=0, le=1)
    watch_s: float = param(
        0.01, "from the datastore's write to Typha or to an agent's watch", unverified=True, ge=0, le=60
    )
    update_s: float = param(
        0.5e-3, "an agent reads one message and works out what to change", unverified=True, ge=0, le=10
    )
    restore_s: float = param(4.0e-3, "one iptables-restore of an endpoint's chains", source=PROGRAMS, ge=0, le=10)
    restore_rule_s: float = param(2.0e-6, "added by each rule in the table", source=PROGRAMS, ge=0, le=1)
    set_member_s: float = param(3.0e-3, "one change of an address set: one ipset program", source=PROGRAMS, ge=0, le=10)
    route_s: float = param(
        12.8e-6, "one route, ARP or FDB entry", source="our measurement of ip batches, kernel 6.18", ge=0, le=1
    )
    rules_refresh_s: float = param(
        180.0, "all chains are read again and mended", source="Calico, felix/config: iptables refresh", gt=0, le=86400
    )
    routes_refresh_s: float = param(
        90.0, "the same for routes", source="Calico, felix/config: route refresh", gt=0, le=86400
    )
    sets_refresh_s: float = param(
        90.0, "the same for address sets", source="Calico, felix/config: ipsets refresh", gt=0, le=86400
    )
    base_rules: int = param(40, "rules of Felix's own chains, before any pod", unverified=True, ge=0, le=100_000)

    def endpoint_s(self, pods_on_node: int, rules_per_pod: int) -> float:
        """The pod's own node: from its endpoint in the datastore until its chains let packets through."""
        rules = self.base_rules + rules_per_pod * pods_on_node
        return self.watch_s + self.update_s + self.restore_s + self.restore_rule_s * rules

    def fan_out_s(self, nodes: int) -> float:
        """One round of messages to every agent of the busiest Typha (or, without, of the API server)."""
        return self.typha_send_s * (min(nodes, self.nodes_per_typha) if self.typha else nodes)

    def remote_s(self, share: float, nodes: int, members: int, routes: int) -> float:
        """From the start of a round until `share` of the other agents have programmed its set members and routes."""
        return share * self.fan_out_s(nodes) + self.update_s + members * self.set_member_s + routes * self.route_s

    def refresh_cores(self, rules: float, routes: float) -> float:
        """Cores that the periodic refreshes of one node keep busy."""
        read_s = self.restore_s + self.restore_rule_s * rules
        return (
            read_s / self.rules_refresh_s
            + routes * 2.3e-6 / self.routes_refresh_s
            + self.set_member_s / self.sets_refresh_s
        )

    def typhas(self, nodes: int) -> int:
        return ceil(nodes / self.nodes_per_typha) if self.typha else 0
