"""Images baked into the nodes' own disk image: only what was pushed later is pulled."""

from __future__ import annotations

from sim.images.sources.catalog import IMAGE_SOURCES
from sim.images.sources.single import SingleRegistry


@IMAGE_SOURCES.register("pre-seeded")
class PreSeeded(SingleRegistry):
    """Every node begins with every image; a single registry has those pushed later."""

    @property
    def on_every_node(self) -> bool:
        return True
