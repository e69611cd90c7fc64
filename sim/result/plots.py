"""Figures of a result: `result.plot.startup_breakdown()` and its siblings, each a matplotlib `Figure`.

Figures are made without pyplot, so they need no display and leave no global state. Curves are thinned to a few hundred
points. Colours belong to rooms (components), the same in every figure, in two sets for light and dark pages.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from sim.result import slo, tables
from sim.result.bottlenecks import REST, seconds_text
from sim.result.quantiles import present, quantiles
from sim.result.schema import filled_resources
from sim.state.pods import Column

if TYPE_CHECKING:
    from sim.result.result import Result

ROOM_COLOURS: Mapping[str, tuple[str, str]] = {
    "apiserver": ("#2a78d6", "#4a94ea"),
    "etcd": ("#4a3aa7", "#9085e9"),
    "scheduler": ("#eb6834", "#f0804f"),
    "controllers": ("#d55181", "#e87ba4"),
    "kubelet": ("#008300", "#3aa83a"),
    "runtime": ("#1baf7a", "#2cc08c"),
    "network": ("#eda100", "#f0b429"),
    "images": ("#e34948", "#ee7070"),
    "": ("#8a8a86", "#a3a39d"),
}
"""Room -> colour on a light page, on a dark page. The empty room is whatever belongs to none."""
LINE_COLOURS: tuple[str, ...] = tuple(light for room, (light, _) in ROOM_COLOURS.items() if room)
INK, QUIET, GRID = ("#1f2328", "#d6dbe1"), ("#5f6670", "#9aa3ad"), ("#e3e5e8", "#363c44")
"""Text, secondary text and grid lines, light and dark."""

FAULT = "#e34948"
"""What shades the time while a fault lasts, on both pages."""

WIDTH_IN = 8.2
"""Figures are drawn for a text column of this width."""
CURVE_POINTS = 400
"""Most points a curve is drawn with."""
VISIBLE = 1e-3
"""A queue or a utilisation that never rose above this would be a flat line."""
MOST_LINES = 6
"""More lines than this in one figure cannot be told apart."""

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "kubedes",
    "text.color": INK[0],
    "axes.labelcolor": QUIET[0],
    "xtick.color": QUIET[0],
    "ytick.color": QUIET[0],
    "axes.edgecolor": GRID[0],
    "grid.color": GRID[0],
    "grid.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "figure.constrained_layout.use": True,
}


class Plot(Figure):
    """A matplotlib figure that shows itself in a notebook."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def thinned(values: np.ndarray) -> np.ndarray:
    """Positions of at most `CURVE_POINTS` of them, the first and the last among them."""
    return np.unique(np.linspace(0, len(values) - 1, min(CURVE_POINTS, len(values))).round().astype(np.int64))


def cdf(values: np.ndarray, counts: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Values and the share at or below each: at most `CURVE_POINTS`, a quarter of them for the slowest hundredth."""
    tail = CURVE_POINTS // 4
    shares = np.concatenate([np.linspace(0, 0.99, CURVE_POINTS - tail, endpoint=False), np.linspace(0.99, 1, tail)])
    return quantiles(values, shares.tolist(), counts), shares


def binned(time_s: np.ndarray, values: np.ndarray, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    """A series at no more than `CURVE_POINTS` moments: the mean of each bin of samples, or its largest."""
    if len(values) <= CURVE_POINTS:
        return time_s, values
    edges = np.linspace(0, len(values), CURVE_POINTS + 1).round().astype(np.int64)
    reduced = (
        np.maximum.reduceat(values, edges[:-1]) if largest else np.add.reduceat(values, edges[:-1]) / np.diff(edges)
    )
    return time_s[edges[1:] - 1], reduced


def label_of(column: Column) -> str:
    """A series' name as people write it, its kind left out."""
    name = column.name
    for ending in ("_utilisation", "_waiting"):
        name = name.removesuffix(ending)
    return name.replace("_", " ")


class Plots:
    """The figures of one result. Each method draws a new `Figure`; save it with `figure.savefig(path)`."""

    def __init__(self, result: Result) -> None:
        self._result = result

    def startup_breakdown(self) -> Figure:
        """Waterfall of the average pod's start: each stage where it begins and as long as its mean, its p99 beside it;
        above it, the average pod and the slowest 1 % in one bar each."""
        stages = self._result.stages()
        stages = stages[(stages.pods > 0) & (stages.mean_s > 0)]
        with rc_context(STYLE):
            figure = Plot(figsize=(WIDTH_IN, 1.9 + 0.25 * max(len(stages), 4)))
            if stages.empty:
                return _nothing(figure, "no pod was seen running")
            top, below = figure.subplots(2, 1, height_ratios=[1.25, 0.25 * len(stages) + 0.4])
            bars = ((1, "average pod", stages.mean_s), (0, "slowest 1 %", stages.slowest_mean_s))
            for height, _, seconds in bars:
                left = 0.0
                for room, length in zip(stages.room, seconds.fillna(0.0), strict=True):
                    top.barh(height, length, left=left, height=0.62, color=ROOM_COLOURS[room][0], linewidth=0)
                    top.vlines(left, height - 0.31, height + 0.31, color=GRID[0], linewidth=0.8)
                    left += length
                _beside(top, left, height, seconds_text(left))
            top.set_yticks([height for height, _, _ in bars], [name for _, name, _ in bars])
            top.set_xlim(0, max(float(seconds.sum()) for _, _, seconds in bars) * 1.12)
            top.grid(axis="y", visible=False)
            _seconds_axis(top, "")
            left, total = 0.0, float(stages.mean_s.sum())
            for height, (_, stage) in enumerate(stages.iterrows()):
                below.barh(height, stage.mean_s, left=left, height=0.7, color=ROOM_COLOURS[stage.room][0], linewidth=0)
                text = f"{seconds_text(stage.mean_s)} · p99 {seconds_text(stage.p99_s)}"
                right = left + stage.mean_s
                style: dict[str, Any] = {"fontsize": 8.5, "color": QUIET[0]}
                if right <= 0.62 * total:
                    _beside(below, right, height, text, **style)
                elif left >= 0.3 * total:
                    _beside(below, left, height, text, before=True, **style)
                else:  # no room on either side
                    below.text((left + right) / 2, height, text, ha="center", va="center", fontsize=8.5, color="white")
                left = right
            below.set_yticks(range(len(stages)), [s if s != REST else "(between stages)" for s in stages.stage])
            below.set_xlim(0, total * 1.02)
            below.invert_yaxis()
            below.grid(axis="y", visible=False)
            _seconds_axis(below, "time since the request, average pod")
            rooms = [room for room in ROOM_COLOURS if room in set(stages.room) and room]
            handles = [top.barh(0, 0, color=ROOM_COLOURS[room][0]) for room in rooms]
            figure.legend(
                handles,
                rooms,
                loc="outside upper center",
                ncols=len(rooms),
                handlelength=0.9,
                handleheight=0.9,
                columnspacing=1.2,
                fontsize=9,
            )
            return figure

    def startup_cdf(self) -> Figure:
        """Share of pods started within a time, with the image pull and without it, beside the 5 s objective."""
        record = self._result.record
        start = tables.startup(record)
        measured = tables.measured_pods(record) & ~np.isnan(start)
        with rc_context(STYLE):
            figure = Plot(figsize=(WIDTH_IN, 3.1))
            if not measured.any():
                return _nothing(figure, "no pod was seen running")
            axes = figure.subplots()
            curves = (
                ("whole start-up", start, ROOM_COLOURS["images"][0]),
                ("image pull left out", start - tables.pull_time(record), ROOM_COLOURS["apiserver"][0]),
            )
            for name, seconds, colour in curves:
                values = seconds[measured]
                x, y = cdf(values)
                axes.plot(
                    x,
                    y,
                    color=colour,
                    label=f"{name}: p50 {_q(values, 0.5)}, p99 {_q(values, 0.99)}, max {_q(values, 1.0)}",
                )
            _limit(axes, slo.POD_STARTUP.limit_s)
            longest = float(start[measured].max())
            if longest > 50 * float(np.median(start[measured])):
                axes.set_xscale("log")
            else:
                axes.set_xlim(0, max(longest, slo.POD_STARTUP.limit_s) * 1.05)
            _share_axis(axes, "share of pods")
            _seconds_axis(axes, "created to seen running")
            _legend(figure, axes, 1)
            return figure

    def latency_cdf(self) -> Figure:
        """Latency of the commonest API calls: share answered within a time (logarithmic), beside the 1 s objective."""
        record = self._result.record
        log, table = record.requests, self._result.requests
        judged = table[(table.verb != "WATCH") & (table["count"] > 0)]
        groups = (
            judged.groupby(["verb", "resource"])["count"]
            .sum()
            .sort_values(ascending=False, kind="stable")
            .head(MOST_LINES)
            .reset_index()
        )
        measured = log["time_s"] >= record.warm_up_s
        with rc_context(STYLE):
            figure = Plot(figsize=(WIDTH_IN, 3.4))
            if groups.empty:
                return _nothing(figure, "no request was answered")
            axes = figure.subplots()
            calls = zip(LINE_COLOURS, groups.verb, groups.resource, groups["count"], strict=False)
            for colour, verb, resource, count in calls:
                kinds = judged.index[(judged.verb == verb) & (judged.resource == resource)]
                rows = measured & np.isin(log["kind"], kinds)
                latency, counts = log["latency_s"][rows], log["count"][rows]
                x, y = cdf(latency, counts)
                p99 = seconds_text(float(quantiles(latency, (0.99,), counts)[0]))
                axes.plot(np.maximum(x, 1e-6), y, color=colour, label=f"{verb} {resource} ({count:,}): p99 {p99}")
            _limit(axes, 1.0)
            axes.set_xscale("log")
            _share_axis(axes, "share of requests")
            _seconds_axis(axes, "latency")
            _legend(figure, axes, 2)
            return figure

    def queues(self) -> Figure:
        """Lengths of the longest queues over time, a panel each: every one has its own scale."""
        record = self._result.record
        chosen = self._levels(("_queue", "_waiting"), lambda values: float(values.max()))
        with rc_context(STYLE):
            figure = Plot(figsize=(WIDTH_IN, 0.9 + 1.05 * ((len(chosen) + 1) // 2 or 1)))
            if not chosen:
                return _nothing(figure, "nothing ever waited")
            rows = (len(chosen) + 1) // 2
            panels = figure.subplots(rows, 2, sharex=True, squeeze=False).ravel()
            for axes, column, colour in zip(panels, chosen, LINE_COLOURS, strict=False):
                time, length = binned(
                    record.series["time_s"], np.asarray(record.series[column.name], np.float64), largest=True
                )
                axes.fill_between(time, length, color=colour, alpha=0.18, linewidth=0)
                axes.plot(time, length, color=colour, linewidth=1.3)
                unit = "" if column.unit == "count" else f" ({column.unit})"
                axes.set_title(f"{label_of(column)}{unit}", fontsize=9)
                axes.set_ylim(0, max(float(length.max()) * 1.1, 1.0))
                axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
                self._time_axis(axes, "")
            for axes in panels[len(chosen) :]:
                axes.set_visible(False)
            for axes in panels[max(len(chosen) - 2, 0) : len(chosen)]:
                axes.tick_params(labelbottom=True)
                axes.set_xlabel("simulated time (s)")
            return figure

    def utilisation(self) -> Figure:
        """How busy the busiest cores, logs, links and rate limiters were over time."""
        record = self._result.record
        chosen = self._levels(("_utilisation",), lambda values: float(values.mean()))
        with rc_context(STYLE):
            figure = Plot(figsize=(WIDTH_IN, 3.3))
            if not chosen:
                return _nothing(figure, "nothing was ever in use")
            axes = figure.subplots()
            for column, colour in zip(chosen, LINE_COLOURS, strict=False):
                values = np.asarray(record.series[column.name], np.float64)
                time, share = binned(record.series["time_s"], values, largest=False)
                axes.plot(
                    time,
                    share,
                    color=colour,
                    linewidth=1.3,
                    label=f"{label_of(column)}: mean {_percent(values.mean())}, peak {_percent(values.max())}",
                )
            axes.set_ylim(0, 1.03)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_ylabel("share in use")
            self._time_axis(axes, "simulated time (s)")
            _legend(figure, axes, 2)
            return figure

    def nodes_fill(self) -> Figure:
        """How full the nodes are at the end: for each resource, nodes from the fullest to the emptiest."""
        table = self._result.nodes
        with rc_context(STYLE):
            figure = Plot(figsize=(WIDTH_IN, 3.0))
            names = [name for name in filled_resources(table.columns) if table[f"fill_{name}"].notna().any()][
                :MOST_LINES
            ]
            if not names:
                return _nothing(figure, "no node gives a resource")
            axes = figure.subplots()
            highest = 1.0
            for name, colour in zip(names, LINE_COLOURS, strict=False):
                fill = np.sort(present(table[f"fill_{name}"].to_numpy(np.float64)))[::-1]
                place = (np.arange(len(fill)) + 0.5) / len(fill)
                kept = thinned(fill)
                line = axes.plot(
                    place[kept],
                    fill[kept],
                    color=colour,
                    label=f"{name}: mean {fill.mean():.0%}, fullest {fill[0]:.0%}",
                )
                line[0].set_marker("o" if len(fill) == 1 else "")
                highest = max(highest, float(fill[0]))
            axes.set_ylim(0, highest * 1.03)
            axes.set_xlim(0, 1)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_ylabel("requested of allocatable")
            axes.set_xlabel(f"nodes, the fullest first (100% = {len(table):,} nodes)")
            _legend(figure, axes, 2)
            return figure

    def all(self) -> Iterator[tuple[str, Figure]]:
        """Every figure with its name, in the order a reader wants them."""
        for name in FIGURES:
            yield name, getattr(self, name)()

    def _levels(self, endings: tuple[str, ...], weight: Callable[[np.ndarray], float]) -> list[Column]:
        """The sampled series of a kind that weigh most, in the order of the record, without those that stayed at 0."""
        series = self._result.record.series
        columns = [column for column in self._result.record.series_columns if column.name.endswith(endings)]
        used = [column for column in columns if len(series["time_s"]) and series[column.name].max() > VISIBLE]
        heaviest = sorted(used, key=lambda column: -weight(series[column.name]))[:MOST_LINES]
        return [column for column in columns if column in heaviest]

    def _time_axis(self, axes: Axes, label: str) -> None:
        record = self._result.record
        axes.set_xlim(0, max(record.end_s, 1.0))
        axes.set_xlabel(label)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        if record.warm_up_s > 0:
            axes.axvspan(0, record.warm_up_s, color=QUIET[0], alpha=0.1, linewidth=0)
        self._shade_faults(axes)

    def _shade_faults(self, axes: Axes) -> None:
        """From when to when something was broken; one colour for all."""
        faults, end_s = self._result.record.faults, self._result.record.end_s
        for begin_s, until_s in zip(faults["begin_s"].tolist(), faults["end_s"].tolist(), strict=True):
            axes.axvspan(begin_s, end_s if isnan(until_s) else until_s, color=FAULT, alpha=0.13, linewidth=0, gid="fault")


FIGURES: Sequence[str] = ("startup_breakdown", "startup_cdf", "latency_cdf", "queues", "utilisation", "nodes_fill")
"""The methods of `Plots` that draw a figure."""


def _q(values: np.ndarray, probability: float) -> str:
    return seconds_text(float(quantiles(values, (probability,))[0]))


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.0995 else f"{share:.1%}"


def _nothing(figure: Figure, why: str) -> Figure:
    figure.text(0.5, 0.5, why, ha="center", va="center", color=QUIET[0])
    figure.set_figheight(1.0)
    return figure


def _tick(seconds: float) -> str:
    """A round moment on an axis: 1.5 s, not 1.50 s."""
    number, _, unit = seconds_text(seconds).partition(" ")
    return f"{float(number.replace(',', '')):g} {unit}"


def _seconds_axis(axes: Axes, label: str) -> None:
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axes.set_xlabel(label)


def _share_axis(axes: Axes, label: str) -> None:
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel(label)


def _beside(axes: Axes, x: float, y: float, text: str, before: bool = False, **style: Any) -> None:
    """Text just after a bar's end at (x, y), or just before its beginning."""
    axes.annotate(
        text,
        (x, y),
        xytext=(-4 if before else 4, 0),
        textcoords="offset points",
        va="center",
        ha="right" if before else "left",
        **style,
    )


def _limit(axes: Axes, limit_s: float) -> None:
    """A dashed line at an objective's limit."""
    axes.axvline(limit_s, color=QUIET[0], linewidth=1.0, linestyle=(0, (4, 3)))
    axes.annotate(
        f"objective {limit_s:g} s",
        (limit_s, 0.04),
        xycoords=("data", "axes fraction"),
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color=QUIET[0],
        fontsize=8.5,
    )


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    """Above the axes, where it covers no curve."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", ncols=columns, handlelength=1.4, columnspacing=1.6, fontsize=9
    )
