"""A comparison names what differs, how surely, and the queue that is to blame, where the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import experiments
import sim
from experiments import Sweep
from experiments.cli import app
from experiments.compare import Side
from sim.base.errors import InputError

BANDWIDTH = "registry.bandwidth_bytes_per_s"
RATE = "workload.rate_per_s"
QUICK = sim.Scenario.load("quick", {"horizon_s": 40})


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> experiments.Runs:
    sweep = Sweep(QUICK, axes={BANDWIDTH: ["10Gbit/s", "200Mbit/s"], RATE: [2, 2.5]}, replications=4)
    return experiments.run(sweep, tmp_path_factory.mktemp("compare") / "out", workers=0, quiet=True)


def place(runs, bandwidth, rate=2) -> str:
    return f"{runs.path}@{BANDWIDTH}={bandwidth}, {RATE}={rate}"


@pytest.fixture(scope="module")
def found(runs) -> experiments.Comparison:
    return experiments.compare(place(runs, "10Gbit/s"), place(runs, "200Mbit/s"))


def row(found, metric, statistic) -> pd.Series:
    return found.table.set_index(["metric", "statistic"]).loc[(metric, statistic)]


def test_a_slow_registry_is_found_out(found):
    """The registry's link is the only thing that differs, so the pull is the stage and the link is the queue."""
    assert found.paired
    assert found.runs == (4, 4)
    assert (found.a, found.b) == (f"{BANDWIDTH}=10Gbit/s", f"{BANDWIDTH}=200Mbit/s")  # what they share is left out
    assert row(found, "image_pull", "p99")["verdict"] == "worse"
    assert row(found, "scheduling", "mean")["verdict"] in ("equal", "no clear difference")  # kubelets share the API server
    stages = found.stages.set_index("stage")
    assert stages["share"].idxmax() == "image pull"
    assert stages.loc["image pull", "share"] > 0.9
    assert found.resources["resource"].iloc[0] == "registry uplink"
    assert "‘image pull’ adds" in found.why()
    assert "The queueing that explains it is at the registry uplink" in found.why()
    assert "to the registry uplink." in found.why().split("What limits shifts from ")[1]


def test_stages_add_up_to_the_whole(found):
    start = row(found, "request_to_running", "mean")
    assert found.stages["difference_s"].sum() == pytest.approx(start["difference"], rel=1e-6)
    assert found.stages["a_mean_s"].sum() == pytest.approx(start["a"], rel=1e-6)


def test_the_other_way_round_is_the_same_with_the_sign_turned(runs, found):
    turned = experiments.compare(place(runs, "200Mbit/s"), place(runs, "10Gbit/s"))
    assert turned.table["difference"].to_numpy() == pytest.approx(-found.table["difference"].to_numpy(), nan_ok=True)
    assert row(turned, "image_pull", "p99")["verdict"] == "better"
    assert "‘image pull’ saves" in turned.why()
    assert "shifts from the registry uplink to" in turned.why()


def test_scenarios_that_have_not_run_are_run_with_the_same_random_numbers(runs, found, tmp_path):
    slow = QUICK.replace({BANDWIDTH: "200Mbit/s"})
    asked = {"replications": 4, "workers": 0, "quiet": True}
    both = experiments.compare(QUICK.replace({BANDWIDTH: "10Gbit/s"}), slow, **asked)
    one = experiments.compare(place(runs, "10Gbit/s"), slow.replace({"seed": 99}), out=tmp_path / "kept", **asked)
    for other in (both, one):
        assert other.paired
        numbers = other.table.select_dtypes("number")
        pd.testing.assert_frame_equal(numbers, found.table.select_dtypes("number"))
    assert len(experiments.open(tmp_path / "kept" / "B").table) == 4


def test_the_command_runs_a_scenario_with_other_values(tmp_path):
    sets = "nodes.pools.general.count=5, horizon_s=10"
    done = CliRunner().invoke(app, [
        "compare", f"quick@{sets}", f"quick@{sets}, {RATE}=4", "--replications", "2", "--workers", "0", "--all", "--quiet"])
    assert done.exit_code == 0, done.output
    assert "2 pairs of runs" in done.output
    assert f"{RATE}=4" in done.output.splitlines()[1]


def test_what_is_wrong_with_a_scenario_is_said_before_the_first_run(tmp_path):
    with pytest.raises(InputError, match="did you mean 'horizon_s'"):
        experiments.compare(QUICK, "quick@horizont_s=3", out=tmp_path / "out", workers=0, quiet=True)
    assert not (tmp_path / "out").exists()


def test_a_design_compared_with_itself_is_equal(runs):
    same = experiments.compare(place(runs, "10Gbit/s"), place(runs, "10Gbit/s"))
    assert set(same.table["verdict"]) <= {"equal", "no data"}
    assert "Pods start as fast in B" in same.why()
    assert same.changes().empty


def test_results_in_memory_and_folders_give_the_same(runs, found, tmp_path):
    sides = []
    for bandwidth in ("10Gbit/s", "200Mbit/s"):
        cluster = QUICK.replace({BANDWIDTH: bandwidth, RATE: 2})
        sides.append([sim.simulate(cluster, replication=rep) for rep in range(4)])
    direct = experiments.compare(*sides)
    for name in ("difference", "p", "a_low", "b_high"):
        assert direct.table[name].to_numpy() == pytest.approx(found.table[name].to_numpy(), nan_ok=True)
    alone = experiments.compare(sides[0][0].save(tmp_path / "a"), sides[1][0].save(tmp_path / "b"))
    assert set(alone.table["verdict"]) <= {"one run each", "no data"}
    assert "with one run each, chance is not ruled out" in alone.why()


def test_different_seeds_are_not_paired():
    first, second = ([sim.simulate(QUICK, seed=seed, replication=rep) for rep in range(2)] for seed in (1, 2))
    assert not experiments.compare(first, second).paired


def test_without_a_difference_alarms_are_rare():
    """Forty comparisons of equals, forty figures each: with the correction about 5 % raise any alarm (at most 6 of 40: 99.7 %)."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(40):
        noisy = [
            Side(label, {(1, rep): pd.DataFrame({
                "metric": [f"m{i}" for i in range(39)] + ["request_to_running"], "mean": rng.normal(5, 1, 40),
                "p50": 1.0, "p99": 1.0}) for rep in range(5)},
                {(1, rep): pd.DataFrame({"stage": ["s"], "mean_s": [1.0], "pods": [9]}) for rep in range(5)},
                {(1, rep): pd.DataFrame(columns=["resource", "verdict", "utilisation", "wait_per_pod_s", "critical_path_share", "rank"])
                 for rep in range(5)},
                {(1, rep): rng.exponential(2, 50) for rep in range(5)})
            for label in "AB"
        ]
        alarms += len(experiments.compare(*noisy).changes()) > 0
    assert alarms <= 6


def test_by_an_axis_within_the_others(runs):
    table = runs.compare("pod_startup_p99", by=BANDWIDTH)
    assert table[RATE].tolist() == [2, 2, 2.5, 2.5]
    assert table["verdict"].tolist() == ["baseline", "worse", "baseline", "worse"]
    turned = runs.compare("pod_startup_p99", by=BANDWIDTH, baseline="200Mbit/s")
    assert turned["verdict"].tolist() == ["better", "baseline", "better", "baseline"]
    assert runs.compare("startup_s", by=BANDWIDTH)["statistic"].tolist() == ["mean"] * 2 + ["p50"] * 2 + ["p99"] * 2 + (
        ["mean"] * 2 + ["p50"] * 2 + ["p99"] * 2)
    by_hand = runs.values("pod_startup_p99", [f"{BANDWIDTH}=200Mbit/s, {RATE}=2"])["value"].mean()
    assert table["value"].iloc[1] == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda runs: runs.compare("pod_startup_p99", by="registry.bandwith_bytes_per_s"), "did you mean 'registry.bandwidth"),
        (lambda runs: runs.compare("pod_startup_p99", by=BANDWIDTH, baseline="1Gbit/s"), "is no value of"),
        (lambda runs: runs.compare("pod_start_p99", by=BANDWIDTH), "did you mean 'pod_startup'"),
        (lambda runs: experiments.compare(runs, runs), "has 4 designs; pick one as"),
        (lambda runs: experiments.compare(place(runs, "1Gbit/s"), runs), "is not one of them"),
        (lambda runs: experiments.compare(runs.path / "nothing", runs), "is not a folder"),
        (lambda runs: experiments.compare(5, runs), "neither a results folder nor runs"),
    ],
)
def test_what_cannot_be_compared_is_refused(runs, ask, words):
    with pytest.raises(sim.InputError) as caught:
        ask(runs)
    assert words in str(caught.value)


def test_the_command_line_says_the_same(runs, found):
    done = CliRunner().invoke(app, ["compare", place(runs, "10Gbit/s"), place(runs, "200Mbit/s")])
    assert done.exit_code == 0, done.output
    assert found.why() in done.output
    assert "4 pairs of runs" in done.output
    assert "image_pull" in done.output


def test_a_sweep_from_the_command_line(tmp_path):
    (tmp_path / "s.yaml").write_text(f"scenario: quick\nset: {{horizon_s: 8, warm_up_s: 1}}\naxes: {{{RATE}: [2, 4]}}\n")
    for _ in range(2):  # the second goes on from the first
        done = CliRunner().invoke(app, ["sweep", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "out"), "--workers", "0"])
        assert done.exit_code == 0, done.output
        assert "workload.rate_per_s=4" in done.output
    assert len(experiments.open(tmp_path / "out").table) == 2
