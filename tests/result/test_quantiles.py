"""Weighted quantiles against their slow twin: the same values written out one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.result.quantiles import mean, quantiles

ROWS = st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 7)), min_size=1, max_size=40).filter(
    lambda rows: any(c for _, c in rows)
)


@given(rows=ROWS, probability=st.floats(0, 1))
def test_a_count_weighs_as_that_many_rows(rows: list[tuple[float, int]], probability: float) -> None:
    values, counts = np.array([v for v, _ in rows]), np.array([c for _, c in rows])
    written_out = np.repeat(values, counts)
    assert quantiles(values, (probability,), counts)[0] == pytest.approx(
        np.quantile(written_out, probability), rel=1e-12, abs=1e-9
    )
    assert mean(values, counts) == pytest.approx(written_out.mean(), rel=1e-12, abs=1e-9)


def test_nothing_has_no_quantile() -> None:
    assert np.isnan(quantiles(np.array([]), (0.5, 0.99))).all()
    assert np.isnan(quantiles(np.array([1.0]), (0.5,), np.array([0])))[0]
    assert np.isnan(mean(np.array([])))


def test_linear_between_order_statistics() -> None:
    assert quantiles(np.arange(101.0), (0.99,))[0] == 99.0
    assert quantiles(np.array([0.0, 10.0]), (0.25,))[0] == 2.5
