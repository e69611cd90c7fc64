"""Distributions against theory with stated power, refusals, and streams that depend on names alone."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from sim.base.rand import (
    Constant,
    Dist,
    Exponential,
    Gamma,
    Lognormal,
    Mixture,
    Pareto,
    Quantiles,
    Sampler,
    Streams,
    Uniform,
    Weibull,
)

DRAWS = 400_000
# distribution, mean and variance written out independently of the code under test
CASES = [
    (Constant(value=3), 3.0, 0.0),
    (Uniform(low=1, high=4), 2.5, 9 / 12),
    (Exponential(mean=2), 2.0, 4.0),
    (Lognormal(median=2, sigma=0.5), 2 * math.exp(0.125), 4 * math.exp(0.25) * (math.exp(0.25) - 1)),
    (Gamma(mean=3, scv=0.5), 3.0, 4.5),
    (Weibull(scale=2, shape=2), math.sqrt(math.pi), 4 - math.pi),
    # density 2 x^-3 / (1 - 1/16) on 1..4: mean 2 (1 - 1/4) / (15/16) = 1.6; E[x^2] = 2 ln 4 / (15/16)
    (Pareto(minimum=1, maximum=4, alpha=2), 1.6, 2 * math.log(4) / (15 / 16) - 1.6**2),
    (Pareto(minimum=1, maximum=4, alpha=1), math.log(4) / 0.75, 3 / 0.75 - (math.log(4) / 0.75) ** 2),
    # halves of U(0, 1) and U(1, 3): mean (0.5 + 2) / 2; E[x^2] = (1/3 + 13/3) / 2
    (Quantiles(values=(0, 1, 3)), 1.25, 7 / 3 - 1.25**2),
    (Mixture(weights=(3, 1), parts=(Constant(value=1), Constant(value=5))), 2.0, 3.0),
]


@pytest.mark.parametrize(("dist", "mean", "variance"), CASES, ids=lambda value: getattr(value, "dist", ""))
def test_mean_is_exact_and_draws_agree(dist: Dist, mean: float, variance: float):
    """99.99 % bounds of both moments; with these draws a 3 % bug of the mean is tens of standard errors away."""
    assert dist.mean() == pytest.approx(mean, rel=1e-12)
    drawn = dist.sample(Streams(11)("draws"), DRAWS)
    assert drawn.dtype == np.float64
    z = stats.norm.ppf(1 - 0.0001 / 2)
    error = z * math.sqrt(variance / DRAWS)
    assert error < 0.01 * mean
    assert abs(drawn.mean() - mean) <= error + 1e-12
    squares = (drawn - mean) ** 2
    spread = z * squares.std() / math.sqrt(DRAWS)
    assert spread <= 0.05 * variance
    assert abs(squares.mean() - variance) <= spread + 1e-12


def test_cut_lognormal_has_the_mean_of_its_cut_draws():
    dist = Lognormal(median=1, sigma=1, maximum=2)
    nodes = (np.arange(200_000) + 0.5) / 200_000
    assert dist.mean() == pytest.approx(np.minimum(np.exp(stats.norm.ppf(nodes)), 2).mean(), rel=1e-5)
    assert dist.sample(Streams(1)("x"), 10_000).max() == 2
    assert Lognormal(median=3, sigma=0, maximum=2).mean() == 2


@pytest.mark.parametrize(("data", "words"), [
    ({"dist": "exponential", "mean": 0}, "greater than 0"),
    ({"dist": "uniform", "low": 3, "high": 1}, "must not be below low"),
    ({"dist": "pareto", "minimum": 2, "maximum": 2, "alpha": 1}, "must be above minimum"),
    ({"dist": "quantiles", "values": [1, 3, 2]}, "must not fall"),
    ({"dist": "quantiles", "values": [-1, 3]}, "must not be negative"),
    ({"dist": "mixture", "weights": [1, 2], "parts": [1]}, "one weight a part"),
    ({"dist": "mixture", "weights": [0], "parts": [1]}, "not all be zero"),
    ({"dist": "lognormal", "median": 1, "sigma": -1}, "greater than or equal to 0"),
    ({"dist": "normal", "mean": 1}, "lognormal"),
    (-1, "greater than or equal to 0"),
])
def test_bad_parameters_are_refused_with_the_rule(data: object, words: str):
    with pytest.raises(ValidationError, match=words):
        TypeAdapter(Dist).validate_python(data)


def test_a_number_is_a_constant():
    assert TypeAdapter(Dist).validate_python(0.2) == Constant(value=0.2)


def test_streams_do_not_depend_on_the_order_of_first_use():
    one, other = Streams(7, 3), Streams(7, 3)
    a = one("a").random(5)
    b = one("b").random(5)
    assert (other("b").random(5) == b).all()
    assert (other("a").random(5) == a).all()
    assert not (a == b).any()
    for changed in (Streams(8, 3), Streams(7, 4)):
        assert not (changed("a").random(5) == a).any()


def test_streams_do_not_depend_on_the_hash_seed_of_the_process():
    code = "from sim.base.rand import Streams; print(Streams(1, 2)('etcd.fsync').random(3).tolist())"
    outs = {
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": "."},
                       capture_output=True, text=True, check=True).stdout
        for seed in ("0", "1", "4242")
    }
    assert outs == {f"{Streams(1, 2)('etcd.fsync').random(3).tolist()}\n"}


def test_sampler_gives_the_block_draws():
    dist = Exponential(mean=1)
    sampler = Sampler(dist, Streams(3)("s"))
    rng = Streams(3)("s")
    blocks = np.concatenate([dist.sample(rng, Sampler.BLOCK) for _ in range(3)])
    assert [sampler() for _ in range(3 * Sampler.BLOCK)] == blocks.tolist()
