"""Sensitivity: known indices of a known function, factors and their bounds, and a run through the simulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import experiments
from experiments.report import render
from experiments.sensitivity import (
    Factor,
    _morris,
    _one_at_a_time,
    _points,
    _sobol,
    factors_of,
    read_factors,
    scaled,
)
from sim.base.errors import InputError, Problems
from sim.base.rand import Lognormal, Mixture, Quantiles, Uniform
from sim.scenario import Scenario

ISHIGAMI = [Factor(name, -np.pi, np.pi, 0.0) for name in ("x1", "x2", "x3")]


def ishigami(points: np.ndarray) -> np.ndarray:
    """a = 7, b = 0.1: variance and indices are known in closed form."""
    x1, x2, x3 = points.T
    return (np.sin(x1) + 7 * np.sin(x2) ** 2 + 0.1 * x3**4 * np.sin(x1))[:, None]


def test_sobol_finds_the_indices_of_ishigamis_function() -> None:
    points = _points(ISHIGAMI, "sobol", 0, 2048, seed=1)
    table = _sobol(ISHIGAMI, points, ishigami(points), 0.95, 1)
    assert len(points) == 2048 * 5
    assert table["s1"].to_numpy() == pytest.approx([0.3139, 0.4424, 0.0], abs=0.03)
    assert table["st"].to_numpy() == pytest.approx([0.5576, 0.4424, 0.2437], abs=0.03)


def test_morris_is_exact_for_a_linear_function() -> None:
    """Every elementary effect over a range scaled to 1 is the slope times the range; nothing depends on anything else."""
    factors = [Factor("a", 0, 1, 0.5), Factor("b", 0, 10, 5), Factor("idle", 0, 1, 0.5)]
    points = _points(factors, "morris", 8, 0, seed=3)
    table = _morris(factors, points, (3 * points[:, 0] - 2 * points[:, 1])[:, None], 0.95, 3)
    assert table["mu_star"].to_numpy() == pytest.approx([3, 20, 0])
    assert table["mu"].to_numpy() == pytest.approx([3, -20, 0])
    assert table["sigma"].to_numpy() == pytest.approx([0, 0, 0], abs=1e-9)


def test_one_at_a_time_looks_at_both_ends() -> None:
    factors = [Factor("a", 1, 4, 2), Factor("b", 0, 1, 0.5)]
    points = _points(factors, "one-at-a-time", 0, 0, seed=1)
    assert points.tolist() == [[2, 0.5], [1, 0.5], [4, 0.5], [2, 0], [2, 1]]
    noise = np.array([0.0, 0.1, -0.1])  # common to all designs, as common random numbers are
    answers = (points[:, 0] ** 2)[:, None] + noise
    table = _one_at_a_time(factors, points, answers, 0.95, 1)
    assert table["swing"].to_numpy() == pytest.approx([15, 0])
    assert table["swing_low"].iloc[0] == pytest.approx(15)
    assert table["weight"].to_numpy() == pytest.approx([15, 0])


@pytest.mark.parametrize("dist", [
    Lognormal(median=0.1, sigma=0.4, maximum=3),
    Uniform(low=1, high=3),
    Quantiles(values=(0.0, 1.0, 5.0)),
    Mixture(weights=(0.3, 0.7), parts=(Uniform(low=0, high=1), Lognormal(median=2, sigma=1))),
])
def test_a_scaled_distribution_draws_scaled_values(dist: Lognormal | Uniform | Quantiles | Mixture) -> None:
    twice = type(dist).model_validate(scaled(dist.model_dump(by_alias=True), 2))
    one, two = (d.sample(np.random.default_rng(5), 200) for d in (dist, twice))
    assert two == pytest.approx(2 * one)
    assert twice.mean() == pytest.approx(2 * dist.mean())


def test_factors_keep_to_bounds_and_whole_numbers() -> None:
    cluster = Scenario.load("quick")
    problems = Problems("test")
    found = {f.path: f for f in factors_of(cluster, {"scheduler.*": 3, "kubelet.burst": 1.5, "leader_election.jitter": 20}, problems)}
    assert not problems
    assert found["leader_election.jitter"].high == 10  # its bound, not twenty times 1.2
    assert found["kubelet.burst"].at(found["kubelet.burst"].high) == round(cluster.kubelet.burst * 1.5)
    assert found["scheduler.qps"].low == pytest.approx(cluster.scheduler.qps / 3)


@pytest.mark.parametrize(("factors", "said"), [
    ({"scheduler.qqps": 2}, "scheduler.qps"),
    ({"scheduler.qps": 1}, "above 1"),
    ({"scheduler.qps": {"from": 3}}, "is no range"),
    ({"scheduler.qps": {"from": 5, "to": 5}}, "no room"),
    ({"kubernetes": 2}, "no number"),
    ({"nothing.*": 2}, "matches nothing"),
    ({}, "is empty"),
])
def test_what_cannot_be_varied_is_said_before_the_first_run(factors: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        experiments.sensitivity("quick", factors, "pod_startup_p99", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"power of two(.|\n)*") as error:
        experiments.sensitivity("quick", {"scheduler.qps": 2}, "startup", tmp_path, method="moris", samples=12)  # type: ignore[arg-type]
    assert "morris" in str(error.value)
    assert "metric" in str(error.value)


def test_the_command_lines_factors() -> None:
    assert read_factors(["a.b=1..2.5", "c.*=x2"]) == {"a.b": {"from": 1.0, "to": 2.5}, "c.*": 2.0}
    with pytest.raises(InputError, match=r"PATH=LOW\.\.HIGH"):
        read_factors(["a.b=3"])


def test_a_slow_client_is_what_matters(tmp_path: Path) -> None:
    """The scheduler's rate limit below the arrivals outweighs everything; the same call again runs nothing."""
    cluster = Scenario.load("quick", {"horizon_s": 40, "workload.rate_per_s": 8})
    asked = {"scheduler.qps": {"from": 3, "to": 50}, "runtime.container_cpu_s": 2}
    found = experiments.sensitivity(cluster, asked, "request_to_running_mean", tmp_path / "runs", replications=2, workers=0, quiet=True)
    assert found.table["path"].iloc[0] == "scheduler.qps"
    assert found.table["at_low"].iloc[0] > 2 * found.table["at_high"].iloc[0]
    assert len(found.runs) == 2 * len(found.runs.designs)
    assert "scheduler.qps" in found.sentence()
    page = render(found)
    assert "scheduler.qps" in page
    assert "<svg" in page
    assert "| scheduler.qps |" in render(found, ".md")
    again = experiments.sensitivity(cluster, asked, "request_to_running_mean", tmp_path / "runs", replications=2, workers=0, quiet=True)
    assert again.table.equals(found.table)
