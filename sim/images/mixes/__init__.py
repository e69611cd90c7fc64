"""Whole sets of images, one kind a file: a user's own list, or as a registry holds them. A scenario's `image_mix` names one."""

from sim.images.mixes.catalog import IMAGE_MIXES, ImageMixSpec

__all__ = ["IMAGE_MIXES", "ImageMixSpec"]
