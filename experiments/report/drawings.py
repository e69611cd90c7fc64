"""Figures of comparisons, sweeps and sensitivities, in the style of a result's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from experiments.statistics import mean_interval
from sim.result.bottlenecks import seconds_text
from sim.result.plots import LINE_COLOURS, QUIET, ROOM_COLOURS, STYLE, WIDTH_IN, Plot

A, B = ROOM_COLOURS["apiserver"][0], ROOM_COLOURS["scheduler"][0]
"""Colours of the two sides of a comparison."""
BETTER, WORSE = ROOM_COLOURS["kubelet"][0], ROOM_COLOURS["images"][0]
MOST_CELLS = 400
"""A larger heat map cannot be read."""
MOST_NUMBERS = 120
"""Cells of a heat map that still have room for their values."""
MATERIAL = 0.005
"""A stage whose difference is below this share of the largest would be an empty line."""
BAND = 0.16
"""Opacity of an interval around a curve."""


def amount(value: float, unit: str) -> str:
    """A value with its unit for people."""
    if not np.isfinite(value):
        return "–"
    if unit == "s":
        return seconds_text(value)
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def _axis(unit: str) -> FuncFormatter:
    def tick(value: float, _: int | None = None) -> str:
        number, _blank, after = amount(value, unit).partition(" ")
        return f"{float(number.replace(',', '')):,g} {after}".rstrip() if value else "0"

    return FuncFormatter(tick)


# --- two designs


def startup_curves(startup: pd.DataFrame, names: tuple[str, str]) -> Figure:
    """Share of pods started within a time, both sides, each with the interval of its mean curve over the runs."""
    with rc_context(STYLE):
        figure = Plot(figsize=(WIDTH_IN, 3.2))
        axes = figure.subplots()
        largest = 0.0
        for letter, name, colour in (("a", names[0], A), ("b", names[1], B)):
            known = startup.dropna(subset=[letter])
            if not len(known):
                continue
            axes.plot(known[letter], known["share"], color=colour, label=name)
            axes.fill_betweenx(known["share"], known[f"{letter}_low"], known[f"{letter}_high"], color=colour, alpha=BAND, linewidth=0)
            largest = max(largest, float(known[letter].max()))
        axes.set_ylim(0, 1.02)
        axes.set_xlim(0, largest * 1.05 or 1.0)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.xaxis.set_major_formatter(_axis("s"))
        axes.set_ylabel("share of pods")
        axes.set_xlabel("created to seen running")
        _legend(figure, axes)
        return figure


def stage_differences(stages: pd.DataFrame) -> Figure:
    """Where the second side's pods spend more or less time, stage by stage, with intervals."""
    shown = stages[stages["difference_s"].abs() >= MATERIAL * stages["difference_s"].abs().max()]
    with rc_context(STYLE):
        figure = Plot(figsize=(WIDTH_IN, 1.0 + 0.27 * max(len(shown), 2)))
        axes = figure.subplots()
        for place, row in enumerate(_rows(shown)):
            colour = WORSE if row.difference_s > 0 else BETTER
            axes.barh(place, row.difference_s, height=0.62, color=colour, linewidth=0)
            if np.isfinite(row.difference_low_s):
                axes.hlines(place, row.difference_low_s, row.difference_high_s, color=QUIET[0], linewidth=1.2)
        axes.axvline(0, color=QUIET[0], linewidth=0.8)
        axes.set_yticks(range(len(shown)), list(shown["stage"]))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_formatter(_axis("s"))
        axes.set_xlabel("mean time in the stage, second side less first")
        return figure


def changes(table: pd.DataFrame) -> Figure:
    """Every figure's change in percent with its interval; coloured where it is beyond doubt."""
    shown = table[table["percent"].notna() & table["a"].ne(0) & ~table["metric"].str.endswith("_queue")].head(30)
    with rc_context(STYLE):
        figure = Plot(figsize=(WIDTH_IN, 0.9 + 0.235 * max(len(shown), 2)))
        axes = figure.subplots()
        colours = {"better": BETTER, "worse": WORSE}
        for place, row in enumerate(_rows(shown)):
            colour = colours.get(str(row.verdict), QUIET[0])
            scale = 100 / abs(row.a)
            if np.isfinite(row.difference_low):
                axes.hlines(place, row.difference_low * scale, row.difference_high * scale, color=colour, linewidth=1.6)
            axes.plot(row.percent, place, "o", color=colour, markersize=4.5)
        axes.axvline(0, color=QUIET[0], linewidth=0.8)
        axes.set_yticks(range(len(shown)), [f"{row.metric.replace('_', ' ')} {row.statistic}" for row in _rows(shown)])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+.0f} %" if value else "0"))
        axes.set_xlabel("change against the first side")
        return figure


# --- a sweep


def along_axis(values: pd.DataFrame, path: str, metric: str, unit: str, by: str | None = None) -> Figure:
    """A metric along one axis of numbers, its mean with the interval; a line for each value of `by`.

    values: columns `path`, `by`, rep, value: one row a run.
    """
    with rc_context(STYLE):
        figure = Plot(figsize=(WIDTH_IN, 3.2))
        axes = figure.subplots()
        groups: list[tuple[Any, pd.DataFrame]] = [("", values)] if by is None else list(values.groupby(by, sort=False, observed=True))
        for (name, group), colour in zip(groups, LINE_COLOURS, strict=False):
            points = [(float(str(x)), mean_interval(part["value"].to_numpy(float))) for x, part in group.groupby(path)]
            x = [point for point, _ in points]
            label = f"{by.rpartition('.')[2]} {name!s}" if by else ""
            axes.plot(x, [i.value for _, i in points], color=colour, marker="o", markersize=4, label=label)
            axes.fill_between(x, [i.low for _, i in points], [i.high for _, i in points], color=colour, alpha=BAND, linewidth=0)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(_axis(unit))
        axes.set_ylabel(metric.replace("_", " "))
        axes.set_xlabel(path)
        if by is not None:
            _legend(figure, axes)
        return figure


def heat_map(values: pd.DataFrame, across: str, down: str, metric: str, unit: str) -> Figure:
    """A metric's mean over two axes; darker is more."""
    table = values.pivot_table("value", down, across, aggfunc="mean", sort=False)
    if all(isinstance(x, int | float) for x in table.columns):
        table = table.sort_index(axis=1)
    if all(isinstance(y, int | float) for y in table.index):
        table = table.sort_index(axis=0, ascending=False)
    with rc_context({**STYLE, "axes.grid": False}):
        figure = Plot(figsize=(WIDTH_IN, min(1.2 + 0.4 * len(table), 7.0)))
        axes = figure.subplots()
        numbers = table.to_numpy(float)
        mesh = axes.imshow(numbers, aspect="auto", cmap="YlGnBu")
        axes.set_xticks(range(table.shape[1]), [_label(x) for x in table.columns])
        axes.set_yticks(range(table.shape[0]), [_label(y) for y in table.index])
        axes.set_xlabel(across)
        axes.set_ylabel(down)
        if numbers.size <= MOST_NUMBERS:
            middle = (np.nanmin(numbers) + np.nanmax(numbers)) / 2
            for (row, column), value in np.ndenumerate(numbers):
                colour = "white" if value > middle else "black"
                axes.text(column, row, amount(value, unit), ha="center", va="center", fontsize=8.5, color=colour)
        else:
            figure.colorbar(mesh, ax=axes, format=_axis(unit))
        return figure


def forest(values: pd.DataFrame, metric: str, unit: str) -> Figure:
    """A metric of each design with its interval, one line a design."""
    groups = list(values.groupby("design", sort=False, observed=True))[:40]
    with rc_context(STYLE):
        figure = Plot(figsize=(WIDTH_IN, 0.9 + 0.26 * max(len(groups), 2)))
        axes = figure.subplots()
        for place, (_, group) in enumerate(groups):
            interval = mean_interval(group["value"].to_numpy(float))
            if np.isfinite(interval.low):
                axes.hlines(place, interval.low, interval.high, color=A, linewidth=1.6)
            axes.plot(interval.value, place, "o", color=A, markersize=4.5)
        axes.set_yticks(range(len(groups)), [str(name) for name, _ in groups])
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_formatter(_axis(unit))
        axes.set_xlabel(metric.replace("_", " "))
        return figure


# --- sensitivity


def tornado(table: pd.DataFrame, metric: str, unit: str) -> Figure:
    """A bar a factor from the metric at its low end to the metric at its high end."""
    with rc_context(STYLE):
        figure = Plot(figsize=(WIDTH_IN, 1.1 + 0.3 * max(len(table), 2)))
        axes = figure.subplots()
        base = float(table["base"].iloc[0])
        for place, row in enumerate(_rows(table)):
            for value, colour in ((row.at_low, A), (row.at_high, B)):
                axes.barh(place, value - base, left=base, height=0.62, color=colour, linewidth=0, alpha=0.85)
        values = table[["at_low", "at_high", "base"]].to_numpy(float)
        room = 0.08 * (np.ptp(values) or abs(base) or 1.0)
        axes.set_xlim(values.min() - room, values.max() + room)
        axes.axvline(base, color=QUIET[0], linewidth=0.9)
        axes.set_yticks(range(len(table)), [f"{row.path}  {row.low:.3g} … {row.high:.3g}" for row in _rows(table)])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_formatter(_axis(unit))
        axes.set_xlabel(f"{metric.replace('_', ' ')} (line: the scenario as it is, {amount(base, unit)})")
        handles: list[Any] = [axes.barh(0, 0, color=colour) for colour in (A, B)]
        figure.legend(handles, ["factor at its low end", "factor at its high end"], loc="outside upper left", ncols=2, fontsize=9)
        return figure


def sensitivity_indices(table: pd.DataFrame, method: str, metric: str, unit: str) -> Figure:
    """mu* with its interval, or S1 inside ST, one bar a factor."""
    with rc_context(STYLE):
        figure = Plot(figsize=(WIDTH_IN, 1.1 + 0.3 * max(len(table), 2)))
        axes = figure.subplots()
        place = np.arange(len(table))
        if method == "morris":
            axes.barh(place, table["mu_star"], height=0.62, color=A, linewidth=0)
            axes.errorbar(table["mu_star"], place, xerr=table["mu_star_half_width"], fmt="none", ecolor=QUIET[0], elinewidth=1.2)
            axes.plot(table["sigma"], place, "D", color=B, markersize=4)
            axes.xaxis.set_major_formatter(_axis(unit))
            axes.set_xlabel(f"change of {metric.replace('_', ' ')} over a factor's range (bar: mu*, diamond: sigma)")
        else:
            axes.barh(place, table["st"], height=0.62, color=A, alpha=0.45, linewidth=0, label="with all it meets (ST)")
            axes.barh(place, table["s1"].clip(lower=0), height=0.3, color=A, linewidth=0, label="alone (S1)")
            axes.errorbar(table["st"], place, xerr=table["st_half_width"], fmt="none", ecolor=QUIET[0], elinewidth=1.2)
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_xlabel(f"share of the variance of {metric.replace('_', ' ')}")
            _legend(figure, axes)
        axes.set_xlim(left=0)
        axes.set_yticks(place, list(table["path"]))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        return figure


def _rows(table: pd.DataFrame) -> list[Any]:
    return list(table.itertuples())


def _label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2, handlelength=1.4, columnspacing=1.6, fontsize=9)
