"""flannel's subnet leases: a node that joins takes a subnet, writes it to etcd or the API, and every node's watch hears of it.

Source: flannel pkg/subnet (one key a host, 24 h lease, renewed an hour before it ends, watch on the prefix); kernel costs: our
measurement of adding routes, neighbours and FDB entries one after the other.
"""

from __future__ import annotations

from math import inf

from sim.base.spec import Spec, param

KERNEL = "our measurement of ip and bridge batches, kernel 6.18"


class LeaseSpec(Spec):
    """One subnet lease a node."""

    store: str = param("api", "where leases are kept: api (node annotations) or etcd", pattern="^(api|etcd)$")
    lease_s: float = param(86400.0, "life of a lease", source="flannel, 24 h", gt=0, le=1e9)
    watch_s: float = param(0.05, "from the write to the watch of one node", unverified=True, ge=0, le=60)
    watchers_per_s: float = param(20_000.0, "watch events a second that the store sends", unverified=True, gt=0, le=1e9)
    route_s: float = param(14.2e-6, "one route into the kernel", source=KERNEL, ge=0, le=1)
    neighbour_s: float = param(11.3e-6, "one ARP entry", source=KERNEL, ge=0, le=1)
    forwarding_s: float = param(11.1e-6, "one FDB entry", source=KERNEL, ge=0, le=1)
    vxlan_route_s: float = param(
        18.3e-6,
        "added to a route over the VXLAN device by each thousand there are: one next hop a subnet on one device",
        source=KERNEL + ": 9 us more each for the first 1,000",
        ge=0,
        le=1,
    )

    def programming_s(self, peers: int, vxlan: bool) -> float:
        """Kernel time for one more peer when there are `peers`."""
        if not vxlan:
            return self.route_s
        return self.route_s + self.neighbour_s + self.forwarding_s + self.vxlan_route_s * peers / 1000

    def join_s(self, nodes: int, share: float, vxlan: bool) -> float:
        """From the write of a new node's lease until `share` of the other nodes route to it."""
        return self.watch_s + share * nodes / self.watchers_per_s + self.programming_s(nodes, vxlan)

    def own_tables_s(self, nodes: int, vxlan: bool) -> float:
        """Kernel time of the joining node for all its peers, one after the other."""
        if not vxlan:
            return nodes * self.route_s
        return (
            nodes * (self.route_s + self.neighbour_s + self.forwarding_s)
            + self.vxlan_route_s / 1000 * nodes * nodes / 2
        )

    def node_death_s(self) -> float:
        """A dead node's routes stay until its lease ends."""
        return self.lease_s if self.store == "etcd" else inf
