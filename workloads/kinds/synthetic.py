"""Several streams of applications on top of each other."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import model_validator

from sim.base.errors import Problems
from sim.base.rand import Streams
from sim.base.spec import Choice, param
from sim.workload import WORKLOADS, Load, Setting, WorkloadSpec
from workloads.arrivals import ARRIVALS, ArrivalProcess
from workloads.arrivals.poisson import PoissonArrivals
from workloads.streams import StreamFields, draw_stream, superpose

NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,38}[a-z0-9])?", re.ASCII)


class Stream(StreamFields):
    """Arrivals of one kind of application."""

    arrivals: Annotated[ArrivalProcess, Choice(ARRIVALS)] = param(PoissonArrivals(), "when its applications arrive")


@WORKLOADS.register("synthetic")
class Synthetic(WorkloadSpec):
    """Streams of services, jobs and pods, each with its own arrivals, shapes, sizes and durations."""

    streams: dict[str, Stream] = param(
        {"pods": Stream()}, "the streams by name; a name begins the names of its random draws"
    )

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.streams:
            raise ValueError("streams: at least one is needed")
        for name in self.streams:
            if not NAME.fullmatch(name):
                raise ValueError(
                    f"streams: '{name}' must be 1 to 40 lower-case letters, digits or '-', as it becomes a label"
                )
        return self

    def build(self, setting: Setting, streams: Streams) -> Load:
        drawn = [draw_stream(stream, stream.arrivals, name, setting, streams) for name, stream in self.streams.items()]
        parts = [part for parts in drawn for part in parts]
        return superpose(parts, setting.tenants)

    def check(self, setting: Setting, path: str, problems: Problems) -> None:
        for name, stream in self.streams.items():
            stream.check_stream(stream.arrivals, setting, f"{path}.streams.{name}", problems)
