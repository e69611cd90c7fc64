"""The house stays as README.md draws it, carries nothing of the machine it was made on, and is light to import."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def committed() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_the_map_in_the_readme_names_every_folder():
    readme = (ROOT / "README.md").read_text()
    folders = [
        path.relative_to(ROOT)
        for top in ("sim", "workloads", "experiments")
        for path in [ROOT / top, *(ROOT / top).iterdir()]
        if (path / "__init__.py").exists()
    ]
    assert len(folders) > 10
    missing = [str(path) for path in folders if not re.search(rf"(?<![\w]){re.escape(path.name)}/", readme)]
    assert not missing, f"not in README.md's map: {missing}"


def test_nothing_committed_names_a_registry_or_a_place_on_a_machine():
    host = re.compile(r"(?:py" r"pi\.org|pythonhosted\.org|/simple/[a-z]|--(?:extra-)?index" r"-url)")
    place = re.compile(r"(?:^|[\s\"'(=])/(?:home|Users|work|root|tmp)/[\w.-]+")
    found = []
    for path in committed():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if path != Path(__file__) and (host.search(line) or place.search(line)):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)


def test_constraints_are_plain_pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert len(lines) > 50
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[\w.!+]+", line) for line in lines)


def test_importing_sim_stays_light():
    code = "import sys, time; t = time.perf_counter(); import sim; print(time.perf_counter() - t); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    seconds, modules = out.split("\n", 1)
    assert not {"numba", "pandas", "matplotlib", "pyarrow"} & set(modules.split())
    assert float(seconds) < 5  # generous: machines differ, and the modules above are what makes it slow
