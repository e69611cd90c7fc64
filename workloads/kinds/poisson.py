"""Poisson arrivals, short form."""

from __future__ import annotations

from sim.workload import WORKLOADS
from workloads.arrivals.poisson import PoissonArrivals
from workloads.single import SingleStream


@WORKLOADS.register("poisson")
class Poisson(SingleStream, PoissonArrivals):
    """One stream of independent arrivals at a constant rate; by default bare pods of the web mix."""
