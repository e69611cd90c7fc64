"""Which images a node's pods use, and when others were last used: read off the pod table when somebody asks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.state.pods import Phase, PodTable


class ImageUse:
    """The kubelet notes every `period_s` which images its pods use; so the time of last use is that of such a look.

    images_of: a template's images. Looks are taken to come at whole multiples of the period.
    """

    def __init__(self, pods: PodTable, images_of: Sequence[tuple[str, ...]], period_s: float) -> None:
        self._pods = pods
        self._images_of = images_of
        self._period_s = period_s

    def of_node(self, node: int) -> tuple[set[str], dict[str, float]]:
        """(images in use, image -> last look that saw it in use), from every pod that was ever bound to the node."""
        ids, times = self._pods.ids, self._pods.times
        here = np.flatnonzero(np.frombuffer(ids["node"], np.int32) == node).tolist()
        in_use: set[str] = set()
        last_s: dict[str, float] = {}
        for pod in here:
            images = self._images_of[ids["template"][pod]]
            if ids["phase"][pod] in (Phase.SCHEDULED, Phase.RUNNING):
                in_use.update(images)
                continue
            look_s = times["gone_s"][pod] // self._period_s * self._period_s
            for image in images:
                if look_s > max(last_s.get(image, 0.0), times["bound_s"][pod]):
                    last_s[image] = look_s
        return in_use, last_s
