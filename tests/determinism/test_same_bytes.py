"""Same scenario, same seed: the same bytes in another process, whatever its hash seed; other seeds differ."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import hashlib, sys
import numpy as np
from sim.scenario import Scenario
from sim.simulate import simulate
result = simulate(Scenario.load("quick"), seed=int(sys.argv[1]), replication=int(sys.argv[2]))
record = result.record
digest = hashlib.sha256()
for table in (record.pods, record.requests, record.series):
    for name, column in table.items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(column).tobytes())
digest.update(repr((record.request_kinds, record.resources, record.counters, record.reasons)).encode())
print(digest.hexdigest())
"""


def digest(hash_seed: str, seed: int = 7, replication: int = 0) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(seed), str(replication)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_two_processes_two_hash_seeds():
    assert digest("0") == digest("4711")


def test_seed_and_replication_matter():
    assert len({digest("0"), digest("0", seed=8), digest("0", replication=1)}) == 3
