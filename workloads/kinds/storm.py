"""Everything at once, short form."""

from __future__ import annotations

from sim.workload import WORKLOADS
from workloads.arrivals.at_once import AtOnceArrivals
from workloads.single import SingleStream


@WORKLOADS.register("storm")
class Storm(SingleStream, AtOnceArrivals):
    """One stream whose applications all arrive at one moment; by default bare pods of the web mix."""
