"""How far a run is: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

if TYPE_CHECKING:
    from sim.simulate import Progress as Told

PLAIN_STEP = 0.1
"""Without a terminal: a line for each such share of the horizon, …"""
PLAIN_PERIOD_S = 2.0
"""… but not more often than this, in wall-clock seconds."""


def progress_line(told: Told) -> str:
    """Simulated time, pods done, events a second and time left, as text."""
    share = min(told.sim_time_s / told.horizon_s, 1.0)
    rate = told.events / told.wall_s if told.wall_s > 0 else 0.0
    left = f"{told.wall_s * (1 - share) / share:.0f} s left" if share > 0 else "time left unknown"
    return (
        f"{told.sim_time_s:,.0f} of {told.horizon_s:,.0f} s simulated, {told.pods_done:,} of {told.pods_total:,} pods, "
        f"{rate:,.0f} events/s, {left}"
    )


class RunProgress:
    """A context to run in; call it with what `simulate` tells."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._next_share = PLAIN_STEP
        self._last_line_s = time.monotonic()
        if console.is_terminal and not quiet:
            self._bar = Progress(
                TextColumn("{task.percentage:>3.0f} %"),
                BarColumn(),
                TextColumn("{task.description}"),
                console=console,
                transient=True,
            )

    def __enter__(self) -> RunProgress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("preparing", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, told: Told) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task, total=told.horizon_s, completed=told.sim_time_s, description=progress_line(told)
            )
        elif not self._quiet:
            self._plain(told)

    def _plain(self, told: Told) -> None:
        share = told.sim_time_s / told.horizon_s
        now_s = time.monotonic()
        if share >= self._next_share and now_s - self._last_line_s >= PLAIN_PERIOD_S:
            self._next_share = share + PLAIN_STEP
            self._last_line_s = now_s
            self._console.print(progress_line(told), highlight=False, soft_wrap=True)


class SweepProgress:
    """How many runs of an experiment are done, and the time left: a bar on a terminal, a few plain lines elsewhere."""

    def __init__(self, runs: int, quiet: bool = False, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._quiet = quiet
        self._runs = runs
        self._done = 0
        self._failed = 0
        self._begun_s = time.monotonic()
        self._last_line_s = self._begun_s
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if not quiet and (self._console.is_terminal or self._console.is_jupyter):
            self._bar = Progress(
                TextColumn("{task.percentage:>3.0f} %"), BarColumn(), TextColumn("{task.description}"),
                console=self._console, transient=True,
            )

    def __enter__(self) -> SweepProgress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self.line(), total=self._runs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def line(self) -> str:
        """Runs done and failed, and the time left at the pace so far."""
        elapsed_s = time.monotonic() - self._begun_s
        left = f"{elapsed_s / self._done * (self._runs - self._done):,.0f} s left" if self._done else "time left unknown"
        failed = f", {self._failed:,} failed" if self._failed else ""
        return f"{self._done:,} of {self._runs:,} runs{failed}, {left}"

    def advance(self, failed: int) -> None:
        """Another run ended; `failed` of all failed so far."""
        self._done += 1
        self._failed = failed
        self.tick()

    def tick(self) -> None:
        """Time passed."""
        if self._quiet:
            return
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done, description=self.line())
        elif self._done and time.monotonic() - self._last_line_s >= 5 * PLAIN_PERIOD_S:
            self._last_line_s = time.monotonic()
            self._console.print(self.line(), highlight=False, soft_wrap=True)
