"""Servers in turn."""

from __future__ import annotations

from collections.abc import Sequence

from sim.apiserver.load_balancing.catalog import BALANCERS, BalancerSpec


@BALANCERS.register("round-robin")
class RoundRobin(BalancerSpec):
    """Each new connection goes to the next server that runs."""

    def choose(self, live: Sequence[int], connections: Sequence[int], number: int, client: str) -> int:
        return live[number % len(live)]
