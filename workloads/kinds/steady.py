"""Arrivals by the clock, short form."""

from __future__ import annotations

from sim.workload import WORKLOADS
from workloads.arrivals.steady import SteadyArrivals
from workloads.single import SingleStream


@WORKLOADS.register("steady")
class Steady(SingleStream, SteadyArrivals):
    """One stream of evenly spaced arrivals, as a load generator makes them; by default bare pods of the web mix."""
