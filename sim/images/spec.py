"""Parameters of images and of the registry they come from."""

from __future__ import annotations

from sim.base.spec import Spec, param


class ImageSpec(Spec):
    """One image: its compressed size and how often it is asked for."""

    size_bytes: int = param(..., "compressed size, as pulled", ge=0, le=2**50)
    present_share: float = param(
        0.0, "share of the nodes that hold it when the run begins, drawn for each node", ge=0, le=1
    )
    popularity: float = param(1.0, "relative weight when a workload draws an image", ge=0)


class RegistrySpec(Spec):
    """A single registry: one network interface, shared by all pulls."""

    bandwidth_bytes_per_s: float = param(
        1.25e9, "what its interface sends, shared fairly by all pulls (10 Gbit/s)", gt=0, le=1e13
    )
    request_s: float = param(0.05, "manifest and token round trips before the first byte", unverified=True, ge=0, le=60)
    unpack_bytes_per_s: float = param(
        1.0e8, "decompression and unpacking on one core of the node, compressed bytes", unverified=True, gt=0, le=1e12
    )
