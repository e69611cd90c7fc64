"""Quantiles of values that may stand for many: the p99 of a log whose rows are one request or a whole tick of them.

Every quantile of kubedes is the linear one (numpy's and pandas' default): between the two order statistics around
`(n - 1) * q`. A row with count c weighs as c equal rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Counts = np.ndarray | None
"""int, how many each value stands for; None = one each."""


def quantiles(values: np.ndarray, probabilities: Sequence[float], counts: Counts = None) -> np.ndarray:
    """float64, one a probability; NaN when there are no values. NaN among the values is not allowed."""
    wanted = np.asarray(probabilities, np.float64)
    if counts is not None and np.all(counts == 1):
        counts = None
    if len(values) == 0 or (counts is not None and counts.sum() == 0):
        return np.full(len(wanted), np.nan)
    if counts is None:
        return np.quantile(np.asarray(values, np.float64), wanted)
    order = np.argsort(values, kind="stable")
    ordered = np.asarray(values, np.float64)[order]
    upto = np.cumsum(counts[order], dtype=np.int64)
    position = (upto[-1] - 1) * wanted
    below = np.floor(position).astype(np.int64)
    low = ordered[np.searchsorted(upto, below, side="right")]
    high = ordered[np.searchsorted(upto, np.minimum(below + 1, upto[-1] - 1), side="right")]
    return low + (high - low) * (position - below)


def mean(values: np.ndarray, counts: Counts = None) -> float:
    """Mean, NaN when there are no values."""
    total = len(values) if counts is None else int(counts.sum())
    if total == 0:
        return float("nan")
    exact = np.asarray(values, np.float64)
    return float(exact.sum() if counts is None else exact @ counts) / total


def present(values: np.ndarray) -> np.ndarray:
    """The values that are not NaN."""
    return values[~np.isnan(values)]
