"""The search finds the edge where it is known: a client that may send q requests a second holds no more than q pods a second."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import experiments
import sim
from experiments import capacity
from experiments.capacity import FAILS, MEETS, UNDECIDED, Slo, read_slo
from experiments.cli import app
from experiments.metrics import metric
from experiments.statistics import Interval
from sim.base.errors import Problems

RATE = "workload.rate_per_s"
LIMITED = sim.Scenario.load(
    "quick", {"scheduler.qps": 3, "scheduler.burst": 1, "nodes.pools.general.count": 60, "images": {}, "horizon_s": 120}
)


class Curve:
    """In place of the cluster: a metric that rises with the value, and noise of its own in each replication."""

    def __init__(self, monkeypatch, of, noise):
        self.seen: list[tuple[float, int]] = []

        def values(runs, slo, design):
            value = float(design.values[PODS])
            count = int(runs.table.query("scenario == @design.hash").shape[0])
            self.seen.append((value, count))
            return of(value) + noise * np.random.default_rng(int(value * 1000)).standard_normal(16)[:count]

        monkeypatch.setattr(capacity, "slo_values", values)
        monkeypatch.setattr(capacity.Launcher, "run", lambda launcher, wanted: [self.keep(launcher, *one) for one in wanted])

    def keep(self, launcher, design, rep):
        place = launcher._folder.path / f"scenario={design.hash}" / f"rep={rep}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "manifest.json").write_text("{}")


PODS = "nodes.pools.general.count"


def test_a_whole_number_is_found_exactly(monkeypatch):
    """12 + value / 10 within 20 up to 80: doubling from 20 tries 40, 80, 160; then halves between."""
    curve = Curve(monkeypatch, lambda value: 12 + value / 10, 0.0)
    found = experiments.find_capacity(sim.Scenario.load("quick"), PODS, "pod_startup_p99<=20", quiet=True)
    assert (found.value, found.fails_at) == (80.0, 81.0)
    assert "can be 80 while pod_startup_p99<=20s holds; at 81 it does not" in found.sentence()
    assert len(curve.seen) < 16


@pytest.mark.parametrize(("low", "high", "value", "fails"), [(100, 900, None, 100.0), (5, 60, 60.0, None), (5, 900, 80.0, 81.0)])
def test_given_ends_are_kept(monkeypatch, low, high, value, fails):
    curve = Curve(monkeypatch, lambda value: 12 + value / 10, 0.0)
    found = experiments.find_capacity(sim.Scenario.load("quick"), PODS, "pod_startup_p99<=20", low=low, high=high, quiet=True)
    assert (found.value, found.fails_at) == (value, fails)
    assert min(value for value, _ in curve.seen) >= low
    assert max(value for value, _ in curve.seen) <= high
    if value is None:
        assert "the smallest tried is 100" in found.sentence()
    if fails is None:
        assert "ended at the upper end given, 60" in found.sentence()


def test_noise_is_met_with_replications_and_doubt_is_said(monkeypatch):
    curve = Curve(monkeypatch, lambda value: value / 5, 0.5)
    found = experiments.find_capacity(sim.Scenario.load("quick"), PODS, "pod_startup_p99<=20", within=0.02, quiet=True)
    assert found.value < 100 < found.fails_at  # the truth, 100, lies between
    assert found.value >= 90
    assert found.fails_at <= 110
    counts = dict(curve.seen)  # the last look at each value
    assert counts[20.0] == capacity.LOOKS[0]
    assert max(counts.values()) == capacity.LOOKS[-1]
    assert {"meets", "fails", "undecided"} == set(found.levels["verdict"])
    assert "too close to tell" in found.sentence()


@pytest.mark.slow
def test_the_truth_is_between_the_ends_as_often_as_promised(monkeypatch):
    """Thirty curves with noise, each with another edge: at 95 % at most 5 may be wrong (99.7 % of the time); Bonferroni gives fewer."""
    wrong = 0
    for edge in np.linspace(40, 190, 30):
        with monkeypatch.context() as patched:
            Curve(patched, lambda value, edge=edge: 20 * value / edge, 1.0)
            found = experiments.find_capacity(sim.Scenario.load("quick"), PODS, "pod_startup_p99<=20", quiet=True)
            wrong += not (found.value or 0) <= edge <= (found.fails_at or np.inf)
    assert wrong <= 5


def test_a_rate_limit_is_the_capacity(tmp_path):
    """The scheduler may bind 3 pods a second. At 2 a start waits 1/6 s on average (M/D/1) and holds 5 s; at 4 the queue has grown
    to 120 pods at the end, 40 s of waiting. The search, coarse and in a few runs, must end on both sides of 3."""
    found = experiments.find_capacity(LIMITED, RATE, ["pod_startup_p99<=8s", "pods_pending_p99<=400"], low=1.5, high=6, within=0.6,
                                      out=tmp_path / "out", workers=0, quiet=True)
    assert 1.5 <= found.value <= 3.0
    assert 3.0 <= found.fails_at <= 6.0
    kept = experiments.open(tmp_path / "out")
    assert set(kept.table["status"]) == {"done"}
    again = experiments.find_capacity(LIMITED, RATE, "pod_startup_p99<=8s", low=1.5, high=6, within=0.6, out=tmp_path / "out",
                                      workers=0, quiet=True)
    assert again.fails_at <= 6
    assert len(experiments.open(tmp_path / "out").table) == len(kept.table)  # nothing ran twice


def test_pods_that_never_start_count_with_their_age():
    """Ten pods: four start within 1 s, five are pending since second 10 of 100, one was refused. Seen alone the p99 is 1 s."""
    pods = pd.DataFrame({
        "measured": True, "phase": ["Running"] * 4 + ["Pending"] * 5 + ["Refused"], "attempts": [1] * 4 + [3] * 5 + [0],
        "created_s": [5.0] * 4 + [10.0] * 5 + [np.nan], "requested_s": 5.0, "scheduled_s": [5.5] * 4 + [np.nan] * 6,
        "watched_s": [6.0] * 4 + [np.nan] * 6, "pull_started_s": np.nan, "pull_ready_s": np.nan,
    })
    slo = Slo(metric("pod_startup_p99"), True, 5.0)
    assert capacity._startup_with_unfinished(pods, slo, "created_s", 100.0) == 90.0
    assert capacity._startup_with_unfinished(pods, slo, "created_s", 14.0) == 1.0  # 4 s old: not late yet
    kubernetes = Slo(metric("pod_startup_without_pull_p99"), True, 5.0)
    assert capacity._startup_with_unfinished(pods, kubernetes, "created_s", 100.0) == 1.0  # found no node: not schedulable


@pytest.mark.parametrize(
    ("low", "high", "at_most", "verdict"),
    [(1, 2, True, MEETS), (6, 7, True, FAILS), (4, 6, True, UNDECIDED), (6, 7, False, MEETS), (1, 2, False, FAILS), (5, 5, True, MEETS)],
)
def test_a_service_level_is_judged_by_the_whole_interval(low, high, at_most, verdict):
    assert Slo(metric("pod_startup_p99"), at_most, 5.0).judge(Interval((low + high) / 2, low, high, 0.95, 4)) == verdict


@pytest.mark.parametrize(
    ("text", "expected"),
    [("pod_startup_p99<=5s", "pod_startup_p99<=5s"), (" pod_startup_p99 <= 800ms ", "pod_startup_p99<=0.8s"),
     ("pods_started_mean>=10", "pods_started_mean>=10"), ("image_pull_s_p99.9<=1m", "image_pull_s_p99.9<=60s")],
)
def test_service_levels_are_read(text, expected):
    problems = Problems("slo")
    assert str(read_slo(text, "slo", problems)) == expected
    assert not problems


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"slos": "pod_startap_p99<=5"}, "did you mean 'pod_startup'?"),
        ({"slos": "pod_startup_p99<5"}, "write METRIC<=LIMIT"),
        ({"slos": "pod_startup<=5"}, "must name a statistic"),
        ({"slos": "pod_startup_p99<=5 parsecs"}, "must end in a number of s"),
        ({"slos": []}, "at least one service level"),
        ({"path": "workload.rat_per_s"}, "did you mean 'rate_per_s'?"),
        ({"path": "workload.mix"}, "a search starts from a number above 0"),
        ({"path": "kubernetes"}, "a search starts from a number above 0"),
        ({"low": 5, "high": 2}, "must be above low (5)"),
        ({"within": 2}, "within: 2"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_the_first_run(settings, words, monkeypatch):
    monkeypatch.setattr(capacity.Launcher, "run", lambda *_: pytest.fail("ran"))
    asked = {"path": RATE, "slos": "pod_startup_p99<=5", **settings}
    with pytest.raises(sim.InputError) as caught:
        experiments.find_capacity(sim.Scenario.load("quick"), quiet=True, **asked)
    assert words in str(caught.value)


def test_the_command_line_and_a_frontier(monkeypatch):
    Curve(monkeypatch, lambda value: 12 + value / 10, 0.0)
    asked = ["capacity", "quick", "--find", PODS, "--slo", "pod_startup_p99<=20s"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "can be 80 while pod_startup_p99<=20s holds" in done.output
    done = CliRunner().invoke(app, [*asked, "--over", f"{RATE}=1,2", "--quiet"])
    assert done.exit_code == 0, done.output
    assert done.output.count("81") == 2
