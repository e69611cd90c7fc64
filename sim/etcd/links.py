"""The network between the members of a group."""

from __future__ import annotations

from collections.abc import Callable

from sim.engine.clock import Clock


class Links:
    """One-way delays between members; faults make a pair slow or cut it. Messages of a pair keep their order."""

    def __init__(self, clock: Clock, rtt_s: float) -> None:
        self._clock = clock
        self._one_way_s = rtt_s / 2
        self._extra_s: dict[frozenset[int], float] = {}
        self.waiting_s = 0.0
        """What the load of the underlay adds to a small message's one-way delay."""
        self._cut: set[frozenset[int]] = set()
        self._arrives_s: dict[tuple[int, int], float] = {}

    @property
    def healthy(self) -> bool:
        """No pair is slow or cut."""
        return not self._extra_s and not self._cut

    def delay_s(self, source: int, target: int) -> float:
        """One-way delay of a small message."""
        return self._one_way_s + self.waiting_s + self._extra_s.get(frozenset((source, target)), 0.0)

    def cut(self, one: int, other: int) -> None:
        """Nothing passes between the two, in either direction."""
        self._cut.add(frozenset((one, other)))

    def slow(self, one: int, other: int, extra_s: float) -> None:
        """Everything between the two takes `extra_s` longer each way."""
        self._extra_s[frozenset((one, other))] = extra_s

    def heal(self, one: int, other: int) -> None:
        """The pair is as it was."""
        self._cut.discard(frozenset((one, other)))
        self._extra_s.pop(frozenset((one, other)), None)

    def passes(self, source: int, target: int) -> bool:
        """Whether a message that arrives now gets through."""
        return not self._cut or frozenset((source, target)) not in self._cut

    def post(self, source: int, target: int, action: Callable[[object], None], transfer_s: float = 0.0) -> None:
        """Call `action` at the target's side after the delay (and `transfer_s`), never before an earlier message's."""
        pair = (source, target)
        arrives_s = max(self._clock._now + self.delay_s(source, target) + transfer_s, self._arrives_s.get(pair, 0.0))
        self._arrives_s[pair] = arrives_s
        self._clock.at(arrives_s - self._clock._now, action)
