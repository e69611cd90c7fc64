"""Where images come from, one file each. A scenario's `registry` names one."""

from sim.images.sources.catalog import IMAGE_SOURCES, ImageSource, Site, SourceSpec

__all__ = ["IMAGE_SOURCES", "ImageSource", "Site", "SourceSpec"]
