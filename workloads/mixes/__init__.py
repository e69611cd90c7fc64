"""Named tables of request shapes, one file each; the catalog is `workloads.shapes.MIXES`."""
