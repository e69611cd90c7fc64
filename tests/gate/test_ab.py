"""Base against branch: paired, in the order ABBA, judged by an interval and never by one time."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.regression.ab import compare_trees, compare_with_commit, order, run_tree
from sim.base.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
BASE, BRANCH = Path("base"), Path("branch")


def machine(slowdown: float, drift: float = 0.0, noise: float = 0.02, seed: int = 1) -> Callable[..., dict[str, Any]]:
    """A machine that gets slower run by run, and a branch that takes `slowdown` times as long."""
    rng = np.random.default_rng(seed)
    runs = 0

    def run(tree: Path, scenario: str, sets: Sequence[str]) -> dict[str, Any]:
        nonlocal runs
        runs += 1
        own = slowdown if tree == BRANCH else 1.0
        return {"simulate_s": own * (1 + drift * runs) * float(rng.lognormal(0, noise)), "counters": {"events": 5}}

    return run


def test_pairs_turn_about() -> None:
    assert order(3) == [(False, True), (True, False), (False, True)]


def test_equal_trees_on_a_drifting_machine_are_not_called_slower() -> None:
    called = 0
    for seed in range(40):
        found = compare_trees(BASE, BRANCH, "quick", run=machine(1.0, drift=0.05, seed=seed))
        called += found.slower()
        assert found.ratio.value == pytest.approx(1.0, abs=0.05)
    assert called == 0


def test_a_branch_a_fifth_slower_is_found() -> None:
    found = [compare_trees(BASE, BRANCH, "quick", run=machine(1.2, seed=seed)) for seed in range(40)]
    assert sum(each.slower() for each in found) == 40
    assert all(each.ratio.value == pytest.approx(1.2, abs=0.06) for each in found)
    assert "every counter is the same" in found[0].text()


def test_other_work_is_said_first() -> None:
    def run(tree: Path, scenario: str, sets: Sequence[str]) -> dict[str, Any]:
        return {"simulate_s": 1.0, "counters": {"events": 5 if tree == BASE else 6}}

    found = compare_trees(BASE, BRANCH, "quick", pairs=2, run=run)
    assert found.counters == (("events", 5, 6),)
    assert found.text().startswith("1 exact counters differ:\n  events: 5 → 6")
    with pytest.raises(InputError, match="must be at least 2"):
        compare_trees(BASE, BRANCH, "quick", pairs=1)


def test_a_tree_runs_in_its_own_process() -> None:
    sets = ["horizon_s=5", "warm_up_s=0", "nodes.pools.general.count=2"]
    first, second = (run_tree(ROOT, "quick", sets) for _ in range(2))
    assert first["counters"] == second["counters"]
    assert first["simulate_s"] > 0
    with pytest.raises(InputError, match="does not run there"):
        run_tree(ROOT, "quik", sets)


def test_a_commit_that_is_not_there_is_refused(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    with pytest.raises(InputError, match="'v0' cannot be checked out"):
        compare_with_commit("v0", "quick", root=tmp_path)
