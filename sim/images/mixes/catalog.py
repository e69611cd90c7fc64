"""What every mix of images answers: images by name. No randomness: a mix is the same in every replication."""

from __future__ import annotations

from sim.base.errors import Problems
from sim.base.plugin import Catalog
from sim.base.spec import Spec, param
from sim.images.spec import ImageSpec


class ImageMixSpec(Spec):
    """Base of every mix."""

    present_share: float = param(
        0.0, "share of the nodes that hold each image when the run begins, drawn for each node and image", ge=0, le=1
    )

    def images(self, base_dir: str, path: str, problems: Problems) -> dict[str, ImageSpec]:
        """Its images; adds to `problems` what cannot be read. base_dir: where relative paths start."""
        raise NotImplementedError


IMAGE_MIXES: Catalog[type[ImageMixSpec]] = Catalog("image mixes", package="sim.images.mixes")
"""Every mix a scenario may name."""
