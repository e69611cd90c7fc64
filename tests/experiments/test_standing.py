"""Standing experiments: each has a page, runs as written (made small here), and is found by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import experiments
from experiments import Sweep
from experiments.cli import app
from experiments.sweep import STANDING, standing
from sim.base.errors import InputError

NAMES = sorted(standing())


def small(sweep: Sweep) -> Sweep:
    """Of axes of numbers the first value, of others all, over a few seconds with few pods."""
    assert isinstance(sweep.axes, Mapping)
    axes = {path: values if isinstance(values[0], str) else values[:1] for path, values in sweep.axes.items()}
    sets: dict[str, object] = {"horizon_s": 60 if "registry" in axes else 4, "warm_up_s": 0}
    if sweep.cluster.faults:
        sets["faults[0].at_s"] = [1]
    if "nodes.pools.general.count" in axes:
        axes["nodes.pools.general.count"] = [5]
    else:
        sets["nodes.pools.general.count"] = 20
    return replace(sweep, cluster=sweep.cluster.replace(sets), axes=axes, replications=1)


def test_every_experiment_of_the_list_is_there():
    assert NAMES == ["apiserver-restart", "control-plane-capacity", "etcd-disk", "image-sources", "networks", "runtimes",
                     "scheduler-sampling"]


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_run_as_written(name):
    assert 4 <= len(Sweep.from_file(name).designs()) <= 20


@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name, tmp_path):
    runs = experiments.run(small(Sweep.from_file(name)), tmp_path / "out", workers=0, quiet=True)
    assert set(runs.table["status"]) == {"done"}, runs.table["error"].tolist()


@pytest.mark.parametrize("name", NAMES)
def test_its_page_has_every_design_axis_and_says_how_to_run_it_again(name):
    page = (STANDING / f"{name}.md").read_text(encoding="utf-8")
    assert f"kubedes sweep {name} --out" in page
    for path in Sweep.from_file(name).paths:
        assert path in page
    for heading in ("## Question", "## Design", "## What came out", "## Run it again"):
        assert heading in page


def test_they_are_listed():
    listed = CliRunner().invoke(app, ["list"]).output
    assert [name for name in NAMES if name not in listed] == []


def test_a_slip_in_the_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'etcd-disk'"):
        Sweep.from_file("etcd-disc")


def test_metrics_of_a_sweep_are_checked():
    with pytest.raises(InputError, match=r"metrics\[0\].*is no metric"):
        replace(Sweep.from_file("etcd-disk"), metrics=["pod_start_p99"]).designs()
