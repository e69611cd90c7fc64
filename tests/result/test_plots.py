"""Figures: every one is drawn from any result, with a bounded number of points, without a display."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from sim.result.plots import CURVE_POINTS, FIGURES, binned, cdf, thinned
from sim.result.result import Result
from tests.result.synthetic import bare_record, make_record

RESULTS = {
    "whole": Result(make_record()),
    "one pod": Result(make_record(pods=1, nodes=1)),
    "empty": Result(bare_record()),
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("which", RESULTS)
def test_every_figure_is_drawn(name: str, which: str) -> None:
    figure = getattr(RESULTS[which].plot, name)()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    assert figure._repr_png_().startswith(b"\x89PNG")
    for axes in figure.axes:
        assert all(len(line.get_xdata()) <= CURVE_POINTS for line in axes.get_lines())


@pytest.mark.parametrize("name", ["startup_cdf", "latency_cdf", "utilisation", "nodes_fill"])
def test_axes_say_what_they_show(name: str) -> None:
    (axes,) = getattr(RESULTS["whole"].plot, name)().axes
    assert axes.get_xlabel()
    assert axes.get_ylabel()


def test_no_text_of_the_breakdown_overlaps_another() -> None:
    figure = RESULTS["whole"].plot.startup_breakdown()
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for axes in figure.axes for text in axes.texts]
    assert len(boxes) > 15
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_a_thinned_cdf_is_the_cdf() -> None:
    values = np.random.default_rng(3).lognormal(size=200_000)
    x, y = cdf(values)
    assert len(x) <= CURVE_POINTS
    assert np.allclose(np.searchsorted(np.sort(values), x, side="right") / len(values), y, atol=1e-4)
    assert x[-1] == values.max()


def test_a_binned_series_keeps_means_and_peaks() -> None:
    values = np.zeros(86_400)
    values[1234] = 50.0
    time = np.arange(1.0, 86_401.0)
    when, largest = binned(time, values, largest=True)
    assert len(when) <= CURVE_POINTS
    assert largest.max() == 50.0
    assert when[-1] == time[-1]
    _, mean = binned(time, values, largest=False)
    assert mean.mean() == pytest.approx(values.mean())


def test_thinning_keeps_both_ends() -> None:
    kept = thinned(np.arange(10_000))
    assert (kept[0], kept[-1]) == (0, 9_999)
    assert len(kept) <= CURVE_POINTS
    assert thinned(np.arange(3)).tolist() == [0, 1, 2]


def test_a_queue_that_stayed_empty_has_no_panel() -> None:
    record = make_record(pods=20)
    record.series["apiserver_waiting"][:] = 0.0
    titles = [axes.get_title(loc="left") for axes in Result(record).plot.queues().axes if axes.get_visible()]
    assert titles == ["scheduling queue (pods)", "bind rate limit (pods)"]
