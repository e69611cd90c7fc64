"""Parameters of images, and of how a node keeps and pulls them."""

from __future__ import annotations

from typing import Literal

from sim.base.spec import Spec, param

K20 = "Kubernetes 1.20 source, kubelet defaults"

PullPolicy = Literal["IfNotPresent", "Always", "Never"]


class LayerSpec(Spec):
    """One layer: images that list the same digest share it."""

    digest: str = param(..., "its content's digest, or any name that stands for it", min_length=1)
    size_bytes: int = param(..., "compressed size, as pulled", ge=0, le=2**50)


class ImageSpec(Spec):
    """One image: its compressed size, the layers it is made of, and how often it is asked for.

    Layers lie in the order of `base`'s, then `layers`, then one of its own with what is left of `size_bytes`.
    """

    size_bytes: int = param(..., "compressed size of all layers, as pulled", ge=0, le=2**50)
    base: str = param("", "image whose layers this one is built on, and shares; empty: none")
    layers: tuple[LayerSpec, ...] = param((), "further layers by digest, from the lowest up")
    present_share: float = param(
        0.0, "share of the nodes that hold it when the run begins, drawn for each node", ge=0, le=1
    )
    popularity: float = param(1.0, "relative weight when a workload draws an image", ge=0)
    pushed_at_s: float = param(0.0, "when it was pushed to where images come from; a pull before finds nothing", ge=0)


class NodeImagesSpec(Spec):
    """How a kubelet and its runtime pull images, and when unused ones are removed."""

    pull_policy: PullPolicy = param(
        "IfNotPresent", "of containers that name none", source="Kubernetes API defaults for an image with a fixed tag"
    )
    qps: float = param(
        5.0, "pulls begun a second; one beyond it fails at once", source=K20 + ": registryPullQPS", gt=0, le=1e6
    )
    burst: int = param(10, "pulls begun at once", source=K20 + ": registryBurst", ge=1, le=1_000_000)
    max_parallel: int | None = param(
        None,
        "pulls at a time where they are not serial; null: no limit",
        source="Kubernetes 1.27: maxParallelImagePulls",
        ge=1,
        le=1000,
    )
    layers_at_once: int = param(
        3,
        "layers of one image downloaded at a time",
        source="containerd and Docker: max concurrent downloads",
        ge=1,
        le=1000,
    )
    back_off_s: float = param(
        10.0, "wait after a pod's first failed pull of an image; doubles", source=K20, gt=0, le=3600
    )
    back_off_max_s: float = param(300.0, "longest wait", source=K20, gt=0, le=86400)
    unpacked_ratio: float = param(
        2.6,
        "bytes on disk for one compressed byte",
        source="Docker Hub's layers, median (Zhao et al., 2019), as remembered",
        unverified=True,
        ge=1,
        le=100,
    )
    disk_bytes: int = param(100 * 2**30, "size of the file system that holds images", unverified=True, gt=0, le=2**60)
    other_disk_bytes: int = param(
        10 * 2**30, "of it taken by other things: system, logs, writable layers", unverified=True, ge=0, le=2**60
    )
    disk_write_bytes_per_s: float = param(2.0e8, "what its disk writes", unverified=True, gt=0, le=1e12)
    dirty_bytes: int = param(
        2 * 2**30,
        "written bytes that memory holds back; who unpacks beyond them waits for the disk",
        source="Linux vm.dirty_ratio: 20 % of the available memory, here of 10 GiB",
        unverified=True,
        ge=0,
        le=2**50,
    )
    gc_period_s: float = param(
        300.0, "how often the disk is looked at; the phase differs from node to node", source=K20, gt=0, le=86400
    )
    gc_high_percent: float = param(85.0, "disk use at which images are removed", source=K20, gt=0, le=100)
    gc_low_percent: float = param(80.0, "disk use that removal aims at", source=K20, ge=0, le=100)
    gc_min_age_s: float = param(120.0, "an image younger than this stays", source=K20, ge=0, le=1e7)
