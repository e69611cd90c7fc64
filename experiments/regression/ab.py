"""Is this tree slower than that commit? Two source trees run the same scenario side by side, in the order ABBA.

Never against a stored time of another hour or machine: pairs are timed within moments of each other, the answer is the ratio
of their times with a bootstrap interval, and a change counts as slower only where the whole interval lies beyond the limit.
Counters are compared first, exactly: a tree that does other work is not compared by time alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.statistics import Interval, bootstrap_interval
from sim.base.errors import InputError

PAIRS = 8
LIMIT = 1.05
"""Slower than this counts, for whole scenarios."""
RESAMPLING_SEED = 1
RUN = """
import json, sys
from sim.scenario import Scenario
from sim.simulate import simulate
result = simulate(Scenario.load(sys.argv[1], sys.argv[2:]))
print(json.dumps({"simulate_s": result.record.wall["simulate_s"], "counters": result.record.counters}))
"""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Comparison:
    """Times of two trees, pair by pair."""

    base_s: tuple[float, ...]
    branch_s: tuple[float, ...]
    ratio: Interval
    """Branch by base: geometric mean over the pairs."""
    counters: tuple[tuple[str, int, int], ...]
    """Exact counters that differ: name, base, branch."""

    def slower(self, limit: float = LIMIT) -> bool:
        """Whether the branch is slower beyond doubt: the whole interval lies above `limit`."""
        return self.ratio.low > limit

    def text(self) -> str:
        lines = [f"{name}: {base:,} → {branch:,}" for name, base, branch in self.counters]
        head = (
            [f"{len(lines)} exact counters differ:", *(f"  {line}" for line in lines)]
            if lines
            else ["every counter is the same"]
        )
        fastest = f"fastest {min(self.base_s):.3f} s against {min(self.branch_s):.3f} s"
        return "\n".join(
            [*head, f"time of the branch by that of the base: {self.ratio}, {len(self.base_s)} pairs, {fastest}"]
        )


def order(pairs: int) -> list[tuple[bool, bool]]:
    """Which tree runs first in each pair (False: base): AB, BA, AB, … so that a drift of the machine favours neither."""
    return [(False, True) if pair % 2 == 0 else (True, False) for pair in range(pairs)]


def compare_trees(
    base: Path,
    branch: Path,
    scenario: str,
    sets: Sequence[str] = (),
    pairs: int = PAIRS,
    run: Callable[[Path, str, Sequence[str]], dict[str, Any]] | None = None,
) -> Comparison:
    """Time a scenario in two source trees. run: how a tree is run, for tests. Raises InputError for fewer than two pairs."""  # fmt: skip
    if pairs < 2:
        raise InputError(f"pairs: {pairs} must be at least 2: one has no interval")
    run = run or run_tree
    trees = (base, branch)
    first = [run(tree, scenario, sets) for tree in trees]  # compiles kernels; not timed
    times: tuple[list[float], list[float]] = ([], [])
    for pair in order(pairs):
        for which in pair:
            times[which].append(float(run(trees[which], scenario, sets)["simulate_s"]))
    logs = np.log(np.array(times[True]) / np.array(times[False]))
    found = bootstrap_interval(
        [np.array([each]) for each in logs],
        lambda values: float(np.exp(values.mean())),
        np.random.default_rng(RESAMPLING_SEED),
    )
    before, after = (each["counters"] for each in first)
    names = dict.fromkeys((*before, *after))
    differ = tuple(
        (name, before.get(name, 0), after.get(name, 0)) for name in names if before.get(name) != after.get(name)
    )
    return Comparison(tuple(times[False]), tuple(times[True]), found, differ)


def compare_with_commit(
    commit: str, scenario: str, sets: Sequence[str] = (), pairs: int = PAIRS, root: Path | None = None
) -> Comparison:
    """Time the working tree at `root` (none: this source tree) against a commit of it, checked out beside for as long.

    Raises InputError where there is no such commit, or no git checkout.
    """
    root = root or Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory(prefix="kubedes-base-") as folder:
        base = Path(folder) / "base"
        done = subprocess.run(
            ["git", "worktree", "add", "--detach", "--quiet", str(base), commit],
            cwd=root,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise InputError(f"commit: '{commit}' cannot be checked out in {root}: {done.stderr.strip()}")
        try:
            return compare_trees(base, root, scenario, sets, pairs)
        finally:
            subprocess.run(
                ["git", "worktree", "remove", "--force", str(base)], cwd=root, capture_output=True, check=False
            )


def run_tree(tree: Path, scenario: str, sets: Sequence[str]) -> dict[str, Any]:
    """One run of a scenario by the sources in `tree`, in a process of its own with one thread."""
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(tree)}
    done = subprocess.run(
        [sys.executable, "-c", RUN, scenario, *sets], cwd=tree, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise InputError(
            f"{tree}: the scenario '{scenario}' does not run there: {done.stderr.strip().splitlines()[-1:]}"
        )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
