"""Short forms: one stream whose arrival process is the workload itself.

`Poisson(rate_per_s=50, mix="web")` is short for a synthetic workload of one stream with Poisson arrivals: a short form
inherits the parameters of an arrival process and those of a stream, so each is declared once.
"""

from __future__ import annotations

from sim.base.errors import Problems
from sim.base.rand import Streams
from sim.workload import Load, Setting, WorkloadSpec
from workloads.arrivals import ArrivalProcess
from workloads.streams import StreamFields, draw_stream, superpose

STREAM = "pods"
"""The name of its only stream, the same as that of `Synthetic`'s default one."""


class SingleStream(StreamFields, ArrivalProcess, WorkloadSpec):
    """Base of the short forms; a short form names its arrival process as a second base."""

    def build(self, setting: Setting, streams: Streams) -> Load:
        return superpose(draw_stream(self, self, STREAM, setting, streams), setting.tenants)

    def check(self, setting: Setting, path: str, problems: Problems) -> None:
        self.check_stream(self, setting, path, problems)
