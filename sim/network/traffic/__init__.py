"""Traffic between pods, one file a kind: what is sent, from where to where, when."""

from sim.network.traffic.catalog import TRAFFIC, Demand, TrafficSpec

__all__ = ["TRAFFIC", "Demand", "TrafficSpec"]
