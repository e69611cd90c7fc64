"""Loops over columns that several rules use: table look-ups, sums by topology domain, normalisation."""

from __future__ import annotations

import numpy as np

from sim.kernels import kernel


def _domain_sums_twin(codes: np.ndarray, counts: np.ndarray, taken: np.ndarray, rows: np.ndarray, sums: np.ndarray) -> None:
    rows = rows[taken[rows] != 0]
    rows = rows[codes[rows] >= 0]
    np.add.at(sums, codes[rows], counts[rows])


@kernel(reference=_domain_sums_twin)
def domain_sums(codes: np.ndarray, counts: np.ndarray, taken: np.ndarray, rows: np.ndarray, sums: np.ndarray) -> None:
    """Add `counts` of the taken rows to `sums` by domain code; rows without the label (code -1) are left out.

    codes int32[n], counts int32[n], taken uint8[n], rows int64[k], sums int64[domains]."""
    for i in range(rows.shape[0]):
        row = rows[i]
        if taken[row] != 0 and codes[row] >= 0:
            sums[codes[row]] += counts[row]


def _default_normalize_twin(scores: np.ndarray, top: int, reverse: bool) -> np.ndarray:
    most = max(0, int(scores.max())) if len(scores) else 0
    if most == 0:
        return np.full_like(scores, top) if reverse else scores.copy()
    scaled = top * scores // most
    return top - scaled if reverse else scaled


@kernel(reference=_default_normalize_twin)
def default_normalize(scores: np.ndarray, top: int, reverse: bool) -> np.ndarray:
    """Scale non-negative int64 scores to 0..top by their maximum, truncating; reverse turns the best into the worst.

    All zero: all `top` when reversed, else as they are (Kubernetes 1.20 and 1.34, helper.DefaultNormalizeScore)."""
    most = np.int64(0)
    for i in range(scores.shape[0]):
        most = max(most, scores[i])
    out = np.empty_like(scores)
    for i in range(scores.shape[0]):
        if most == 0:
            out[i] = top if reverse else scores[i]
        else:
            scaled = top * scores[i] // most
            out[i] = top - scaled if reverse else scaled
    return out
