"""The same server for the same client."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from sim.apiserver.load_balancing.catalog import BALANCERS, BalancerSpec


@BALANCERS.register("source-hash")
class SourceHash(BalancerSpec):
    """A client's connections all go to one server, by rendezvous hashing: a server's end moves its own clients only."""

    def choose(self, live: Sequence[int], connections: Sequence[int], number: int, client: str) -> int:
        return max(live, key=lambda server: blake2b(f"{client} {server}".encode(), digest_size=8).digest())
