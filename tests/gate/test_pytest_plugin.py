"""The pytest plugin, run on suites of its own."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

PLUGIN = "experiments.regression.plugin"
SUITE = """
import pytest

SHORT = {"horizon_s": 15, "warm_up_s": 0, "nodes.pools.general.count": 3}

@pytest.mark.kubedes("quick", sets=SHORT)
def test_objectives(kubedes):
    kubedes.assert_objectives()
    assert kubedes.run() is kubedes.run(sets={"nodes.pools.general.count": 3})
    assert kubedes.run(seed=5) is not kubedes.run()
    assert kubedes.run("quick", {"horizon_s": 10}).record.end_s == 10

@pytest.mark.kubedes("quick", sets=SHORT)
def test_gate(kubedes):
    kubedes.gate("baselines/quick.json", replications=2, levels=("pod_startup_p99", "scheduling_p99"), exact=True)
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A user's suite. The plug-in is named here, so that the test does not depend on what is installed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    pytester.makepyfile(SUITE)
    return pytester


def run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return suite.runpytest_subprocess("-p", PLUGIN, "-p", "no:cacheprovider", "--strict-markers", *arguments)


def test_a_suite_writes_its_baseline_passes_and_fails_when_the_cluster_slows(suite: pytest.Pytester) -> None:
    run(suite).assert_outcomes(passed=1, failed=1)  # no baseline yet
    run(suite, "-k", "test_gate", "--kubedes-update").assert_outcomes(passed=1, deselected=1)
    run(suite).assert_outcomes(passed=2)
    file = suite.path / "baselines" / "quick.json"
    file.write_text(file.read_text().replace('"nodes.pools.general.count=3"', '"nodes.pools.general.count=9"'))
    other = run(suite, "-k", "test_gate")
    other.assert_outcomes(failed=1, deselected=1)
    other.stdout.fnmatch_lines(["*is about quick*this test asks for quick*write it anew with --kubedes-update*"])


def test_a_failing_gate_reads_well(suite: pytest.Pytester) -> None:
    run(suite, "-k", "test_gate", "--kubedes-update")
    file = suite.path / "baselines" / "quick.json"
    suite.makeconftest(
        """
import pytest

@pytest.fixture(autouse=True)
def slow(monkeypatch):
    from sim.images.sources.single import SingleRegistry
    connect = SingleRegistry.connect
    monkeypatch.setattr(SingleRegistry, "servers", lambda self, nodes: (1e7,))
    monkeypatch.setattr(
        SingleRegistry, "connect", lambda self, site: connect(self.model_copy(update={"bandwidth_bytes_per_s": 1e7}), site)
    )
"""
    )
    assert file.is_file()
    found = run(suite, "-k", "test_gate")
    found.assert_outcomes(failed=1, deselected=1)
    found.stdout.fnmatch_lines(
        ["*of 2 service levels moved beyond their intervals:*", "*pod_startup_p99*worse*", "*image pull:*→*"]
    )
    assert "Traceback" not in found.stdout.str()


def test_missed_objectives_and_a_missing_scenario_are_said(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
import pytest

@pytest.mark.kubedes("quick", sets={"horizon_s": 90, "warm_up_s": 0, "kubelet.volume_poll_s": 8})
def test_missed(kubedes):
    kubedes.assert_objectives()

def test_nothing(kubedes):
    kubedes.run()

@pytest.mark.kubedes("quick", set={})
def test_slip(kubedes):
    kubedes.run()
"""
    )
    found = run(suite)
    found.assert_outcomes(failed=2, errors=1)
    found.stdout.fnmatch_lines(
        ["*service levels are missed:*", "pod start-up of schedulable stateless pods: p99 * the limit is 5 s*"]
    )
    found.stdout.fnmatch_lines(["*no scenario: name one, or mark the test*"])


def test_the_plugin_is_registered_and_light(pytester: pytest.Pytester) -> None:
    root = Path(__file__).resolve().parents[2]
    points = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert points == {"kubedes": PLUGIN}
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r}); import {PLUGIN}; "
        "print({'numpy', 'pandas', 'numba', 'simpy', 'pydantic'} & set(sys.modules))"
    )
    found = pytester.runpython_c(code)
    assert found.stdout.str().strip() == "set()"
