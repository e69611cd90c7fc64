"""Statistics against what theory says: exact numbers worked by hand, and how often an interval holds the truth.

The queue is M/M/1 at load 0.5 with mean service 1, started in its steady state: a customer waits 1 on average, not at all
with probability 0.5, and P(W > w) = 0.5 exp(-w / 2), so the p99 is 2 ln 50 = 7.824. Waiting times follow Lindley's recursion,
W' = max(0, W + service - interarrival), which is a running maximum and needs no simulator.

Coverage: of R intervals at 95 % a share within 95 ± 2 % must hold the truth. With R = 1,000 an honest method passes with
99.6 % probability, and one that covers 91 % fails with more than 98 %. The seeds are fixed, so the verdict does not change
from run to run.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from experiments import statistics as stats

LOAD = 0.5
MEAN_WAIT = LOAD / (1 - LOAD)
P99_WAIT = math.log(LOAD / 0.01) / (1 - LOAD)
REPETITIONS = 1000


def waits(rng: np.random.Generator, queues: int, customers: int) -> np.ndarray:
    """float (queues, customers): waiting times in independent M/M/1 queues from their steady state on."""
    first = np.where(rng.random(queues) < LOAD, rng.exponential(1 / (1 - LOAD), queues), 0.0)
    steps = rng.exponential(1.0, (queues, customers)) - rng.exponential(1 / LOAD, (queues, customers))
    walk = np.cumsum(steps, axis=1)
    walk = np.hstack([np.zeros((queues, 1)), walk[:, :-1]])
    return walk + np.maximum(first[:, None], -np.minimum.accumulate(walk, axis=1))


def coverage(intervals: list[stats.Interval], truth: float) -> float:
    return sum(truth in interval for interval in intervals) / len(intervals)


def test_the_queue_is_mm1():
    rng = np.random.default_rng(1)
    wait = waits(rng, 400, 5_000)
    assert truth_in_4_sigma(wait.mean(axis=1), MEAN_WAIT)
    assert truth_in_4_sigma((wait == 0).mean(axis=1), 1 - LOAD)
    assert truth_in_4_sigma((wait > P99_WAIT).mean(axis=1), 0.01)


def truth_in_4_sigma(values: np.ndarray, truth: float) -> bool:
    return truth in stats.mean_interval(values, confidence=0.99994)


def test_intervals_over_replications_cover_the_mean():
    rng = np.random.default_rng(2)
    means = waits(rng, 10 * REPETITIONS, 1_000).mean(axis=1).reshape(REPETITIONS, 10)
    assert 0.93 <= coverage([stats.mean_interval(row) for row in means], MEAN_WAIT) <= 0.97


def test_batch_means_cover_the_mean_where_naive_intervals_do_not():
    rng = np.random.default_rng(3)
    naive, batched = [], []
    for _ in range(10):
        for series in waits(rng, REPETITIONS // 10, 20_000):
            naive.append(stats.mean_interval(series))
            batched.append(stats.batch_means(series))
    assert 0.93 <= coverage(batched, MEAN_WAIT) <= 0.97
    assert coverage(naive, MEAN_WAIT) < 0.6  # correlated observations taken as independent


def test_quantile_intervals_cover_for_any_distribution():
    """Order statistics cover at least what they say, and not much more than one step of the binomial allows."""
    rng = np.random.default_rng(4)
    values = rng.lognormal(0.0, 2.0, (REPETITIONS, 1_000))
    truth = math.exp(2.0 * 2.3263478740408408)  # the p99 of a lognormal with sigma 2
    assert 0.94 <= coverage([stats.quantile_interval(row, 0.99) for row in values], truth) <= 0.985


def test_replications_cover_a_p99():
    rng = np.random.default_rng(5)
    p99 = np.quantile(waits(rng, 10 * REPETITIONS, 2_000), 0.99, axis=1).reshape(REPETITIONS, 10)
    assert 0.92 <= coverage([stats.mean_interval(row) for row in p99], P99_WAIT) <= 0.97  # skewed, so a little below


@pytest.mark.slow
def test_the_bootstrap_over_replications_covers_a_p99():
    rng = np.random.default_rng(6)
    intervals = [
        stats.bootstrap_interval(list(waits(rng, 30, 2_000)), lambda values: float(np.quantile(values, 0.99)), rng, resamples=200)
        for _ in range(200)
    ]
    assert 0.88 <= coverage(intervals, P99_WAIT) <= 0.98  # 200 repetitions: 4 standard deviations around 93 %


def test_the_bootstrap_over_replications_by_hand():
    """Three replications of one value: a resample's mean has nine outcomes, and all of them lie between the extremes."""
    rng = np.random.default_rng(7)
    interval = stats.bootstrap_interval([np.array([0.0]), np.array([3.0]), np.array([6.0])], lambda v: float(v.mean()), rng)
    assert (interval.value, interval.low, interval.high, interval.n) == (3.0, 0.0, 6.0, 3)
    assert math.isnan(stats.bootstrap_interval([np.ones(5)], lambda v: float(v.mean()), rng).low)


def test_mean_interval_by_hand():
    """1, 2, 3, 4: mean 2.5, variance 5/3; t(0.975, 3) = 3.182446 (tables); half = 3.182446 * sqrt(5/3) / 2."""
    interval = stats.mean_interval([1, 2, 3, 4])
    assert interval.value == 2.5
    assert interval.half_width == pytest.approx(3.182446 * math.sqrt(5 / 3) / 2, rel=1e-6)
    assert interval.n == 4
    alone = stats.mean_interval([7.0])
    assert alone.value == 7
    assert math.isnan(alone.low)
    assert math.isnan(stats.mean_interval([]).value)
    assert stats.mean_interval([1, math.nan, 3]).n == 2


def test_quantile_interval_by_hand():
    """The median of 10: P(B <= 1) = 11/1024 = 1.07 %, P(B <= 2) = 5.5 %, so the 2nd and the 9th value at 95 % (97.9 % in truth)."""
    interval = stats.quantile_interval(np.arange(1.0, 11.0), 0.5)
    assert (interval.low, interval.high) == (2.0, 9.0)
    assert math.isnan(stats.quantile_interval(np.arange(367.0), 0.99).high)  # 1 - 0.99^367 = 0.97499
    assert stats.quantile_interval(np.arange(368.0), 0.99).high == 367.0  # 1 - 0.99^368 = 0.97523
    assert math.isnan(stats.quantile_interval(np.zeros(0), 0.5).value)


def slow_mser5(values: np.ndarray) -> int:
    """The definition, cut by cut."""
    means = [float(np.mean(values[i : i + 5])) for i in range(0, len(values) - len(values) % 5, 5)]
    if len(means) < 2:
        return 0
    cuts = range(len(means) // 2 + 1)
    errors = [sum((y - np.mean(means[d:])) ** 2 for y in means[d:]) / (len(means) - d) ** 2 for d in cuts]
    return 5 * min(cuts, key=lambda d: (errors[d], d))


@given(arrays(np.int64, st.integers(0, 90), elements=st.integers(-20, 20)))
def test_mser5_is_its_definition(values):
    fast, slow = stats.mser5(values), slow_mser5(values)
    if fast != slow:  # two cuts with equal errors, up to rounding
        assert mser_error(values, fast) == pytest.approx(mser_error(values, slow), rel=1e-9, abs=1e-12)


def mser_error(values: np.ndarray, cut: int) -> float:
    means = np.asarray(values[: len(values) // 5 * 5], float).reshape(-1, 5).mean(axis=1)[cut // 5 :]
    return float(((means - means.mean()) ** 2).sum() / len(means) ** 2)


def test_mser5_cuts_a_rise_and_leaves_a_level_alone():
    rng = np.random.default_rng(8)
    level = rng.normal(10, 1, 2_000)
    level[:300] -= np.linspace(10, 0, 300)
    assert 150 <= stats.mser5(level) <= 400
    assert np.mean([stats.mser5(rng.normal(0, 1, 1_000)) for _ in range(50)]) < 150


def test_batch_means_need_enough():
    with pytest.raises(ValueError, match="39 values are too few for 20 batches"):
        stats.batch_means(np.zeros(39))
    assert stats.batch_means(np.arange(45.0)).value == np.arange(5.0, 45.0).mean()  # the remainder in front is left out


def test_pairing_sees_what_noise_hides():
    """Two designs 0.2 apart, run-to-run spread 1, spread of the difference 0.1: t = 0.2 / (0.1 / sqrt(10)) against 0.45."""
    rng = np.random.default_rng(9)
    common = rng.normal(5, 1, 10)
    first, second = common + rng.normal(0, 0.07, 10), common + 0.2 + rng.normal(0, 0.07, 10)
    assert stats.paired(first, second).p_value < 0.001
    assert stats.unpaired(first, second).p_value > 0.3
    assert stats.paired(first, second).interval.value == pytest.approx(stats.unpaired(first, second).interval.value)


def test_differences_equal_scipys():
    from scipy.stats import ttest_ind, ttest_rel

    rng = np.random.default_rng(10)
    a, b = rng.normal(0, 1, 8), rng.normal(0.5, 2, 8)
    assert stats.paired(a, b).p_value == pytest.approx(ttest_rel(b, a).pvalue)
    welch = ttest_ind(b, a, equal_var=False)
    assert stats.unpaired(a, b).p_value == pytest.approx(welch.pvalue)
    low, high = welch.confidence_interval(0.95)
    assert (stats.unpaired(a, b).interval.low, stats.unpaired(a, b).interval.high) == pytest.approx((low, high))


def test_differences_without_spread():
    same = stats.paired(np.ones(3), np.ones(3))
    assert (same.interval.value, same.p_value) == (0.0, 1.0)
    moved = stats.paired(np.ones(3), np.full(3, 2.0))
    assert (moved.interval.low, moved.interval.high, moved.p_value, moved.percent) == (1.0, 1.0, 0.0, 100.0)
    assert math.isnan(stats.paired(np.ones(1), np.ones(1)).p_value)
    assert stats.paired(np.array([1, math.nan, 3]), np.array([2, 3, 4])).interval.n == 2
    with pytest.raises(ValueError, match="make no pairs"):
        stats.paired(np.ones(2), np.ones(3))


def test_holm_by_hand():
    """0.01 * 3, then max(0.03, 0.02 * 2), then max(0.04, 0.5 * 1); what is not known does not count."""
    assert stats.holm([0.5, 0.01, math.nan, 0.02]).tolist() == pytest.approx([0.5, 0.03, math.nan, 0.04], nan_ok=True)
    assert stats.holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert stats.holm([]).tolist() == []


def test_holm_keeps_the_chance_of_any_false_alarm():
    """2,000 times ten comparisons of equals: without correction 40 % raise an alarm, with it 5 % (± 4 standard deviations)."""
    p_values = np.random.default_rng(11).random((2_000, 10))
    alarms = np.mean([(stats.holm(row) < 0.05).any() for row in p_values])
    assert 0.03 <= alarms <= 0.07
    assert (p_values < 0.05).any(axis=1).mean() > 0.35


def test_sequential_stopping_ends_near_the_truth():
    """Means of 1,000 waits until known within 5 %: 400 searches, of which about 95 % must end within 5 % of the truth.

    Asking after every replication costs a little coverage (Law, 9.4.1): at least 90 % here.
    """
    rng = np.random.default_rng(12)
    ended = []
    for means in waits(rng, 400 * 60, 1_000).mean(axis=1).reshape(400, 60):
        n = next(n for n in range(5, 61) if n == 60 or stats.precise_enough(means[:n], 0.05))
        ended.append(float(means[:n].mean()))
    assert np.mean(np.abs(np.array(ended) - MEAN_WAIT) <= 0.05 * MEAN_WAIT) >= 0.90


def test_sequential_stopping_wants_some_replications_and_no_gaps():
    assert not stats.precise_enough(np.array([1.0, 1.0]), 0.05)
    assert stats.precise_enough(np.array([1.0, 1.0, 1.0]), 0.05)
    assert not stats.precise_enough(np.array([1.0, 1.0, 1.0, math.nan]), 0.05)
