"""Arrivals by time of day, short form."""

from __future__ import annotations

from sim.workload import WORKLOADS
from workloads.arrivals.diurnal import DiurnalArrivals
from workloads.single import SingleStream


@WORKLOADS.register("diurnal")
class Diurnal(SingleStream, DiurnalArrivals):
    """One stream whose rate swings with the time of day; by default bare pods of the web mix."""
