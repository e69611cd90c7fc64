"""The pytest plugin: the fixture `kubedes`, in whose tests a simulated cluster is asserted on.

    import pytest

    @pytest.mark.kubedes("quick", sets={"nodes.count": 10})
    def test_slo(kubedes):
        kubedes.assert_objectives()                      # Kubernetes' own service levels
        kubedes.gate("baselines/quick.json")             # levels stay within the baseline's intervals
        assert kubedes.run().pods["startup_s"].quantile(0.99) < 3

`pytest --kubedes-update` writes the baselines instead of comparing. Registered by the entry point `pytest11`, so it is
there wherever kubedes is installed; nothing of the simulator is imported before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from experiments.regression.gate import Gate
    from sim.result.result import Result
    from sim.scenario import Scenario

MARKER = "kubedes(scenario, sets={}, seed=None): what the fixture `kubedes` of this test runs by default"
RUNS: pytest.StashKey[dict[tuple[str, int, int], Any]] = pytest.StashKey()
"""Results of this session by (resolved scenario, seed, replication): equal runs are made once."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("kubedes").addoption(
        "--kubedes-update",
        action="store_true",
        help="write the baselines of kubedes.gate(…) instead of comparing with them",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    config.stash[RUNS] = {}


@pytest.fixture
def kubedes(request: pytest.FixtureRequest) -> Kubedes:
    """Runs scenarios and judges them; the test's marker `kubedes` says which scenario is meant by default."""
    return Kubedes(request)


class Kubedes:
    """What a test asks of the simulator. Scenario files and baselines are looked for beside the test's own file."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._folder = request.path.parent
        self._runs = request.config.stash[RUNS]
        self._update = bool(request.config.getoption("--kubedes-update"))
        marker = request.node.get_closest_marker("kubedes")
        self._name, self._sets, self._seed = _marked(*marker.args, **marker.kwargs) if marker else ("", {}, None)

    def scenario(self, scenario: str = "", sets: Mapping[str, Any] | None = None, seed: int | None = None) -> Scenario:
        """The scenario that is run: the marker's, unless another is named; `sets` are laid over the marker's."""
        from sim.scenario import Scenario

        name, values, seed = self._asked(scenario, sets, seed)
        path = self._folder / name
        return Scenario.load(path if path.is_file() else name, {**values, **({} if seed is None else {"seed": seed})})

    def run(
        self, scenario: str = "", sets: Mapping[str, Any] | None = None, seed: int | None = None, replication: int = 0
    ) -> Result:
        """The result of a run; a run that a test of this session has asked for already is not made again."""
        from sim.simulate import simulate

        loaded = self.scenario(scenario, sets, seed)
        key = (f"{loaded.base_dir}\n{loaded.dump()}", loaded.seed, replication)
        if key not in self._runs:
            self._runs[key] = simulate(loaded, replication=replication)
        result: Result = self._runs[key]
        return result

    def assert_objectives(self, result: Result | None = None) -> None:
        """Fail if one of Kubernetes' own service levels is missed in `result`; none: in the test's run."""
        __tracebackhide__ = True
        found = (result or self.run()).slo()
        missed = [
            f"{row.objective} of {row.subject}: p99 {row.worst_window_p99_s:.4g} s in its worst five minutes, "
            f"the limit is {row.limit_s:g} s; {row.good_minutes} of {row.minutes} minutes are good"
            for row in found[found.verdict == "missed"].itertuples()
        ]
        if missed:
            pytest.fail("\n".join([f"{len(missed)} service levels are missed:", *missed]), pytrace=False)

    def gate(
        self,
        baseline: str | Path,
        scenario: str = "",
        sets: Mapping[str, Any] | None = None,
        seed: int | None = None,
        replications: int | None = None,
        levels: tuple[str, ...] = (),
        exact: bool = False,
        allow_better: bool = False,
    ) -> Gate | None:
        """Fail if a service level has moved beyond its interval in `baseline`; returns what was found otherwise.

        With `--kubedes-update` the baseline is written instead, and None returned. levels, replications: of a baseline
        that is written. exact: counters must be equal too. allow_better: levels may improve beyond their intervals.
        """  # fmt: skip
        __tracebackhide__ = True
        from experiments.regression.baseline import LEVELS, REPLICATIONS, Baseline, Question, ask, load, save
        from experiments.regression.gate import compare

        path = self._folder / baseline
        name, values, seed = self._asked(scenario, sets, seed)
        written = tuple(f"{key}={_yaml(value)}" for key, value in values.items())
        asked = Question(name, written, seed, replications or REPLICATIONS, levels or LEVELS)
        if self._update:
            path.parent.mkdir(parents=True, exist_ok=True)
            save(Baseline(asked, ask(asked, self._folder)), path)
            return None
        known = load(path)
        if (known.question.scenario, known.question.sets, known.question.seed) != (
            asked.scenario,
            asked.sets,
            asked.seed,
        ):
            pytest.fail(
                f"{baseline}: is about {known.question.scenario} {' '.join(known.question.sets)}, this test asks for {name} "
                f"{' '.join(written)}; write it anew with --kubedes-update",
                pytrace=False,
            )
        found = compare(known, ask(known.question, self._folder), exact, allow_better)
        if not found.passed:
            pytest.fail(f"{baseline}\n{found.text()}", pytrace=False)
        return found

    def _asked(
        self, scenario: str, sets: Mapping[str, Any] | None, seed: int | None
    ) -> tuple[str, dict[str, Any], int | None]:
        if not (scenario or self._name):
            pytest.fail("no scenario: name one, or mark the test: @pytest.mark.kubedes('quick')", pytrace=False)
        if scenario and scenario != self._name:
            return scenario, dict(sets or {}), seed
        return self._name, {**self._sets, **(sets or {})}, self._seed if seed is None else seed


def _marked(
    scenario: str = "", sets: Mapping[str, Any] | None = None, seed: int | None = None
) -> tuple[str, dict[str, Any], int | None]:
    """The marker's arguments by their names: one that it does not take is a TypeError of the test."""
    return scenario, dict(sets or {}), seed


def _yaml(value: Any) -> str:
    """A value as `--set` reads it."""
    import json

    return value if isinstance(value, str) else json.dumps(value)
