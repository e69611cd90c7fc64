"""ImageLocality: prefer nodes that hold the pod's images already."""

from __future__ import annotations

import numpy as np

from sim.kernels import kernel
from sim.scheduler.framework import PLUGINS, Cycle, Plugin
from sim.scheduler.pod_info import PodInfo
from sim.state.nodes import NodeTable

MEBIBYTE = 1024 * 1024
MIN_THRESHOLD_BYTES = 23 * MEBIBYTE
"""Images below this do not count (imagelocality/image_locality.go, minThreshold)."""
MAX_CONTAINER_THRESHOLD_BYTES = 1000 * MEBIBYTE
"""Bytes a container at which the score is full (maxContainerThreshold)."""


def normalized_image_name(name: str) -> str:
    """The image name with its tag: `:latest` where there is none (a registry port is no tag, a digest stays)."""
    return f"{name}:latest" if name.rfind(":") <= name.rfind("/") else name


def _image_score_twin(sums: np.ndarray, containers: int, top: int) -> np.ndarray:
    low, high = MIN_THRESHOLD_BYTES, MAX_CONTAINER_THRESHOLD_BYTES * containers
    return top * (np.clip(sums, low, high) - low) // (high - low)


@kernel(reference=_image_score_twin)
def image_score(sums: np.ndarray, containers: int, top: int) -> np.ndarray:
    """int64 scores 0..top from the scaled bytes of images present. sums int64[k], containers at least 1."""
    low = MIN_THRESHOLD_BYTES
    high = MAX_CONTAINER_THRESHOLD_BYTES * containers
    out = np.empty_like(sums)
    for i in range(sums.shape[0]):
        out[i] = top * (min(max(sums[i], low), high) - low) // (high - low)
    return out


def image_sums(nodes: NodeTable, images: list[str], as_written: bool) -> np.ndarray | None:
    """int64, one a table row: bytes of the images present, each scaled by the share of nodes that hold it; None when
    no node holds any. An image named twice counts twice; its size is the one the first listing node gave.

    as_written: a node knows the number of holders of the time it was written (1.20 and before)."""
    sums: np.ndarray | None = None
    for image in images:
        state = nodes.images.get(normalized_image_name(image))
        if state is None or not state.rows:
            continue
        if sums is None:
            sums = np.zeros(nodes.count, np.int64)
        rows = np.fromiter(state.rows, np.int64, len(state.rows))
        holders = np.full(len(rows), len(state.rows), np.float64)
        if as_written:
            holders = np.fromiter(state.rows.values(), np.float64, len(rows))
        sums[rows] += (float(state.size_bytes) * (holders / float(nodes.alive_count))).astype(np.int64)
    return sums


@PLUGINS.register("ImageLocality")
class ImageLocality(Plugin):
    """Images present on the node (imagelocality/image_locality.go); 1.20 and before leave init containers out."""

    def images(self, pod: PodInfo) -> list[str]:
        """The images that count, one a container."""
        init = pod.spec.init_containers if self.arithmetic == "1.34" else ()
        return [container.image for container in (*init, *pod.spec.containers)]

    def score(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        images = self.images(cycle.pod)
        sums = image_sums(cycle.nodes, [image for image in images if image], self.arithmetic != "1.34")
        if sums is None:
            return np.zeros(len(rows), np.int64)
        return image_score(sums[rows], 1 if self.arithmetic == "1.12" else len(images), self.top)
