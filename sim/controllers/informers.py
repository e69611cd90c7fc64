"""Informers of a process that may be cut off from the API server: they hear nothing meanwhile, and all of it afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from simpy.events import Event

from sim.apiserver.watch import Handler


class CutInformers:
    """All informers of the process that leads. cut: what ends the cut between it and the API server; None: there is none.

    When the process ceases to lead, what it has missed is told at once: nothing is queued then, and the next leader lists
    everything before it begins.
    """

    def __init__(self, cut: Callable[[], Event | None]) -> None:
        self._cut = cut
        self._held: list[tuple[Handler, int]] = []

    def hold(self, on: Mapping[str, Handler | None]) -> dict[str, Handler | None]:
        """An informer's handlers, by the kind of change."""
        return {kind: handler and self._holding(handler) for kind, handler in on.items()}

    def release(self, _: object = None) -> None:
        """The cut is over, or who was cut off leads no more."""
        held, self._held = self._held, []
        for handler, row in held:
            handler(row)

    def _holding(self, handler: Handler) -> Handler:
        def hear(row: int) -> None:
            over = self._cut()
            if over is None and not self._held:
                handler(row)
                return
            if not self._held and over is not None:
                assert over.callbacks is not None
                over.callbacks.append(self.release)
            self._held.append((handler, row))

        return hear
