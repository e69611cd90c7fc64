"""What the machinery of a sweep costs beside its runs, and what its parent holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sim
from experiments import Sweep, launch, store

ROOT = Path(__file__).resolve().parents[2]
TWO_SECONDS = {"horizon_s": 120, "nodes.pools.general.count": 600, "workload.rate_per_s": 25}
"""Over `quick`: a run of about two seconds on the machine this was written on."""
MOST_OVERHEAD = 0.05
MOST_PARENT_BYTES = 500 * 2**20


def spent(folder: Path, workers: int, replications: int) -> launch.Spent:
    sweep = Sweep(sim.Scenario.load("quick", TWO_SECONDS), replications=replications)
    designs = sweep.designs()
    about = {"kind": "sweep", "identity": "bench", "name": "bench", "paths": []}
    with store.ExperimentFolder(folder, about) as place, launch.Launcher(place, workers, quiet=True) as launcher:
        place.expect(designs, replications + workers)
        launcher.run((designs[0], replications + i) for i in range(max(workers, 1)))  # workers are started and warm
        launcher.run((designs[0], rep) for rep in range(replications))
        assert launcher.spent.failed == 0
        return launcher.spent


@pytest.mark.bench
def test_the_machinery_costs_little_beside_the_runs(tmp_path):
    one = spent(tmp_path / "one", 1, 8)
    tasks = one.task_s - one.simulate_s
    waits = one.wall_s - one.task_s
    shares = f"results {tasks / one.simulate_s:.1%}, launching {waits / one.simulate_s:.1%}"
    print(f"\n{one.runs} runs of {one.simulate_s / one.runs:.2f} s: {shares}")
    assert waits <= MOST_OVERHEAD * one.simulate_s
    assert tasks <= 3 * MOST_OVERHEAD * one.simulate_s


@pytest.mark.bench
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_workers_are_nearly_twice_as_fast(tmp_path):
    if os.getloadavg()[0] > 0.5 * (os.cpu_count() or 1):
        pytest.skip("the machine is busy with something else, which would take the second core")
    one, two = spent(tmp_path / "one", 1, 10), spent(tmp_path / "two", 2, 10)
    gain = one.wall_s / two.wall_s
    print(f"\ntwo workers: {gain:.2f} times the throughput of one")
    assert gain >= 1.8


@pytest.mark.bench
def test_a_thousand_runs_leave_the_parent_small(tmp_path):
    code = (
        "import resource, sys, sim, experiments\n"
        "if __name__ == '__main__':\n"
        "    cluster = sim.Scenario.load('quick', {'horizon_s': 2, 'warm_up_s': 0, 'nodes.pools.general.count': 1})\n"
        "    runs = experiments.run(experiments.Sweep(cluster, replications=1000), sys.argv[1], workers=2, quiet=True)\n"
        "    assert runs.table['status'].tolist() == ['done'] * 1000, runs.table['error'].value_counts()\n"
        "    assert runs.summary['rep'].nunique() == 1000\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)\n"
    )
    script = tmp_path / "sweep.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script, tmp_path / "out"], env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, check=True)
    held = int(done.stdout.split()[-1])
    print(f"\nparent of 1,000 runs: {held / 2**20:.0f} MiB")
    assert held <= MOST_PARENT_BYTES
