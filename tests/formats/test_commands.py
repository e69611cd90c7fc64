"""`kubedes export` and `kubedes scheduler-perf` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from experiments import cli
from sim.base.errors import KubedesError
from sim.result.exports.perfdata import PerfData
from sim.result.record import RunRecord
from sim.result.result import Result
from tests.formats.test_scheduler_perf import CONFIG


def kubedes(*arguments: str) -> tuple[int, str]:
    """Exit code and everything said."""
    done = CliRunner().invoke(cli.app, list(arguments))
    if isinstance(done.exception, KubedesError):
        return cli.INPUT_ERROR, str(done.exception)
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def folder(quick: RunRecord, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(Result(quick).save(tmp_path_factory.mktemp("kept") / "run"))


def test_a_kept_run_is_exported_in_every_format(folder: str, tmp_path: Path) -> None:
    code, text = kubedes("export", "prometheus", folder, "--at", "20")
    assert code == 0
    assert len(list(text_string_to_metric_families(text))) > 15
    history, trace, data = tmp_path / "h.txt", tmp_path / "t.json", tmp_path / "data"
    assert kubedes("export", "history", folder, "--period", "10", "--start", "1e9", "--out", str(history))[0] == 0
    assert history.read_text().endswith(" 1000000030\n# EOF\n")
    assert kubedes("export", "trace", folder, "--pods", "5", "--out", str(trace))[0] == 0
    assert json.loads(trace.read_text())["otherData"]["pods_sampled"] == 5
    assert kubedes("export", "perfdata", folder, "--out", str(data))[0] == 0
    names = sorted(path.name for path in data.iterdir())
    assert names == ["APIResponsivenessPrometheus_quick.json", "PodStartupLatency_quick.json"]
    assert all(PerfData.load(data / name).items for name in names)
    code, text = kubedes("export", "trace", folder, "--out", str(trace))
    assert (code, "exists already; give another name, or --force" in text) == (2, True)
    assert kubedes("export", "trace", folder, "--out", str(trace), "--force")[0] == 0


def test_the_metrics_of_a_kept_run_are_those_of_the_run(folder: str, quick: RunRecord) -> None:
    from sim.result.exports.prometheus import scrape

    assert kubedes("export", "prometheus", folder)[1] == scrape(quick)


def test_what_cannot_be_exported_is_refused(folder: str, tmp_path: Path) -> None:
    assert kubedes("export", "prometheus", str(tmp_path / "none"))[0] == 2
    code, text = kubedes("export", "prometheus", folder, "--at", "99")
    assert (code, "must be from 0 to 30 simulated seconds" in text) == (2, True)


def test_workloads_are_listed_with_why_one_cannot_be_played() -> None:
    code, text = kubedes("scheduler-perf", str(CONFIG))
    assert code == 0
    assert "Everything/4Nodes" in text
    assert "4 nodes, 54 pods" in text
    assert "refused: params.spare: 1 is used by no operation" in text


def test_workloads_are_run_and_answered(tmp_path: Path) -> None:
    out = tmp_path / "items.json"
    arguments = ["--workload", "Preemption/2Nodes", "--workload", "Everything/4Nodes", "--set", "horizon_s=30"]
    code, text = kubedes("scheduler-perf", str(CONFIG), *arguments, "--out", str(out))
    assert code == 0, text
    assert "Everything/4Nodes/namespace-9: SchedulingThroughput: Average 40" in text
    assert "Left out: featureGates.SchedulerQueueingHints" in text
    names = {item.labels["Name"].split("/")[1] for item in PerfData.load(out).items}
    assert names == {"Preemption", "Everything"}


def test_a_workload_that_is_not_done_fails_and_says_so() -> None:
    code, text = kubedes("scheduler-perf", str(CONFIG), "--workload", "Everything/4Nodes", "--set", "horizon_s=3")
    assert code == 1
    assert "0 of 40 pods were scheduled at the end; a longer --set horizon_s" in text


def test_slips_are_refused_before_anything_runs() -> None:
    code, text = kubedes(
        "scheduler-perf", str(CONFIG), "--workload", "Preemption/2Nodes", "--workload", "Preemtion/2Nodes"
    )
    assert (code, "did you mean 'Preemption/2Nodes'" in text) == (2, True)
    code, text = kubedes("scheduler-perf", str(CONFIG), "--workload", "Unsimulated/small")
    assert (code, "'createPod' is no operation of scheduler_perf" in text) == (2, True)
    code, text = kubedes("scheduler-perf", str(CONFIG), "--workload", "Preemption/2Nodes", "--scenario", "quick")
    assert code == 2
