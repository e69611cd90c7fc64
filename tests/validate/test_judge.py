"""Verdicts: within the aim or the floor, whichever is larger; what calibrates, is unusable or only shown is not judged."""

from __future__ import annotations

import pytest

from experiments.validate.judge import Metric, Outcome, Row, lines

METRICS = {"a": Metric("ms", 1e3, 15.0), "b": Metric("", 1.0, None)}


def _verdict(values, simulated, metric="a", **row):
    found = lines(Row("family", "row", None, {metric: values}, **row), Outcome({metric: simulated}), METRICS)
    return found[0]


@pytest.mark.parametrize(
    ("values", "simulated", "row", "verdict"),
    [
        ([0.100], 0.114, {}, "within"),
        ([0.100], 0.116, {}, "MISSED"),
        ([0.100], 0.116, {"floors": {"a": 20.0}}, "within"),
        ([0.090, 0.110], 0.119, {}, "within"),  # repetitions differ by 20 %
        ([0.100], 0.112, {"timed": frozenset({"a"})}, "MISSED"),
        ([0.100], 0.200, {"calibrates": True}, "calibrated"),
        ([0.100], 0.200, {"unusable": "noise"}, "not judged"),
        ([0.100], 0.200, {"shown": frozenset({"a"})}, "not judged"),
        ([0.0], 0.0, {}, "within"),
        ([0.0], 0.1, {}, "MISSED"),
    ],
)
def test_verdicts(values, simulated, row, verdict):
    assert _verdict(values, simulated, **row)["verdict"] == verdict


def test_figures_are_shown_in_their_units():
    line = _verdict([0.090, 0.110], 0.120)
    assert (line["measured"], line["simulated"], line["floor_percent"]) == (
        pytest.approx(100),
        pytest.approx(120),
        20.0,
    )
    assert line["error_percent"] == pytest.approx(20.0)


def test_a_metric_without_an_aim_is_shown():
    assert _verdict([1.0], 2.0, metric="b")["verdict"] == "not judged"


def test_a_failed_replay_is_no_miss():
    row = Row("family", "row", None, {"a": [1.0]})
    assert lines(row, Outcome({}, failed="why"), METRICS)[0]["verdict"] == "not replayed"
