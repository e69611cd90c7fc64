"""Draws that keep designs comparable: the same stream gives the same applications, only scaled or prolonged.

Everything here consumes its generator strictly in order, one value an item. A longer horizon therefore extends a
load without changing its beginning, and a changed weight moves only the items that its border crosses (common random
numbers by inversion).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sim.base.errors import InputError
from sim.base.rand import Distribution, Streams

MAX_ITEMS = 20_000_000
"""Most applications of one stream, and most pods of one load; beyond it a parameter is a slip of the pen."""


def pick(weights: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """`size` indices (int64), index i with probability weights[i] / sum(weights).

    weights: none negative. Raises InputError when they are all zero.
    """
    rising = np.cumsum(weights, dtype=np.float64)
    if not rising[-1] > 0:
        raise InputError("weights: all are 0, so that nothing can be picked; give one above 0")
    return np.searchsorted(rising / rising[-1], rng.random(size), side="right")


def counts(dist: Distribution, rng: np.random.Generator, size: int, what: str) -> np.ndarray:
    """`size` whole numbers (int64) of at least 1, rounded to the nearest from `dist`.

    what: the parameter's name for `InputError`, raised when a draw is beyond `MAX_ITEMS`.
    """
    drawn = np.maximum(np.rint(dist.sample(rng, size)), 1.0)
    if size and drawn.max() > MAX_ITEMS:
        raise InputError(
            f"{what}: a draw of {drawn.max():.3g} is beyond {MAX_ITEMS:,}; give the distribution a maximum"
        )
    return drawn.astype(np.int64)


def partial_sums(gaps: Distribution, rng: np.random.Generator, end: float) -> np.ndarray:
    """The sums of 1, 2, … independent gaps that lie below `end`: a renewal process, its first gap a whole one.

    Bit for bit the same beginning for every `end`. Raises `InputError` when there are more than `MAX_ITEMS`.
    """
    mean = gaps.mean()
    expected = end / mean if mean > 0 else np.inf
    if expected > MAX_ITEMS:
        raise InputError(
            f"arrivals: about {expected:.3g} are expected, more than {MAX_ITEMS:,}; lower the rate or the horizon"
        )
    block = int(expected + 4 * np.sqrt(expected)) + 16
    found = np.zeros(1)
    while found[-1] < end:
        if len(found) > 2 * MAX_ITEMS:
            raise InputError(f"arrivals: more than {MAX_ITEMS:,} gaps do not reach the horizon; the gaps are too short")
        # cumsum over [last, gap, gap, …] adds in the order of one long sum, so block borders leave no trace.
        step = np.cumsum(np.concatenate([found[-1:], gaps.sample(rng, block)]))
        found = np.concatenate([found, step[1:]])
    return found[1 : np.searchsorted(found, end, side="left")]


Drawn = Callable[[str, int], np.ndarray]


def in_the_middle(drawn: Drawn, streams: Streams) -> Drawn:
    """What is left of lives that are looked at in the middle, from how whole ones are drawn (by a source's name and a number).

    A look finds a life the more likely the longer it is, and anywhere in it: the residual of a renewal process in equilibrium.
    Endless lives stay endless.
    """

    def left(source: str, size: int) -> np.ndarray:
        whole = drawn(source, size)
        if not size or not np.isfinite(whole).all() or not whole.sum() > 0:
            return whole
        rng = streams(f"{source}.age")
        return whole[pick(whole, rng, size)] * rng.random(size)

    return left
