"""Speed and memory of whole runs and of the command line, each in a fresh process on one core.

Prints events and wall microseconds a pod. Every run also asserts its answer: a fast wrong run fails.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.bench

RUN = """
import json, resource, sys, time
from sim.scenario import Scenario
from sim.simulate import simulate
begun_s = time.process_time()
result = simulate(Scenario.load(sys.argv[1]))
cpu_s = time.process_time() - begun_s
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"wall": result.record.wall, "cpu_s": cpu_s, "counters": result.record.counters, "peak_bytes": peak}))
"""


def python(*arguments: str, **environment: str) -> tuple[str, float]:
    """Run Python in a fresh process; (its output, wall seconds)."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment})
    return done.stdout, time.perf_counter() - begun


def run(scenario: str) -> dict:
    answer = json.loads(python("-c", RUN, scenario)[0])
    counters, wall = answer["counters"], answer["wall"]
    print(f"\n{scenario}: {wall['simulate_s']:.1f} s, {counters['events'] / counters['pods']:.1f} events a pod, "
          f"{1e6 * wall['simulate_s'] / counters['pods']:.0f} us a pod, {answer['peak_bytes'] / 2**20:.0f} MiB")
    return answer


def test_public_cloud() -> None:
    answer = run("public-cloud")
    counters = answer["counters"]
    assert 18_000 <= counters["pods"] <= 24_000
    assert counters["pods_started"] > 0.9 * counters["pods"]
    assert counters["events"] / counters["pods"] < 80
    assert answer["wall"]["simulate_s"] <= 10


def test_churn() -> None:
    """150,000 pods run when the hour begins, each known to every component, and about 20 a second go and come."""
    answer = run("churn")
    counters = answer["counters"]
    assert counters["pods_running"] > 140_000
    assert counters["pods_started"] > 0.9 * 20 * 3600
    churned = counters["pods_started"] + counters["pods_deleted"]
    assert counters["events"] - 700 * 3600 < 40 * churned, "heartbeats of 5,000 nodes are 670 events a second"
    assert answer["cpu_s"] <= 60


def test_density() -> None:
    answer = run("density")
    counters = answer["counters"]
    assert counters["pods"] == counters["pods_running"] == 150_000
    assert counters["etcd_puts"] > 500 * 1_500, "heartbeats of 5,000 nodes are in it"
    assert counters["events"] / counters["pods"] < 60
    assert answer["wall"]["simulate_s"] <= 60
    assert answer["peak_bytes"] <= 1.5 * 2**30


def test_cold_kernels(tmp_path: Path) -> None:
    """A first run with an empty kernel cache compiles within 15 s; the second finds them."""
    program = "from sim import kernels; import sim.simulate; w = kernels.warm(); print(w.ready, w.seconds)"
    seconds = []
    for _ in range(2):
        ready, took = python("-c", program, NUMBA_CACHE_DIR=str(tmp_path))[0].split()
        assert int(ready) > 0
        seconds.append(float(took))
    print(f"\nkernels: {ready} compiled in {seconds[0]:.1f} s, found again in {seconds[1]:.2f} s")
    assert seconds[0] <= 15
    assert seconds[1] < seconds[0] / 3
    shutil.rmtree(tmp_path)


def test_import_and_help() -> None:
    bare = min(python("-c", "pass")[1] for _ in range(5))
    imported = min(python("-c", "import sim")[1] for _ in range(5))
    helped = min(python("-m", "experiments.cli", "--help")[1] for _ in range(5))
    print(f"\nimport sim: {imported - bare:.2f} s; kubedes --help: {helped:.2f} s")
    assert imported - bare <= 0.5
    assert helped <= 0.7
