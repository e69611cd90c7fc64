"""Leaf modules that every room may import: errors, catalogs of plugins, units, random streams, specs."""
