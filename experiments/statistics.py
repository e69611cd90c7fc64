"""What can be said of a number that a simulation gave, and how sure one may be.

Two kinds of data meet here. Within a run, observations follow each other and are correlated: cut the warm-up
(`mser5`), then `batch_means`. Between runs, replications are independent: `mean_interval` over their means or quantiles,
`paired` over their differences when two designs met the same random numbers.

Intervals are two-sided, at `confidence`. Sources: A. M. Law, Simulation Modeling and Analysis, 5th ed., chapters 9
to 11 (replications, batch means, sequential procedures, common random numbers); K. P. White, M. J. Cobb, S. C. Spratt,
A comparison of five steady-state truncation heuristics (MSER-5), 2000; S. Holm, A simple sequentially rejective multiple
test procedure, 1979; B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
MSER_BATCH = 5
BATCHES = 20
"""Few long batches: their means are closer to independent, and beyond 20 to 30 the interval gains little (Law, 9.5.3)."""
FEWEST = 3
"""Replications before a sequential rule may stop: with two, chance alone makes an interval narrow too often."""

ROUNDING = 1e-12
"""Relative difference within a pair that is the order of adding up, not a difference: it would be called certain."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with what it may be."""

    value: float
    low: float
    high: float
    confidence: float
    n: int
    """Independent observations it rests on."""

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    @property
    def relative(self) -> float:
        """Half the width as a share of the value; inf where that is 0."""
        return self.half_width / abs(self.value) if self.value else (0.0 if self.half_width == 0 else math.inf)

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True, slots=True)
class Difference:
    """Second less first, with how surely it is not 0."""

    interval: Interval
    p_value: float
    """Of a two-sided t test; NaN with fewer than two pairs."""
    first: float
    """Mean of the first."""

    @property
    def percent(self) -> float:
        return 100 * self.interval.value / abs(self.first) if self.first else math.nan


# --- within a run


def mser5(values: np.ndarray) -> int:
    """How many leading observations to cut as warm-up.

    values: float (n,), in the order of time. Averages batches of 5 and cuts where the standard error of what is left is
    smallest, at most half: a run whose best cut lies there is too short to say, and half is cut.
    """
    batches = len(values) // MSER_BATCH
    if batches < 2:
        return 0
    means = np.asarray(values[: batches * MSER_BATCH], np.float64).reshape(batches, MSER_BATCH).mean(axis=1)
    means = means - means.mean()  # the sums of squares below then cancel less
    left = np.arange(batches, 0, -1)
    total = np.cumsum(means[::-1])[::-1]
    squares = np.cumsum(means[::-1] ** 2)[::-1]
    error = np.maximum(squares - total**2 / left, 0.0) / left**2
    return int(np.argmin(error[: batches // 2 + 1])) * MSER_BATCH


def batch_means(values: np.ndarray, confidence: float = CONFIDENCE, batches: int = BATCHES) -> Interval:
    """The mean of a long correlated series, from the means of `batches` consecutive parts; a remainder at the front is left out.

    values: float (n,), in the order of time, warm-up cut. `ValueError` with fewer than two values a batch.
    """
    size = len(values) // batches
    if size < 2:
        raise ValueError(f"{len(values)} values are too few for {batches} batches: at least {2 * batches} are needed")
    means = np.asarray(values[len(values) - size * batches :], np.float64).reshape(batches, size).mean(axis=1)
    return mean_interval(means, confidence)


# --- over independent values: replications, or observations known to be independent


def mean_interval(values: np.ndarray | Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The mean of independent values, by Student's t; of one value, or none, the interval is not known (NaN)."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    n = len(known)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, confidence, 0)
    mean = float(known.mean())
    if n == 1:
        return Interval(mean, math.nan, math.nan, confidence, 1)
    half = _t(confidence, n - 1) * float(known.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, confidence, n)


def quantile_interval(values: np.ndarray, q: float, confidence: float = CONFIDENCE) -> Interval:
    """A quantile of independent values, between two of them: exact for every distribution, at least `confidence`.

    The number of values below the true quantile is binomial. NaN ends where there are too few values: the p99 has an upper
    end from 368 values on, at 95 %.
    """
    from scipy.stats import binom

    from sim.result.quantiles import quantiles

    ordered = np.sort(np.asarray(values, np.float64))
    n = len(ordered)
    value = float(quantiles(ordered, (q,))[0])
    tail = (1 - confidence) / 2
    below = int(binom.ppf(tail, n, q)) if n else 0  # P(B < below) <= tail
    above = int(binom.isf(tail, n, q)) + 1 if n else 0  # P(B >= above) <= tail
    low = float(ordered[below - 1]) if below >= 1 else math.nan
    high = float(ordered[above - 1]) if n and above <= n else math.nan
    return Interval(value, low, high, confidence, n)


def bootstrap_interval(
    replications: Sequence[np.ndarray],
    statistic: Callable[[np.ndarray], float],
    rng: np.random.Generator,
    confidence: float = CONFIDENCE,
    resamples: int = 1000,
) -> Interval:
    """A statistic of all values of several replications, resampling whole replications: values within one may be correlated.

    Percentile bootstrap; with fewer than about ten replications its intervals are too narrow, and `mean_interval` over
    each replication's statistic is the better choice.
    """
    parts = [np.asarray(part, np.float64) for part in replications]
    value = statistic(np.concatenate(parts)) if parts else math.nan
    if len(parts) < 2:
        return Interval(value, math.nan, math.nan, confidence, len(parts))
    drawn = np.empty(resamples)
    for i in range(resamples):
        drawn[i] = statistic(np.concatenate([parts[j] for j in rng.integers(0, len(parts), len(parts))]))
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high), confidence, len(parts))


# --- two designs


def paired(first: np.ndarray, second: np.ndarray, confidence: float = CONFIDENCE) -> Difference:
    """Second less first, pair by pair: replication i of both met the same random numbers. Pairs with a NaN are left out."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"{len(a)} and {len(b)} values make no pairs")
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    less = b - a
    less[np.abs(less) <= ROUNDING * np.maximum(np.abs(a), np.abs(b))] = 0.0
    interval = mean_interval(less, confidence)
    p_value = _p_value(interval.value, float(less.std(ddof=1)) / math.sqrt(len(a)), len(a) - 1) if len(a) > 1 else math.nan
    return Difference(interval, p_value, float(a.mean()) if len(a) else math.nan)


def unpaired(first: np.ndarray, second: np.ndarray, confidence: float = CONFIDENCE) -> Difference:
    """Second less first for designs that met different random numbers, by Welch's t."""
    a, b = (np.asarray(values, np.float64) for values in (first, second))
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    mean_a = float(a.mean()) if len(a) else math.nan
    value = (float(b.mean()) if len(b) else math.nan) - mean_a
    n = min(len(a), len(b))
    if n < 2:
        return Difference(Interval(value, math.nan, math.nan, confidence, n), math.nan, mean_a)
    share_a, share_b = float(a.var(ddof=1)) / len(a), float(b.var(ddof=1)) / len(b)
    error = math.sqrt(share_a + share_b)
    freedom = (share_a + share_b) ** 2 / (share_a**2 / (len(a) - 1) + share_b**2 / (len(b) - 1)) if error else math.inf
    half = _t(confidence, freedom) * error
    return Difference(Interval(value, value - half, value + half, confidence, n), _p_value(value, error, freedom), mean_a)


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """p-values corrected for their number: calling those below 5 % real is wrong about any with at most 5 % probability.

    float (m,); NaN stays NaN and does not count.
    """
    given = np.asarray(p_values, np.float64)
    corrected = np.full(len(given), np.nan)
    known = np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(given[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(given[order] * factors), 1.0)
    return corrected


# --- how many replications


def precise_enough(values: np.ndarray, within: float, confidence: float = CONFIDENCE) -> bool:
    """Whether the mean of replications is known within the share `within` of itself.

    The bound is within / (1 + within), so that the error relative to the true mean, not to the estimate, is at most
    `within` (Law, 9.4.1). Because it is asked again and again, such intervals cover a little less than they say.
    """
    known = np.asarray(values, np.float64)
    if np.isnan(known).any() or len(known) < FEWEST:
        return False
    return mean_interval(known, confidence).relative <= within / (1 + within)


def _t(confidence: float, freedom: float) -> float:
    from scipy.stats import norm, t

    share = (1 + confidence) / 2
    return float(norm.ppf(share) if math.isinf(freedom) else t.ppf(share, freedom))


def _p_value(value: float, error: float, freedom: float) -> float:
    """Two-sided. Equal differences in every pair leave no doubt."""
    from scipy.stats import norm, t

    if error == 0:
        return 1.0 if value == 0 else 0.0
    tail = norm.sf(abs(value) / error) if math.isinf(freedom) else t.sf(abs(value) / error, freedom)
    return float(2 * tail)
