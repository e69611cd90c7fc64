"""Arrivals whose rate follows the time of day."""

from __future__ import annotations

import math

import numpy as np

from sim.base.rand import Streams
from sim.base.spec import param
from workloads.arrivals import ARRIVALS, ArrivalProcess, unit_poisson


@ARRIVALS.register("diurnal")
class DiurnalArrivals(ArrivalProcess):
    """Poisson process with a sinusoidal rate: mean_rate_per_s * (1 + amplitude * cos(2 pi (t - peak_s) / period_s))."""

    mean_rate_per_s: float = param(1.0, "applications a second, over a whole period", gt=0, le=1e6)
    amplitude: float = param(0.5, "swing of the rate as a share of its mean", ge=0, le=1)
    period_s: float = param(86_400.0, "length of a period; a day, or less to see one in a short run", ge=1, le=1e9)
    peak_s: float = param(43_200.0, "time of the highest rate, modulo the period", ge=0, le=1e9)

    def count_until(self, time_s: np.ndarray) -> np.ndarray:
        """Expected number of arrivals in [0, time_s]: the integral of the rate."""
        omega = 2 * math.pi / self.period_s
        swing = np.sin(omega * (time_s - self.peak_s)) + math.sin(omega * self.peak_s)
        return self.mean_rate_per_s * (time_s + self.amplitude / omega * swing)

    def times(self, horizon_s: float, streams: Streams, name: str) -> np.ndarray:
        points = self._invert(unit_poisson(self.expected(horizon_s), streams(f"{name}.arrivals")))
        return points[points < horizon_s]

    def expected(self, horizon_s: float) -> float:
        return float(self.count_until(np.array(horizon_s)))

    def _invert(self, count: np.ndarray) -> np.ndarray:
        """The times at which `count_until` reaches `count` (rising): Kepler's equation, by Newton within a bracket."""
        omega = 2 * math.pi / self.period_s
        # |count_until(t) - mean * t| is at most mean * amplitude * 2 / omega: the root lies in this bracket.
        reach = 2 * self.amplitude / omega
        low, high = np.maximum(count / self.mean_rate_per_s - reach, 0.0), count / self.mean_rate_per_s + reach
        time_s = (low + high) / 2
        settled = np.zeros(len(count), bool)
        while not settled.all():
            error = self.count_until(time_s) - count
            low, high = np.where(error <= 0, time_s, low), np.where(error >= 0, time_s, high)
            slope = self.mean_rate_per_s * (1 + self.amplitude * np.cos(omega * (time_s - self.peak_s)))
            with np.errstate(divide="ignore", invalid="ignore"):
                newton = time_s - error / slope
            inside = (newton >= low) & (newton <= high)
            following = np.where(inside, newton, (low + high) / 2)
            # A settled time stays as it is, so that a longer horizon gives the same beginning bit for bit.
            close = np.abs(following - time_s) <= 1e-12 * (self.period_s + time_s)
            time_s = np.where(settled, time_s, following)
            settled |= close
        return np.maximum.accumulate(time_s)
