"""What every scheduler plugin must do, whoever wrote it. A new plugin is covered by being in the catalog."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest

from sim.scheduler.core import Core
from sim.scheduler.framework import EXTENSION_POINTS, PLUGINS, SKIP, SUCCESS, UNRESOLVABLE, UNSCHEDULABLE, Plugin
from sim.scheduler.profiles import PROFILES, profile
from tests.scheduler.worlds import random_node, random_pod

NAMES = list(PLUGINS)
ARITHMETICS = ("1.34", "1.20", "1.12")


def arithmetic_of(name: str) -> str:
    """The newest version whose default profiles know the plugin; 1.34 for others."""
    for version in ("1.34", "1.20", "1.19", "1.12"):
        if name in PROFILES[version].plugin_names():
            return PROFILES[version].arithmetic
    return "1.20" if "_1_12" in inspect.getmodule(PLUGINS[name]).__name__ else "1.34"  # type: ignore[union-attr]


def world(seed: int, name: str) -> tuple[Core, Plugin, int]:
    """A core with random nodes and pods, the plugin, and a spec to ask it about."""
    rng = np.random.default_rng(seed)
    version = {"1.34": "1.34", "1.20": "1.20", "1.12": "1.12"}[arithmetic_of(name)]
    core = Core(profile(version), "lowest", 100)
    rows = [core.add_node(random_node(rng, index)) for index in range(25)]
    for pod in range(40):
        core.assume(pod, core.intern(random_pod(rng)), int(rng.choice(rows)))
    plugin = PLUGINS[name](None, arithmetic_of(name))
    plugin.name = name  # type: ignore[misc]
    return core, plugin, core.intern(random_pod(rng))


@pytest.mark.parametrize("name", NAMES)
def test_builds_with_defaults_and_documents_itself(name: str) -> None:
    for arithmetic in ARITHMETICS:
        assert PLUGINS[name]().top >= 10
        assert PLUGINS[name]({}, arithmetic).arithmetic == arithmetic
    assert PLUGINS[name].__doc__
    assert inspect.getmodule(PLUGINS[name]).__doc__  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [name for name in NAMES if "filter" in PLUGINS[name].points()])
@pytest.mark.parametrize("seed", range(4))
def test_filter(name: str, seed: int) -> None:
    """Known codes, a reason for every rejection, rows judged one by one or together, nothing written."""
    core, plugin, spec = world(seed, name)
    cycle = core.cycle(spec)
    before = core.nodes.amounts.copy()
    status = plugin.pre_filter(cycle)
    if status is not None and status.code != SUCCESS:
        assert status.code in (SKIP, UNSCHEDULABLE, UNRESOLVABLE)
        return
    rows = cycle.all_rows
    codes = plugin.filter(cycle, rows)
    assert codes.dtype == np.int8
    assert set(codes.tolist()) <= {SUCCESS, UNSCHEDULABLE, UNRESOLVABLE}
    halves = [plugin.filter(cycle, rows[:10]), plugin.filter(cycle, rows[10:])]
    assert np.array_equal(codes, np.concatenate(halves))
    for row in rows[codes != SUCCESS]:
        assert plugin.reasons(cycle, int(row))
    assert np.array_equal(before, core.nodes.amounts)
    for key in core.tallies.known():
        assert np.array_equal(core.tallies.column(key), core.tallies.recount(key))


@pytest.mark.parametrize("name", [name for name in NAMES if "score" in PLUGINS[name].points()])
@pytest.mark.parametrize("seed", range(4))
def test_score(name: str, seed: int) -> None:
    """Scores in range for any feasible set, aligned with the rows, whatever their order."""
    core, plugin, spec = world(seed, name)
    cycle = core.cycle(spec)
    for rows in (cycle.all_rows, cycle.all_rows[3:4], cycle.all_rows[::-1].copy()):
        status = plugin.pre_score(cycle, rows)
        if status is not None and status.code == SKIP:
            continue
        scores = plugin.normalize_score(cycle, rows, plugin.score(cycle, rows))
        assert scores.dtype == np.int64
        assert scores.shape == rows.shape
        assert scores.min() >= 0
        assert scores.max() <= plugin.top
        if len(rows) == len(cycle.all_rows):
            by_row = dict(zip(rows.tolist(), scores.tolist(), strict=True))
            again = plugin.normalize_score(cycle, cycle.all_rows, _score(plugin, cycle, cycle.all_rows))
            assert [by_row[row] for row in cycle.all_rows.tolist()] == again.tolist()


def _score(plugin: Plugin, cycle: object, rows: np.ndarray) -> np.ndarray:
    plugin.pre_score(cycle, rows)  # type: ignore[arg-type]
    return plugin.score(cycle, rows)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in NAMES if "pod_added" in vars(PLUGINS[name])])
@pytest.mark.parametrize("seed", range(4))
def test_dry_run_changes_can_be_undone(name: str, seed: int) -> None:
    """A pod added and removed leaves every verdict as it was."""
    core, plugin, spec = world(seed, name)
    cycle = core.cycle(spec)
    status = plugin.pre_filter(cycle)
    if status is not None and status.code != SUCCESS:
        return
    before = plugin.filter(cycle, cycle.all_rows)
    for info in core.infos[:10]:
        plugin.pod_added(cycle, info, 3, False)
        plugin.pod_removed(cycle, info, 3, False)
    assert np.array_equal(before, plugin.filter(cycle, cycle.all_rows))


@pytest.mark.parametrize("version", list(PROFILES))
def test_profiles_name_plugins_that_have_the_point(version: str) -> None:
    given = PROFILES[version]
    for point in EXTENSION_POINTS:
        names = getattr(given, point, ())
        if point == "score":
            names = [name for name, _ in given.score]
        elif point == "queue_sort":
            names = [given.queue_sort]
        for name in names:
            if (name, point) in (("NodeResourcesFit", "pre_filter"), ("DefaultPreemption", "post_filter")):
                continue  # the filter prepares itself; preemption is asked through Core.preempt
            assert point in PLUGINS[name].points() or point == "pre_filter", (name, point)


def test_default_profiles_are_data() -> None:
    """A profile can be changed by replacing fields, without touching code."""
    changed = replace(profile("1.34"), score=(("NodeResourcesFit", 5),)).with_weights({"NodeResourcesFit": 7})
    assert changed.score == (("NodeResourcesFit", 7),)
