"""The command line as a user meets it: exit codes, messages, files. A stand-in takes the place of long runs."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

import sim
from experiments import cli
from experiments.progress import RunProgress, progress_line
from sim.engine.clock import Clock
from sim.scenario import Scenario
from sim.simulate import Progress

SHORT = ["--set", "horizon_s=15", "--set", "nodes.count=3", "--set", "warm_up_s=0"]


def kubedes(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as `kubedes` runs it."""
    return subprocess.run(
        [sys.executable, "-m", "experiments.cli", *arguments], capture_output=True, text=True, check=False
    )


def invoke(*arguments: str) -> str:
    """The standard output of a command that must succeed."""
    done = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_help_is_quick_and_names_every_command() -> None:
    """0.7 s on a quiet machine; the smallest of three, and an import check that does not depend on the machine."""
    walls = []
    for _ in range(3):
        begun = time.perf_counter()
        done = kubedes("--help")
        walls.append(time.perf_counter() - begun)
        assert done.returncode == 0
    for command in ("run", "list", "show", "schema", "workload"):
        assert command in done.stdout
    assert min(walls) <= 0.7
    heavy = ("numpy", "pandas", "numba", "simpy", "pydantic")
    code = f"import sys, experiments.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version() -> None:
    assert invoke("--version").startswith("kubedes")


def test_list_names_scenarios_presets_and_plugins_with_a_line_each() -> None:
    text = invoke("list")
    for name in ("public-cloud", "quick", "kubernetes-1.34", "synthetic", "containerd", "bridge", "poisson", "web"):
        assert f" {name} " in text
    assert "20 nodes for a minute" in text


def test_show_prints_a_scenario_that_can_be_run() -> None:
    text = invoke("show", "quick", "--set", "nodes.count=7", "--set", "kubelet.qps=3")
    assert Scenario.from_text(text) == Scenario.load("quick", {"nodes.count": 7, "kubelet.qps": 3})


def test_show_sources() -> None:
    text = invoke("show", "quick", "--sources")
    row = next(line for line in text.splitlines() if line.strip().startswith("kubelet.relist_period_s"))
    assert "1.0" in row
    assert "Kubernetes 1.20 source, kubelet defaults" in text
    assert "(unverified)" in text


def test_schema_is_json_and_is_not_overwritten(tmp_path: Path) -> None:
    assert json.loads(invoke("schema"))["title"] == "kubedes scenario"
    path = tmp_path / "schema.json"
    invoke("schema", "--out", str(path))
    assert json.loads(path.read_text()) == Scenario.json_schema()
    again = kubedes("schema", "--out", str(path))
    assert again.returncode == 2
    assert "exists already" in again.stderr
    invoke("schema", "--out", str(path), "--force")


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_workload_says_what_arrives_and_keeps_it(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"arrivals{ending}"
    text = invoke("workload", "public-cloud", "--out", str(path))
    table = pd.read_csv(path) if ending == ".csv" else pd.read_parquet(path)
    assert f"{len(table):,} applications with {table.pods.sum():,} pods" in text
    assert set(table.kind) == {"service", "job"}
    assert table.time_s.is_monotonic_increasing
    assert (table.cpu_millicores > 0).all()
    assert "tenant-1" in text


def test_the_public_cloud_asks_for_about_20000_pods() -> None:
    """The scenario's own promise. Its expectation is near 19,500; heavy tails make seeds differ by some thousands."""
    from sim.base.rand import Streams

    scenario = Scenario.load("public-cloud")
    assert scenario.workload is not None
    pods = [scenario.workload.build(scenario.setting(), Streams(seed)).pods for seed in range(1, 21)]
    assert 18_000 <= sum(pods) / len(pods) <= 22_000


def test_run_prints_tables_and_keeps_everything(tmp_path: Path) -> None:
    out = tmp_path / "run"
    text = invoke("run", "quick", *SHORT, "--out", str(out), "--seed", "5")
    assert "quick: 3 nodes, Kubernetes 1.34, 15 s simulated, seed 5" in text
    for part in ("pod_startup", "Service levels of Kubernetes", "What limits", "events"):
        assert part in text
    kept = sim.Result.load(out)
    assert (kept.record.seed, kept.complete) == (5, True)
    assert "<html" in (out / "report.html").read_text(encoding="utf-8")


def test_an_existing_folder_is_refused_before_the_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    invoke("run", "quick", *SHORT, "--out", str(out), "--no-report", "--quiet")
    assert not (out / "report.html").exists()
    again = kubedes("run", "quick", *SHORT, "--out", str(out))
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert "simulated" not in again.stdout
    assert invoke("run", "quick", *SHORT, "--out", str(out), "--no-report", "--quiet", "--force") == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "quik"], "did you mean 'quick'?"),
        (["run", "quick", "--set", "nodes.cout=3"], "nodes.cout: 3 is not a field here; did you mean 'count'?"),
        (["run", "quick", "--seed", "-1"], "seed: -1 must be at least 0"),
        (["run", "kubernetes-1.34"], "nothing arrives"),
        (["workload", "quick", "--out", "nowhere/x.txt"], "must end in .csv or .parquet"),
        (["show", "quick", "--set", "seed"], "must be PATH=VALUE"),
    ],
)
def test_what_the_user_can_mend_is_exit_code_2_without_a_traceback(arguments: list[str], message: str) -> None:
    done = kubedes(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_keeps_what_there_is_and_marks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_until = Clock.run_until

    def interrupted(self: Clock, until_s: float, tell: Callable[[], None]) -> None:
        run_until(self, 20.0, tell)
        raise KeyboardInterrupt

    monkeypatch.setattr(Clock, "run_until", interrupted)
    out = tmp_path / "run"
    done = CliRunner().invoke(cli.app, ["run", "quick", "--out", str(out), "--no-report"])
    assert done.exit_code == 130
    assert "PARTIAL: interrupted at" in done.output
    kept = sim.Result.load(out)
    assert not kept.complete
    assert kept.record.end_s == 20


TOLD = Progress(sim_time_s=150, horizon_s=600, pods_done=1200, pods_total=5000, events=300_000, wall_s=2.0)


def test_progress_says_time_pods_events_and_time_left() -> None:
    """A quarter took 2 s, so three quarters take 6."""
    assert progress_line(TOLD) == "150 of 600 s simulated, 1,200 of 5,000 pods, 150,000 events/s, 6 s left"


def test_plain_progress_is_a_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 calls over 100 s: a line for each tenth of the horizon, none before it."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    shown = io.StringIO()
    with RunProgress(Console(file=shown, width=120)) as progress:
        for step in range(1001):
            clock[0] = step / 10
            progress(Progress(step, 1000, step, 1000, step, clock[0]))
    assert 8 <= len(shown.getvalue().splitlines()) <= 10


def test_a_terminal_gets_a_bar_and_quiet_gets_nothing() -> None:
    for quiet, expected in ((False, True), (True, False)):
        shown = io.StringIO()
        with RunProgress(Console(file=shown, width=140, force_terminal=True), quiet) as progress:
            progress(TOLD)
        assert ("1,200 of 5,000 pods" in shown.getvalue()) is expected


def test_pods_that_cannot_run_are_told_by_reason_with_their_share() -> None:
    text = invoke("run", "quick", *SHORT, "--set", "nodes.pools.general.allocatable.cpu=1m")
    assert "pods do not run (100.0% of those asked for): Insufficient cpu" in text


def test_a_run_that_breaks_its_own_laws_is_no_input_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from sim.base.errors import InvariantError

    def broken() -> None:
        raise InvariantError("the run broke its own laws")

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(SystemExit) as raised:
        cli.main()
    assert raised.value.code == cli.DEFECT
    assert "Please report this" in capsys.readouterr().err
