"""Readers of recorded workloads, one file a data set."""
