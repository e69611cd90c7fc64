"""Images as a public registry holds them: sizes by their published spread, a few bases that most are built on."""

from __future__ import annotations

from math import exp, log
from statistics import NormalDist

from sim.base.errors import Problems
from sim.base.spec import param
from sim.images.mixes.catalog import IMAGE_MIXES, ImageMixSpec
from sim.images.spec import ImageSpec

HUB = "Docker Hub data set (Zhao et al., 2019), as remembered"
GOLDEN = 0.6180339887498949
"""Multiples of it, less their whole part, spread evenly: sizes are dealt out to popularities without a pattern."""


@IMAGE_MIXES.register("docker-hub")
class DockerHub(ImageMixSpec):
    """Lognormal sizes, Zipf popularity, shared bases.

    Each of `count` images is built on one of those `bases` that are smaller than it.
    """

    count: int = param(100, "images", ge=1, le=100_000)
    median_bytes: int = param(170_000_000, "median compressed size", source=HUB, unverified=True, gt=0, le=2**50)
    sigma: float = param(
        1.3, "standard deviation of the size's natural logarithm", source=HUB, unverified=True, ge=0, le=5
    )
    maximum_bytes: int = param(10_000_000_000, "largest", unverified=True, gt=0, le=2**50)
    zipf_exponent: float = param(
        1.0, "popularity of the k-th image is k to the minus this", unverified=True, ge=0, le=10
    )
    bases: int = param(8, "base images", unverified=True, ge=0, le=1000)
    base_median_bytes: int = param(30_000_000, "median compressed size of a base", unverified=True, gt=0, le=2**50)

    def images(self, base_dir: str, path: str, problems: Problems) -> dict[str, ImageSpec]:
        def size(median: float, place: float) -> int:
            drawn = exp(log(median) + self.sigma * NormalDist().inv_cdf(place)) if self.sigma else median
            return int(min(drawn, self.maximum_bytes))

        found = {
            f"base-{number}": ImageSpec(
                size_bytes=size(self.base_median_bytes, (number + 0.5) / self.bases), popularity=0
            )
            for number in range(self.bases)
        }
        bases = list(found)
        for number in range(self.count):
            place = ((number + 1) * GOLDEN) % 1.0
            own = size(self.median_bytes, min(max(place, 1e-6), 1 - 1e-6))
            small = [name for name in bases if found[name].size_bytes <= own]
            found[f"image-{number}"] = ImageSpec(
                size_bytes=own,
                base=small[int(((number + 1) * GOLDEN * GOLDEN) % 1.0 * len(small))] if small else "",
                popularity=(number + 1) ** -self.zipf_exponent,
                present_share=self.present_share,
            )
        return found
