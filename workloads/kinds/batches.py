"""Arrivals in groups, short form."""

from __future__ import annotations

from sim.workload import WORKLOADS
from workloads.arrivals.batch import BatchArrivals
from workloads.single import SingleStream


@WORKLOADS.register("batches")
class Batches(SingleStream, BatchArrivals):
    """One stream of applications that come in groups (compound Poisson); by default bare pods of the web mix."""
