"""Bursts: a Poisson process whose rate jumps between states."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import model_validator

from sim.base.errors import InputError
from sim.base.rand import Streams
from sim.base.spec import Spec, param
from workloads.arrivals import ARRIVALS, ArrivalProcess, unit_poisson
from workloads.draws import MAX_ITEMS

BLOCK = 256
"""Jumps drawn at a time; fixed, so that a longer horizon draws the same beginning."""


class ModulatedArrivals(ArrivalProcess):
    """What every Markov-modulated Poisson process shares: exact times by time change, from a stationary start."""

    def rates_per_s(self) -> np.ndarray:
        """Arrival rate of each state."""
        raise NotImplementedError

    def stays_s(self) -> np.ndarray:
        """Mean stay in each state."""
        raise NotImplementedError

    def jumps(self) -> np.ndarray:
        """Row i: the probabilities of the state that follows state i."""
        raise NotImplementedError

    def state_shares(self) -> np.ndarray:
        """Share of time in each state, in the long run."""
        jumps = self.jumps()
        size = len(jumps)
        balance = np.vstack([jumps.T - np.eye(size), np.ones(size)])
        visits = np.linalg.lstsq(balance, np.append(np.zeros(size), 1.0), rcond=None)[0]
        time = np.maximum(visits, 0.0) * self.stays_s()
        return time / time.sum()

    def phases(self, horizon_s: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(state of each phase, its end in seconds): phases that cover [0, horizon_s], the last one ends beyond it."""
        stays_s, cumulative = self.stays_s(), np.cumsum(self.jumps(), axis=1)
        if horizon_s / stays_s.min() > MAX_ITEMS:
            raise InputError(f"arrivals: more than {MAX_ITEMS:,} state changes; make the stays longer")
        state = int(np.searchsorted(np.cumsum(self.state_shares()), rng.random(), side="right"))
        state = min(state, len(stays_s) - 1)
        rows = cumulative.tolist()
        states: list[int] = []
        ends = np.zeros(1)
        while ends[-1] <= horizon_s:
            block: list[int] = []
            for chance in rng.random(BLOCK).tolist():
                block.append(state)
                row = rows[state]
                state = next((i for i, edge in enumerate(row) if chance < edge), len(row) - 1)
            stretch = stays_s[block] * rng.exponential(1.0, BLOCK)
            ends = np.concatenate([ends, np.cumsum(np.concatenate([ends[-1:], stretch]))[1:]])
            states += block
        return np.asarray(states), ends[1:]

    def times(self, horizon_s: float, streams: Streams, name: str) -> np.ndarray:
        states, ends = self.phases(horizon_s, streams(f"{name}.phases"))
        edges = np.concatenate([[0.0], ends])
        expected = np.concatenate([[0.0], np.cumsum(np.diff(edges) * self.rates_per_s()[states])])
        points = unit_poisson(float(np.interp(horizon_s, edges, expected)), streams(f"{name}.arrivals"))
        phase = (
            np.searchsorted(expected, points, side="right") - 1
        )  # never a silent phase: it expects no more at its end
        arrivals = edges[phase] + (points - expected[phase]) / self.rates_per_s()[states[phase]]
        return arrivals[arrivals < horizon_s]

    def expected(self, horizon_s: float) -> float:
        return float(self.state_shares() @ self.rates_per_s()) * horizon_s


@ARRIVALS.register("on-off")
class OnOffArrivals(ModulatedArrivals):
    """Two-state bursts (MMPP-2): a busy and a quiet rate that alternate, each for an exponential time."""

    on_rate_per_s: float = param(10.0, "applications a second in a burst", ge=0, le=1e6)
    off_rate_per_s: float = param(0.0, "applications a second between bursts", ge=0, le=1e6)
    on_mean_s: float = param(10.0, "mean length of a burst", ge=1e-3, le=1e9)
    off_mean_s: float = param(50.0, "mean time between bursts", ge=1e-3, le=1e9)

    @model_validator(mode="after")
    def _arrives(self) -> Self:
        if self.on_rate_per_s == self.off_rate_per_s == 0:
            raise ValueError("on_rate_per_s and off_rate_per_s must not both be 0: nothing would arrive")
        return self

    def rates_per_s(self) -> np.ndarray:
        return np.array([self.on_rate_per_s, self.off_rate_per_s])

    def stays_s(self) -> np.ndarray:
        return np.array([self.on_mean_s, self.off_mean_s])

    def jumps(self) -> np.ndarray:
        return np.array([[0.0, 1.0], [1.0, 0.0]])


class ArrivalState(Spec):
    """One state of a modulated process."""

    rate_per_s: float = param(..., "applications a second in this state", ge=0, le=1e6)
    mean_s: float = param(..., "mean stay", ge=1e-3, le=1e9)
    next_weights: tuple[float, ...] = param((), "weight of each state as the next one; none: all others alike")


@ARRIVALS.register("mmpp")
class MmppArrivals(ModulatedArrivals):
    """Markov-modulated Poisson process with any number of states; it starts in its long-run mix of states."""

    states: tuple[ArrivalState, ...] = param(
        (
            ArrivalState(rate_per_s=0.2, mean_s=60.0),
            ArrivalState(rate_per_s=2.0, mean_s=20.0),
            ArrivalState(rate_per_s=20.0, mean_s=5.0),
        ),
        "the states, at least two",
    )

    @model_validator(mode="after")
    def _connected(self) -> Self:
        if not 2 <= len(self.states) <= 50:
            raise ValueError(f"states: 2 to 50 are needed, not {len(self.states)}")
        if all(state.rate_per_s == 0 for state in self.states):
            raise ValueError("states: at least one rate_per_s must be above 0, or nothing would arrive")
        for i, state in enumerate(self.states):
            weights = state.next_weights
            if weights and len(weights) != len(self.states):
                raise ValueError(
                    f"states[{i}].next_weights needs one weight a state: {len(self.states)}, not {len(weights)}"
                )
            if weights and (min(weights) < 0 or weights[i] != 0 or sum(weights) <= 0):
                raise ValueError(
                    f"states[{i}].next_weights must not be negative, 0 for the state itself, and not all 0"
                )
        reach = np.linalg.matrix_power(self.jumps() + np.eye(len(self.states)), len(self.states))
        if np.any(reach <= 0):
            raise ValueError("states: each state must be reachable from every other; see next_weights")
        return self

    def rates_per_s(self) -> np.ndarray:
        return np.array([state.rate_per_s for state in self.states])

    def stays_s(self) -> np.ndarray:
        return np.array([state.mean_s for state in self.states])

    def jumps(self) -> np.ndarray:
        size = len(self.states)
        rows = [
            state.next_weights or tuple(0.0 if j == i else 1.0 for j in range(size))
            for i, state in enumerate(self.states)
        ]
        return np.array([np.asarray(row) / sum(row) for row in rows])
