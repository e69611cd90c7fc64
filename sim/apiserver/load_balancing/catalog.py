"""What every load balancer is asked: which server does a new connection go to?

Balancers work on connections. HTTP/2 carries all requests of a client over one, so a client stays where it is until the
connection ends: after a crash the servers that lived keep what they took over.
"""

from __future__ import annotations

from collections.abc import Sequence

from sim.base.plugin import Catalog
from sim.base.spec import Spec


class BalancerSpec(Spec):
    """Base of every entry of the catalog."""

    def choose(self, live: Sequence[int], connections: Sequence[int], number: int, client: str) -> int:
        """The server of a new connection.

        live: servers that run, at least one. connections: how many each of all servers has. number: of the connection since
        the start. client: who opens it.
        """
        raise NotImplementedError


BALANCERS: Catalog[type[BalancerSpec]] = Catalog("load balancers", package="sim.apiserver.load_balancing")
