"""Randomness with names, and distributions as checked values.

`Streams(seed, replication)("etcd.fsync")` gives one generator a source of randomness: a new component
draws from a new name and moves no other draw, and two designs meet the same pods.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from sim.base.spec import Spec


class Streams:
    """Independent named generators of one replication.

    seed, replication: non-negative integers. The generator of a name depends on these three only, never on
    the order in which names are first used or on the hash seed of the process.
    """

    def __init__(self, seed: int, replication: int = 0) -> None:
        self.seed = seed
        self.replication = replication
        self._made: dict[str, np.random.Generator] = {}

    def __call__(self, name: str) -> np.random.Generator:
        made = self._made.get(name)
        if made is None:
            words = [self.seed, self.replication, zlib.crc32(name.encode()), len(name)]
            made = np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
            self._made[name] = made
        return made


class Sampler:
    """Scalar draws of one distribution from one stream, taken from numpy a block at a time.

    A numpy scalar draw costs about a microsecond, a buffered one a tenth of that.
    """

    __slots__ = ("_dist", "_drawn", "_rng")
    BLOCK = 1024

    def __init__(self, dist: Distribution, rng: np.random.Generator) -> None:
        self._dist = dist
        self._rng = rng
        self._drawn: Iterator[float] = iter(())

    def __call__(self) -> float:
        for value in self._drawn:
            return value
        self._drawn = iter(self._dist.sample(self._rng, self.BLOCK).tolist())
        return next(self._drawn)


class Distribution(Spec):
    """What every distribution answers. Values carry the unit of the field that holds the distribution."""

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """`size` independent draws as float64."""
        raise NotImplementedError

    def mean(self) -> float:
        """The expected value."""
        raise NotImplementedError


class Constant(Distribution):
    """Always the same value."""

    dist: Literal["constant"] = "constant"
    value: float = Field(ge=0, description="the value")

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        return np.full(size, self.value)

    def mean(self) -> float:
        return self.value


class Uniform(Distribution):
    """Equally likely between two bounds."""

    dist: Literal["uniform"] = "uniform"
    low: float = Field(ge=0, description="lower bound")
    high: float = Field(ge=0, description="upper bound")

    @model_validator(mode="after")
    def _ordered(self) -> Uniform:
        if self.high < self.low:
            raise ValueError(f"high ({self.high}) must not be below low ({self.low})")
        return self

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        return rng.uniform(self.low, self.high, size)

    def mean(self) -> float:
        return (self.low + self.high) / 2


class Exponential(Distribution):
    """Memoryless."""

    dist: Literal["exponential"] = "exponential"
    mean_value: float = Field(gt=0, alias="mean", description="mean")

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        return rng.exponential(self.mean_value, size)

    def mean(self) -> float:
        return self.mean_value


class Lognormal(Distribution):
    """exp of a normal: given by its median and the sigma of the logarithm, optionally cut above."""

    dist: Literal["lognormal"] = "lognormal"
    median: float = Field(gt=0, description="median")
    sigma: float = Field(ge=0, le=5, description="standard deviation of the natural logarithm")
    maximum: float | None = Field(default=None, gt=0, description="larger draws become this value")

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        drawn = rng.lognormal(math.log(self.median), self.sigma, size)
        return drawn if self.maximum is None else np.minimum(drawn, self.maximum)

    def mean(self) -> float:
        mu, sigma = math.log(self.median), self.sigma
        if self.maximum is None:
            return math.exp(mu + sigma**2 / 2)
        if sigma == 0:
            return min(self.median, self.maximum)
        z = (math.log(self.maximum) - mu) / sigma
        return math.exp(mu + sigma**2 / 2) * _phi(z - sigma) + self.maximum * (1 - _phi(z))


class Gamma(Distribution):
    """Gamma, by mean and squared coefficient of variation (1 = exponential)."""

    dist: Literal["gamma"] = "gamma"
    mean_value: float = Field(gt=0, alias="mean", description="mean")
    scv: float = Field(gt=0, le=1e4, description="variance over squared mean")

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        return rng.gamma(1 / self.scv, self.mean_value * self.scv, size)

    def mean(self) -> float:
        return self.mean_value


class Weibull(Distribution):
    """Weibull; a shape below 1 has a heavy tail."""

    dist: Literal["weibull"] = "weibull"
    scale: float = Field(gt=0, description="scale")
    shape: float = Field(gt=0, le=100, description="shape")

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        return self.scale * rng.weibull(self.shape, size)

    def mean(self) -> float:
        return self.scale * math.gamma(1 + 1 / self.shape)


class Pareto(Distribution):
    """Bounded Pareto: the heavy tail of job sizes, cut at a maximum."""

    dist: Literal["pareto"] = "pareto"
    minimum: float = Field(gt=0, description="smallest value")
    maximum: float = Field(gt=0, description="largest value")
    alpha: float = Field(gt=0, le=100, description="tail index; below 2 the uncut variance is infinite")

    @model_validator(mode="after")
    def _ordered(self) -> Pareto:
        if self.maximum <= self.minimum:
            raise ValueError(f"maximum ({self.maximum}) must be above minimum ({self.minimum})")
        return self

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        cut = 1 - (self.minimum / self.maximum) ** self.alpha
        return self.minimum * (1 - rng.random(size) * cut) ** (-1 / self.alpha)

    def mean(self) -> float:
        low, high, alpha = self.minimum, self.maximum, self.alpha
        norm = 1 - (low / high) ** alpha
        if math.isclose(alpha, 1.0):
            return low / norm * math.log(high / low)
        return alpha / (alpha - 1) * low / norm * (1 - (low / high) ** (alpha - 1))


class Quantiles(Distribution):
    """Empirical: a table of quantiles at evenly spaced probabilities 0..1, linear in between."""

    dist: Literal["quantiles"] = "quantiles"
    values: tuple[float, ...] = Field(min_length=2, description="values at probabilities 0, 1/(n-1), ..., 1")

    @model_validator(mode="after")
    def _rising(self) -> Quantiles:
        if any(later < earlier for earlier, later in zip(self.values, self.values[1:], strict=False)):
            raise ValueError("values must not fall")
        if self.values[0] < 0:
            raise ValueError(f"values must not be negative, the first is {self.values[0]}")
        return self

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        table = np.asarray(self.values)
        return np.interp(rng.random(size), np.linspace(0, 1, len(table)), table)

    def mean(self) -> float:
        table = np.asarray(self.values)
        return float(((table[1:] + table[:-1]) / 2).mean())


class Mixture(Distribution):
    """One of several distributions, chosen by weight at each draw."""

    dist: Literal["mixture"] = "mixture"
    weights: tuple[float, ...] = Field(min_length=1, description="relative weights, not negative")
    parts: tuple[Dist, ...] = Field(min_length=1, description="one distribution a weight")

    @model_validator(mode="after")
    def _paired(self) -> Mixture:
        if len(self.weights) != len(self.parts):
            raise ValueError(f"needs one weight a part: {len(self.weights)} weights, {len(self.parts)} parts")
        if min(self.weights) < 0 or sum(self.weights) <= 0:
            raise ValueError(f"weights must not be negative and must not all be zero: {self.weights}")
        return self

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        share = np.asarray(self.weights) / sum(self.weights)
        chosen = rng.choice(len(self.parts), size, p=share)
        drawn = np.empty(size)
        for index, part in enumerate(self.parts):
            mask = chosen == index
            drawn[mask] = part.sample(rng, int(mask.sum()))
        return drawn

    def mean(self) -> float:
        total = sum(self.weights)
        return sum(w / total * part.mean() for w, part in zip(self.weights, self.parts, strict=True))


def _number(value: object) -> object:
    """A bare number stands for the constant distribution."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"dist": "constant", "value": value}
    return value


Dist = Annotated[
    Annotated[
        Constant | Uniform | Exponential | Lognormal | Gamma | Weibull | Pareto | Quantiles | Mixture,
        Field(discriminator="dist"),
    ],
    BeforeValidator(_number),
]
"""A field that takes any distribution: `{dist: lognormal, median: 0.2, sigma: 0.5}`, or a number for a constant."""

Mixture.model_rebuild()


def _phi(z: float) -> float:
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))
