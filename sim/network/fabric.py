"""The underlay: who shares which link with whom."""

from __future__ import annotations

from simpy.events import Event

from sim.engine.clock import Clock
from sim.engine.machine import Machine


class Uplink:
    """One host's interface that many nodes pull from: fair sharing, each receiver held to its own interface.

    Egalitarian sharing of a link of B bytes/s among n flows of at most b bytes/s each is processor sharing on
    B/b cores, so the link is a `Machine` whose work is counted in bytes.
    """

    def __init__(self, clock: Clock, name: str, bandwidth_bytes_per_s: float, receiver_bytes_per_s: float) -> None:
        receivers = max(1.0, bandwidth_bytes_per_s / receiver_bytes_per_s)
        per_flow = min(bandwidth_bytes_per_s, receiver_bytes_per_s)
        self._link = Machine(clock, name, "images", receivers, per_flow)
        self.meter = self._link.meter

    def transfer(self, size_bytes: float) -> Event:
        """Send `size_bytes` to one receiver; fires with the last byte."""
        return self._link.work(size_bytes)
