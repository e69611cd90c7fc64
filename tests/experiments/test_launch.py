"""Runs end up whole in one folder whatever happens to those who run them."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import pytest

import experiments
import sim
from experiments import Precision, Sweep, launch, store
from sim.base.errors import OutputError

ROOT = Path(__file__).resolve().parents[2]
RATE = "workload.rate_per_s"
SMALL = sim.Scenario.load("quick", {"horizon_s": 8, "warm_up_s": 1})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def small(**settings) -> Sweep:
    return Sweep(SMALL, **{"axes": {RATE: [2, 4]}, "replications": 2, **settings})


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> experiments.Runs:
    return experiments.run(small(), tmp_path_factory.mktemp("done") / "out", workers=0, quiet=True)


class Immediate(Executor):
    """Runs at once, and keeps account."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, int]] = Counter()

    def submit(self, fn, /, *args, **kwargs):
        (task,) = args
        self.asked[task.hash, task.replication] += 1
        future: Future = Future()
        try:
            future.set_result(self.answer(fn, task))
        except Exception as error:
            future.set_exception(error)
        return future

    def answer(self, fn, task):
        return fn(task)


class LosesWorkers(Immediate):
    """A worker dies the first `times` times that it is given a run."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def answer(self, fn, task):
        if self.asked[task.hash, task.replication] <= self.times:
            raise BrokenProcessPool("killed")
        return fn(task)


class Elsewhere(Immediate):
    """A machine that has no such folder."""

    def answer(self, fn, task):
        return fn(replace(task, folder=task.folder + "-not-here"))


def test_every_run_is_there_and_named(done):
    assert len(done.table) == 4
    assert set(done.table["status"]) == {"done"}
    assert done.table[RATE].tolist() == [2, 2, 4, 4]
    assert done.table["rep"].tolist() == [0, 1, 0, 1]


def test_a_run_is_what_simulate_returns(done):
    design = small().designs()[1]
    direct = sim.simulate(design.scenario, replication=1)
    kept = done.result(design.name, 1)
    assert kept.summary().equals(direct.summary())
    mine = done.pods[(done.pods["design"] == design.name) & (done.pods["rep"] == 1)]
    assert mine["watched_s"].tolist() == pytest.approx(direct.pods["watched_s"].tolist(), nan_ok=True)
    assert set(mine[RATE]) == {4}


def test_designs_meet_the_same_random_numbers(tmp_path):
    sweep = Sweep(SMALL, axes={"kubelet.serial_image_pulls": [True, False]}, replications=2)
    runs = experiments.run(sweep, tmp_path / "out", workers=0, quiet=True)
    asked = {key: tuple(pods) for key, pods in runs.pods.groupby(["design", "rep"], observed=True)["requested_s"]}
    first, second = (design.name for design in sweep.designs())
    assert asked[first, 0] == asked[second, 0]
    assert asked[first, 1] == asked[second, 1]
    assert asked[first, 0] != asked[first, 1]


def test_two_spawned_workers_leave_the_same_bytes(done, tmp_path):
    experiments.run(small(), tmp_path / "out", workers=2, quiet=True)
    assert contents(tmp_path / "out") == contents(done.path)


def test_what_is_there_is_not_run_again(done):
    before = contents(done.path)
    executor = Immediate()
    experiments.run(small(), done.path, on=executor, quiet=True)
    assert not executor.asked
    assert contents(done.path) == before


def test_more_replications_go_on_from_there(tmp_path):
    executor = Immediate()
    experiments.run(small(replications=1), tmp_path / "out", on=executor, quiet=True)
    runs = experiments.run(small(replications=2), tmp_path / "out", on=executor, quiet=True)
    assert set(executor.asked.values()) == {1}
    assert len(runs.table) == 4


def test_killed_in_the_middle_it_goes_on_and_leaves_the_same_bytes(tmp_path):
    code = (
        "import sys, sim, experiments\n"
        "if __name__ == '__main__':\n"
        f"    sweep = experiments.Sweep(sim.Scenario.load('quick'), axes={{'{RATE}': [2, 4, 6]}}, replications=6)\n"
        "    experiments.run(sweep, sys.argv[1], workers=2 if sys.argv[2:] else 0, quiet=True)\n"
    )
    script = tmp_path / "sweep.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    broken = subprocess.Popen([sys.executable, script, tmp_path / "killed", "2"], env=environment)
    ended_by = time.monotonic() + 120
    while len(list((tmp_path / "killed").glob("scenario=*/rep=*/manifest.json"))) < 2 and time.monotonic() < ended_by:
        time.sleep(0.01)
    broken.send_signal(signal.SIGKILL)
    broken.wait()
    kept = len(list((tmp_path / "killed").glob("scenario=*/rep=*/manifest.json")))
    assert 2 <= kept < 18
    for folder in ("killed", "whole"):
        subprocess.run([sys.executable, script, tmp_path / folder], env=environment, check=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert len(experiments.open(tmp_path / "killed").table) == 18


def test_workers_end_when_their_parent_is_killed(tmp_path):
    code = (
        "import os, time\nfrom experiments.launch import LocalWorkers\n"
        "if __name__ == '__main__':\n"
        "    print(LocalWorkers(1).submit(os.getpid).result(), flush=True)\n    time.sleep(60)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    parent = subprocess.Popen([sys.executable, script], env={**os.environ, "PYTHONPATH": str(ROOT)},
                              stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    until = time.monotonic() + 20
    while alive(worker) and time.monotonic() < until:
        time.sleep(0.02)
    assert not alive(worker)


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_worker_that_dies_takes_only_its_own_run_with_it():
    with launch.LocalWorkers(1) as workers:
        first = workers.submit(os.getpid).result()
        with pytest.raises(BrokenProcessPool):
            workers.submit(os._exit, 1).result()
        assert workers.submit(os.getpid).result() != first


def test_workers_are_replaced_after_some_runs_and_when_they_hold_too_much():
    with launch.LocalWorkers(1, runs_per_worker=2) as workers:
        processes = [workers.submit(os.getpid).result() for _ in range(4)]
    assert processes[0] == processes[1] != processes[2] == processes[3]
    with launch.LocalWorkers(1, memory_bytes=1) as workers:
        held = [workers.submit(launch.Outcome, "", os.getpid(), "", 0.0, 0.0, 2).result().resident_bytes for _ in range(2)]
        processes = [workers.submit(os.getpid).result() for _ in range(2)]
    assert held == [2, 2]
    assert processes[0] == processes[1]  # a plain number holds nothing


def test_lost_workers_runs_are_given_to_others(done, tmp_path):
    executor = LosesWorkers(launch.ATTEMPTS - 1)
    experiments.run(small(), tmp_path / "out", on=executor, quiet=True)
    assert set(executor.asked.values()) == {launch.ATTEMPTS}
    assert contents(tmp_path / "out") == contents(done.path)


def test_a_run_that_loses_every_worker_is_a_row_with_its_error(tmp_path):
    runs = experiments.run(small(replications=1), tmp_path / "out", on=LosesWorkers(99), quiet=True)
    assert set(runs.table["status"]) == {"failed"}
    assert runs.table["error"].str.contains("lost 3 times").all()
    assert runs.pods.empty
    again = experiments.run(small(replications=1), tmp_path / "out", workers=0, retry_failed=True, quiet=True)
    assert set(again.table["status"]) == {"done"}


def test_a_machine_that_does_not_see_the_folder_sends_its_files(done, tmp_path):
    experiments.run(small(), tmp_path / "out", on=Elsewhere(), quiet=True)
    assert contents(tmp_path / "out") == contents(done.path)


def test_a_failed_run_is_a_row_and_the_others_go_on(tmp_path, monkeypatch):
    import importlib

    module = importlib.import_module("sim.simulate")
    simulate = module.simulate

    def fails_once(scenario, replication=0):
        if replication == 1 and scenario.workload.rate_per_s == 4:
            raise ZeroDivisionError("nothing to divide by")
        return simulate(scenario, replication=replication)

    monkeypatch.setattr(module, "simulate", fails_once)
    runs = experiments.run(small(), tmp_path / "out", workers=0, quiet=True)
    assert runs.table["status"].tolist() == ["done", "done", "done", "failed"]
    assert runs.table["error"].iloc[3] == "ZeroDivisionError: nothing to divide by"
    with pytest.raises(sim.InputError, match="this run failed: ZeroDivisionError"):
        runs.result(small().designs()[1].name, 1)
    assert len(runs.values("pod_startup_p99")) == 3


def test_a_full_disk_stops_cleanly_and_goes_on(done, tmp_path, monkeypatch):
    from sim.result import storage

    write, written = storage.write_table, []

    def fills_up(table, path, durable):
        written.append(path)
        if len(written) == 14:  # in the second run
            raise OSError(errno.ENOSPC, "No space left on device")
        write(table, path, durable)

    monkeypatch.setattr(storage, "write_table", fills_up)
    with pytest.raises(OutputError, match="No space left on device"):
        experiments.run(small(), tmp_path / "out", workers=0, quiet=True)
    runs = experiments.open(tmp_path / "out")
    assert Counter(runs.table["status"]) == {"done": 1, "missing": 3}
    monkeypatch.undo()
    experiments.run(small(), tmp_path / "out", workers=0, quiet=True)
    assert contents(tmp_path / "out") == contents(done.path)


def test_what_a_power_cut_shortened_runs_again(done, tmp_path):
    shutil.copytree(done.path, tmp_path / "out")
    runs = sorted((tmp_path / "out").glob("scenario=*/rep=*"))
    os.truncate(runs[0] / "stages.parquet", 0)
    os.truncate(runs[1] / "manifest.json", 0)
    (runs[2] / "pods.parquet").unlink()
    kept = (runs[3] / "manifest.json").stat().st_mtime_ns
    experiments.run(small(), tmp_path / "out", workers=0, quiet=True)
    assert contents(tmp_path / "out") == contents(done.path)
    assert (runs[3] / "manifest.json").stat().st_mtime_ns == kept


def test_ctrl_c_keeps_what_is_whole(done, tmp_path, monkeypatch):
    class Interrupted(Immediate):
        def answer(self, fn, task):
            if len(self.asked) == 3:
                raise KeyboardInterrupt
            return fn(task)

    with pytest.raises(KeyboardInterrupt):
        experiments.run(small(), tmp_path / "out", on=Interrupted(), quiet=True)
    assert (experiments.open(tmp_path / "out").table["status"] == "done").sum() == 2
    experiments.run(small(), tmp_path / "out", workers=0, quiet=True)
    assert contents(tmp_path / "out") == contents(done.path)


def test_ctrl_c_on_the_command_line_ends_the_workers_and_says_how_to_go_on(tmp_path):
    (tmp_path / "s.yaml").write_text(f"scenario: quick\naxes: {{{RATE}: {{from: 1, to: 6, step: 0.1}}}}\nreplications: 9\n")
    command = [sys.executable, "-m", "experiments.cli", "sweep", "s.yaml", "--out", "out", "--workers", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("out/scenario=*/rep=*/manifest.json")) and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    assert set(experiments.open(tmp_path / "out").table["status"]) == {"done", "missing"}


def test_folders_of_something_else_are_refused(done, tmp_path):
    with pytest.raises(sim.InputError, match=f"holds another experiment \\(sweep of quick: {RATE}\\)"):
        experiments.run(small(axes={RATE: [2, 5]}), done.path, workers=0, quiet=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not touch")
    with pytest.raises(sim.InputError, match=r"it is not the folder of an experiment"):
        experiments.run(small(), tmp_path / "mine", workers=0, quiet=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "do not touch"
    with pytest.raises(sim.InputError, match="not the folder of an experiment"):
        experiments.open(tmp_path / "nowhere")


def test_one_process_at_a_time(done):
    about = {key: done.about[key] for key in ("kind", "identity", "name", "paths", "seed")}
    with store.ExperimentFolder(done.path, about), pytest.raises(sim.InputError, match="another process is at work"):
        experiments.run(small(), done.path, workers=0, quiet=True)


def test_nothing_runs_when_the_sweep_is_wrong(tmp_path):
    executor = Immediate()
    with pytest.raises(sim.InputError):
        experiments.run(small(axes={RATE: [1, -1]}), tmp_path / "out", on=executor, quiet=True)
    assert not executor.asked
    assert not (tmp_path / "out").exists()


def test_replications_are_added_until_a_metric_is_known(tmp_path):
    sweep = small(axes={RATE: [20]}, replications=2, until=Precision("pod_startup_mean", within=0.05, at_most=30))
    runs = experiments.run(sweep, tmp_path / "out", workers=0, quiet=True)
    from experiments.statistics import mean_interval, precise_enough

    values = runs.values("pod_startup_mean")["value"].to_numpy()
    assert 2 < len(values) < 30
    assert precise_enough(values, 0.05)
    assert not precise_enough(values[: len(values) - launch.BATCH], 0.05)
    assert mean_interval(values).half_width <= 0.05 * values.mean()
    before = contents(tmp_path / "out")
    experiments.run(sweep, tmp_path / "out", workers=0, quiet=True)
    assert contents(tmp_path / "out") == before


def test_reading_by_column_design_and_as_a_dataset(done):
    design = small().designs()[0].name
    table = done.read("pods", ["startup_s"], [design])
    assert list(table.columns) == ["scenario", "design", "rep", RATE, "startup_s"]
    assert set(table["design"]) == {design}
    import pyarrow.compute as pc

    late = done.dataset("pods").to_table(columns=["rep", "startup_s"], filter=pc.field("rep") == 1)
    assert len(late) == (done.pods["rep"] == 1).sum()
    with pytest.raises(sim.InputError, match="did you mean 'startup_s'"):
        done.read("pods", ["startups_s"])
    with pytest.raises(sim.InputError, match="did you mean 'pods'"):
        done.read("pod")
    with pytest.raises(sim.InputError, match="is not one of them"):
        done.read("pods", designs=["workload.rate_per_s=3"])


def test_metrics_are_named_as_the_summary_has_them(done):
    from experiments.metrics import SUMMARY

    found = set(done.summary["metric"])
    assert found <= set(SUMMARY)
    assert {metric for metric in SUMMARY if metric != "read_of_many_objects"} <= found
    for metric, unit in done.summary.groupby("metric")["unit"].first().items():
        assert SUMMARY[str(metric)][0] == unit


def test_values_of_columns_equal_the_summarys(done):
    by_column = done.values("startup_s")
    by_summary = done.values("pod_startup")
    merged = by_column.merge(by_summary, on=["scenario", "rep", "statistic"])
    assert len(merged) == 12
    assert merged["value_x"].to_numpy() == pytest.approx(merged["value_y"].to_numpy())


def test_dask_is_asked_for_by_name_when_it_is_not_installed(tmp_path):
    try:
        import distributed  # noqa: F401
    except ImportError:
        with pytest.raises(sim.InputError, match=r"kubedes\[cluster\]"):
            experiments.run(small(), tmp_path / "out", on="tcp://127.0.0.1:1", quiet=True)
    else:
        pytest.skip("Dask is installed")


def test_a_dask_cluster_leaves_the_same_bytes_although_a_worker_is_killed(done, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs the extra 'cluster'")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        victim = next(iter(cluster.workers.values())).pid

        with distributed.Client(cluster) as client:
            executor = client.get_executor(pure=False)
            submit = executor.submit
            calls: list[object] = []

            def and_kill(fn, /, *args, **kwargs):
                future = submit(fn, *args, **kwargs)
                calls.append(future)
                if len(calls) == 4:
                    os.kill(victim, signal.SIGKILL)
                return future

            executor.submit = and_kill
            experiments.run(small(), tmp_path / "out", on=executor, quiet=True)
        experiments.run(small(replications=3), tmp_path / "out", on=cluster.scheduler_address, quiet=True)
    expected = experiments.run(small(replications=3), tmp_path / "expected", workers=0, quiet=True)
    assert contents(tmp_path / "out") == contents(expected.path)
