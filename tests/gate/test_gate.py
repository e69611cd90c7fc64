"""The gate: stands open for the same code, shut for a cluster that got slower, and says what moved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments import cli
from experiments.regression.baseline import LEVELS, Answer, Baseline, Question, ask, load, save
from experiments.regression.gate import compare
from experiments.statistics import mean_interval
from sim.base.errors import InputError, KubedesError

SHORT = ("horizon_s=15", "warm_up_s=0", "nodes.pools.general.count=4")
QUESTION = Question("quick", SHORT, replications=3)


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    return Baseline(QUESTION, ask(QUESTION, Path()))


def made(level: str = "pod_startup_p99", values: tuple[float, ...] = (1.0, 1.1, 1.2), **changes: object) -> Baseline:
    """A baseline of one level, by hand."""
    answer = Answer(
        {level: values}, {"pod start-up: pods": 3}, {"image pull": 0.4, "volumes": 0.3}, {"events": (10, 20, 30)}
    )
    return Baseline(Question("quick", replications=3, levels=(level,)), replace(answer, **changes))


def moved(known: Baseline, values: tuple[float, ...], **changes: object) -> Answer:
    level = next(iter(known.answer.levels))
    return replace(known.answer, levels={level: values}, **changes)


# --- judging


def test_the_same_answer_passes(baseline: Baseline) -> None:
    found = compare(baseline, ask(QUESTION, Path()), exact=True)
    assert found.passed
    assert {level.verdict for level in found.levels} == {"same"}
    assert {level.name for level in found.levels} < set(LEVELS)
    assert "within their intervals over 3 replications, and every counter is the same" in found.text()


def test_a_slower_registry_shuts_the_gate_and_names_the_stage(baseline: Baseline) -> None:
    slower = replace(QUESTION, sets=(*SHORT, "registry.bandwidth_bytes_per_s=2e7"))
    found = compare(baseline, ask(slower, Path()), exact=True)
    assert not found.passed
    worse = {level.name for level in found.failed if level.verdict == "worse"}
    assert "pod_startup_p99" in worse
    assert found.stages[0][0] == "image pull"
    assert found.stages[0][2] > found.stages[0][1]
    assert {name for name, _, _ in found.counters} >= {"events"}
    text = found.text()
    for said in ("pod_startup_p99", "worse", "image pull:", "exact counters changed", "--update"):
        assert said in text


def test_an_interval_is_student_s_and_at_least_the_tolerance() -> None:
    known = made()
    assert known.interval("pod_startup_p99") == mean_interval([1.0, 1.1, 1.2])
    narrow = made(values=(2.0, 2.0, 2.0)).interval("pod_startup_p99")
    assert (narrow.low, narrow.high) == pytest.approx((1.98, 2.02))


@pytest.mark.parametrize(
    ("level", "values", "verdict"),
    [
        ("pod_startup_p99", (1.0, 1.1, 1.2), "same"),
        ("pod_startup_p99", (1.1, 1.2, 1.3), "within"),
        ("pod_startup_p99", (1.4, 1.4, 1.4), "worse"),
        ("pod_startup_p99", (0.8, 0.8, 0.8), "better"),
        ("pods_started_mean", (1.4, 1.4, 1.4), "better"),
        ("pods_started_mean", (0.8, 0.8, 0.8), "worse"),
        ("pods_running_mean", (1.4, 1.4, 1.4), "moved"),
    ],
)
def test_a_level_is_judged_by_its_interval_and_its_direction(
    level: str, values: tuple[float, ...], verdict: str
) -> None:
    known = made(level)
    found = compare(known, moved(known, values))
    assert [each.verdict for each in found.levels] == [verdict]
    assert found.passed == (verdict in ("same", "within"))
    assert compare(known, moved(known, values), allow_better=True).passed == (verdict in ("same", "within", "better"))


def test_a_level_that_is_gone_an_objective_that_is_missed_and_counters_shut_it() -> None:
    known = made()
    gone = compare(known, replace(known.answer, levels={}))
    assert not gone.passed
    assert "nothing any more" in gone.text()
    missed = compare(known, replace(known.answer, verdicts={"pod start-up: pods": 1}))
    assert not missed.passed
    assert "'pod start-up: pods' is met in 1 of 3 replications, was in 3" in missed.text()
    new = compare(known, replace(known.answer, verdicts={**known.answer.verdicts, "read: nodes": 2}))
    assert not new.passed
    counted = replace(known.answer, counters={"events": (10, 20, 31), "pulls": (1, 1, 1)})
    assert compare(known, counted).passed
    exact = compare(known, counted, exact=True)
    assert not exact.passed
    assert "events: 60 → 61 (+1.67 %), in 1 of 3 replications" in exact.text()
    assert "pulls: new" in exact.text()


# --- the file


def test_a_baseline_survives_its_file_and_writes_the_same_bytes(baseline: Baseline, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    save(baseline, path)
    read = load(path)
    assert read.question == baseline.question
    assert read.answer.counters == baseline.answer.counters
    for name, values in baseline.answer.levels.items():
        assert np.allclose(read.answer.levels[name], values, rtol=1e-8, atol=0)
    first = path.read_bytes()
    save(read, path)
    assert path.read_bytes() == first
    assert compare(read, baseline.answer, exact=True).passed
    assert [entry.name for entry in tmp_path.iterdir()] == ["baseline.json"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "other"}, "must be 'kubedes baseline'"),
        ({"format_version": 9}, "format_version: 9 must be 1"),
        ({"levels": {"pod_start_p99": {"values": [1, 2, 3]}}}, "is no metric; did you mean 'pod_startup'?"),
        ({"levels": {"pod_startup_p99": {"values": [1]}}}, "must be 3, one a replication"),
        ({"counters": {"events": "many"}}, "is damaged"),
        ({"question": {}}, "is damaged: KeyError"),
    ],
)
def test_a_damaged_baseline_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = tmp_path / "baseline.json"
    save(made(), path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError) as raised:
        load(path)
    assert said in str(raised.value)


def test_questions_without_an_answer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be at least 2"):
        ask(replace(QUESTION, replications=1), tmp_path)
    with pytest.raises(InputError, match="the scenario has nothing of any"):
        ask(replace(QUESTION, levels=("read_of_many_objects_p99",)), tmp_path)
    with pytest.raises(InputError, match="there is no baseline; make one: kubedes gate SCENARIO"):
        load(tmp_path / "none.json")


def test_a_scenario_file_is_looked_for_beside_the_baseline(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: quick\nhorizon_s: 20\n")
    assert Question("mine.yaml").load(tmp_path).horizon_s == 20
    assert Question("quick", ("horizon_s=7", "warm_up_s=0"), seed=9).load(tmp_path).seed == 9


# --- the command


def gate(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, ["gate", *arguments])
    if isinstance(done.exception, KubedesError):
        return cli.INPUT_ERROR, str(done.exception)
    return done.exit_code, done.output


def test_the_command_writes_compares_and_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("extends: quick\nhorizon_s: 15\nwarm_up_s: 0\nnodes: {pools: {general: {count: 3}}}\n")
    Path("baselines").mkdir()
    file = "baselines/mine.json"
    code, said = gate("mine.yaml", "--baseline", file, "--update", "--replications", "2", "--level", "pod_startup_p99")
    assert (code, "1 service levels of ../mine.yaml kept in baselines/mine.json" in said) == (0, True), said
    code, said = gate("--baseline", file, "--exact")
    assert code == 0, said
    assert "pod_startup_p99" in said
    Path("mine.yaml").write_text(Path("mine.yaml").read_text() + "registry: {bandwidth_bytes_per_s: 1e7}\n")
    code, said = gate("--baseline", file)
    assert code == 1
    assert "1 of 1 service levels moved beyond their intervals" in said
    code, said = gate("--baseline", file, "--update")
    assert code == 0
    assert "worse" in said  # an update shows what it accepts
    assert gate("--baseline", file)[0] == 0


def test_options_that_would_do_nothing_are_refused(tmp_path: Path) -> None:
    file = str(tmp_path / "b.json")
    for arguments, said in (
        (["quick", "--baseline", file], "SCENARIO: 'quick' belongs to the baseline; give it with --update"),
        (["--baseline", file, "--seed", "3"], "--seed: 3 belongs to the baseline"),
        (["quick", "--baseline", file, "--update", "--exact"], "compare, which --update does not"),
        (["--baseline", file, "--update"], "there is no baseline yet: name a scenario"),
        (["quick", "--baseline", file, "--update", "--level", "startup"], "is no metric"),
        (["quick", "--baseline", file, "--update", "--level", "pod_startup"], "must name a statistic"),
    ):
        code, text = gate(*arguments)
        assert code == 2
        assert said in text
