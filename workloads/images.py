"""Which image a pod runs: named, or drawn by the popularity of the scenario's images.

A scenario that describes no images pulls none: its pods' containers then have the image "".
"""

from __future__ import annotations

import numpy as np

from sim.base.errors import Problems, near_miss
from sim.base.rand import Streams
from sim.workload import Setting
from workloads.draws import pick

NOTHING_TO_PULL = ""
"""The image of containers that start without a pull."""


def check_image(image: str, setting: Setting, path: str, problems: Problems) -> None:
    """Report an image that the scenario does not have; "" means that it is drawn."""
    names = [name for name, _ in setting.images]
    if image and image not in names:
        hint = near_miss(image, names) if names else "describe it under images, or leave it out"
        problems.add(path, image, "is no image of the scenario", hint)


def draw_images(setting: Setting, streams: Streams, name: str, size: int) -> tuple[np.ndarray, list[str]]:
    """(index of the image of each of `size` applications, all image names)."""
    if not setting.images:
        return np.zeros(size, np.int64), [NOTHING_TO_PULL]
    popularity = np.array([weight for _, weight in setting.images])
    return pick(popularity, streams(f"{name}.image"), size), [image for image, _ in setting.images]


def most_popular(setting: Setting) -> str:
    """The image that is asked for most; the first of equals."""
    return max(setting.images, key=lambda image: image[1], default=(NOTHING_TO_PULL, 0.0))[0]
