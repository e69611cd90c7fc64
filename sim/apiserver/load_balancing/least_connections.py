"""The server with the fewest connections."""

from __future__ import annotations

from collections.abc import Sequence

from sim.apiserver.load_balancing.catalog import BALANCERS, BalancerSpec


@BALANCERS.register("least-connections")
class LeastConnections(BalancerSpec):
    """Each new connection goes to the server that has the fewest, so one that comes back fills up first."""

    def choose(self, live: Sequence[int], connections: Sequence[int], number: int, client: str) -> int:
        return min(live, key=lambda server: (connections[server], server))
