"""Kraken: agents that form a random graph, told of each other by trackers, with origins as seeders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.base.spec import param
from sim.images.sources.catalog import IMAGE_SOURCES
from sim.images.sources.peer_to_peer import PeerToPeer

if TYPE_CHECKING:
    from sim.images.piece_exchange import Rules

SOURCE = "uber/kraken source"


@IMAGE_SOURCES.register("kraken")
class Kraken(PeerToPeer):
    """Agents on all nodes form a random graph, told of each other by trackers, with origins as seeders.

    An agent dials as many peers of the tracker's answer as it has room for: whole copies first, then origins, then others. Who
    has no room refuses, and the agent waits for its next announcement.
    """

    egress_bytes_per_s: float = param(
        3.0e8, "what an agent sends at most", source="Kraken's benchmark: 300 MB/s an agent", gt=0, le=1e13
    )
    ingress_bytes_per_s: float = param(
        3.0e8, "what an agent receives at most", source="Kraken's benchmark: 300 MB/s an agent", gt=0, le=1e13
    )
    burst_s: float = param(
        1.0, "of those rates that their token buckets save", source=SOURCE + ", bandwidth limiter", ge=0, le=60
    )
    piece_bytes: int = param(4 * 2**20, "of one piece", source=SOURCE + ", origin configuration", ge=4096, le=2**32)
    connections: int = param(10, "of an agent for one blob", source=SOURCE + ", connection state", ge=1, le=1000)
    pipeline: int = param(
        3, "pieces asked for over one connection at a time", source=SOURCE + ", dispatch", ge=1, le=1000
    )
    endgame: int = param(
        3, "last pieces, which may be asked of several peers", source=SOURCE + ", dispatch", ge=0, le=1000
    )
    announce_every_s: float = param(
        3.0,
        "an agent announces one of its unfinished blobs so often",
        source=SOURCE + ", tracker server",
        gt=0,
        le=3600,
    )
    handout: int = param(50, "peers in a tracker's answer", source=SOURCE + ", tracker server", ge=1, le=10_000)
    refused_for_s: float = param(
        30.0, "a peer that refused is not asked again for so long", source=SOURCE, ge=0, le=3600
    )

    def rules(self) -> Rules:
        from sim.images.piece_exchange import Rules

        return Rules(
            self.piece_bytes,
            self.connections,
            self.connections,
            self.pipeline,
            self.endgame,
            self.handout,
            self.announce_every_s,
            self.announce_s,
            self.latency_s,
            self.burst_s,
            self.trackers,
            refused_for_s=self.refused_for_s,
        )
