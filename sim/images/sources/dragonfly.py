"""Dragonfly: a scheduler gives every peer a few parents that have room; seed peers fetch from a registry once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.base.spec import param
from sim.images.sources.catalog import IMAGE_SOURCES
from sim.images.sources.peer_to_peer import PeerToPeer

if TYPE_CHECKING:
    from sim.images.piece_exchange import Rules

SOURCE = "Dragonfly 2 defaults, as remembered"


@IMAGE_SOURCES.register("dragonfly")
class Dragonfly(PeerToPeer):
    """Peers on all nodes, each sent to a few others that have room; seed peers fetch from a registry.

    A peer has at most `parents` of its own choice and serves at most `uploads`; nobody is sent to who has no room. The real
    scheduler also keeps the graph free of cycles; here parents and children exchange pieces both ways.
    """

    origins: int = param(3, "seed peers", source=SOURCE, unverified=True, ge=1, le=1000)
    back_end_bytes_per_s: float | None = param(
        1.25e9,
        "what seed peers read from the registry at a blob's first use; null: they hold every blob",
        gt=0,
        le=1e13,
    )
    egress_bytes_per_s: float = param(
        1.25e8, "what a peer sends at most", source=SOURCE, unverified=True, gt=0, le=1e13
    )
    ingress_bytes_per_s: float = param(
        2.5e8, "what a peer receives at most", source=SOURCE, unverified=True, gt=0, le=1e13
    )
    parents: int = param(4, "a peer asks for pieces", source=SOURCE, unverified=True, ge=1, le=1000)
    uploads: int = param(50, "a peer serves", source=SOURCE, unverified=True, ge=1, le=1000)
    pipeline: int = param(1, "pieces asked of one parent at a time", source=SOURCE, unverified=True, ge=1, le=1000)
    announce_every_s: float = param(
        1.0, "a peer with too few parents asks again", source=SOURCE, unverified=True, gt=0, le=3600
    )
    trackers: int = param(1, "schedulers; a blob has one of them", ge=1, le=1000)

    def rules(self) -> Rules:
        from sim.images.piece_exchange import Rules

        return Rules(
            self.piece_bytes,
            self.parents,
            self.uploads + self.parents,
            self.pipeline,
            0,
            self.handout,
            self.announce_every_s,
            self.announce_s,
            self.latency_s,
            self.burst_s,
            self.trackers,
            informed=True,
        )
