"""When faults strike, and the marks they leave."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

from simpy.events import Event

from sim.base.errors import Problems
from sim.base.rand import Streams
from sim.faults.catalog import FAULTS, FaultSpec, Struck

NOTICE_S = 1.0
"""So long before a strike the fault may prepare."""


@dataclass(slots=True)
class Mark:
    """One strike of a fault."""

    name: str
    number: int
    """The fault's position in the scenario's list."""
    begin_s: float
    end_s: float = nan
    """NaN: it lasts until the end of the run."""


class Faults:
    """Runs a scenario's faults. `marks` lists the strikes so far, `active` is how many last at this moment."""

    def __init__(self, struck: Struck, faults: Sequence[FaultSpec], horizon_s: float, streams: Streams) -> None:
        self._struck = struck
        self.marks: list[Mark] = []
        self.active = 0
        names = {FAULTS[name]: name for name in FAULTS} if faults else {}
        problems = Problems("scenario")
        for number, fault in enumerate(faults):
            fault.check_built(f"faults[{number}]", struck, problems)
        problems.raise_if_any()
        for number, fault in enumerate(faults):
            name = names[type(fault)]
            times_s = list(fault.at_s)
            if fault.mean_between_s is not None:
                rng, at_s = streams(f"faults.{number}"), 0.0
                while (at_s := at_s + float(rng.exponential(fault.mean_between_s))) < horizon_s:
                    times_s.append(at_s)
            for at_s in sorted(times_s):
                struck.clock.start(self._run(name, number, fault, at_s))

    def _run(self, name: str, number: int, fault: FaultSpec, at_s: float) -> Generator[Event, Any, None]:
        clock = self._struck.clock
        notice_s = min(NOTICE_S, at_s)
        yield clock.timeout(at_s - notice_s)
        fault.prepare(self._struck)
        yield clock.timeout(notice_s)
        mark = Mark(name, number, clock.now)
        self.marks.append(mark)
        self.active += 1
        yield from fault.strike(self._struck)
        self.active -= 1
        mark.end_s = clock.now
