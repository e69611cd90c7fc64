"""The sampler: reads all meters once a period, which makes the time series."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from simpy.events import Event

from sim.engine.clock import Clock
from sim.engine.meter import Meter


class MeterSampler:
    """Mean use and queue of each meter over each period; levels are read at the period's end.

    meters: use is divided by capacity. levels: name -> a function that reads a number now.
    """

    def __init__(
        self, clock: Clock, period_s: float, meters: Sequence[Meter], levels: dict[str, Callable[[], float]]
    ) -> None:
        self._clock = clock
        self._period_s = period_s
        self.meters = meters
        self._levels = levels
        self._rows: list[list[float]] = []
        self._before = [meter.read() for meter in meters]
        self._since_s = clock._now

    def run(self) -> Generator[Event, Any, None]:
        """Process: one row a period."""
        while True:
            yield self._clock.timeout(self._period_s)
            self.sample()

    def sample(self) -> None:
        """Close the period that is open; call once more at the end of a run."""
        now = self._clock._now
        held = now - self._since_s
        if held <= 0:
            return
        row = [now]
        before, self._before = self._before, [meter.read() for meter in self.meters]
        for meter, (use0, queue0), (use1, queue1) in zip(self.meters, before, self._before, strict=True):
            row += [(use1 - use0) / held / meter.capacity, (queue1 - queue0) / held]
        row += [read() for read in self._levels.values()]
        self._rows.append(row)
        self._since_s = now

    def columns(self) -> dict[str, np.ndarray]:
        """time_s, then `<meter>_utilisation` and `<meter>_queue` of each meter, then the levels."""
        names = ["time_s"]
        for meter in self.meters:
            name = meter.name.replace(" ", "_")
            names += [f"{name}_utilisation", f"{name}_queue"]
        names += list(self._levels)
        table = np.array(self._rows).reshape(-1, len(names))
        return {name: table[:, index] for index, name in enumerate(names)}
