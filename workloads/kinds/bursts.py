"""Bursty arrivals, short form."""

from __future__ import annotations

from sim.workload import WORKLOADS
from workloads.arrivals.mmpp import OnOffArrivals
from workloads.single import SingleStream


@WORKLOADS.register("bursts")
class Bursts(SingleStream, OnOffArrivals):
    """One stream whose rate jumps between a busy and a quiet level (MMPP-2); by default bare pods of the web mix."""
