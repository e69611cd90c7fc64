"""The page of a sweep."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments.metrics import Metric, metric
from experiments.report import drawings
from experiments.report.page import data, drawn
from experiments.statistics import mean_interval
from sim.base.errors import InputError

if TYPE_CHECKING:
    from experiments.store import Runs

METRICS = ("pod_startup_p50", "pod_startup_p99", "mutating_api_call_p99", "pods_started_mean")
MOST_DESIGNS = 60
"""Rows of the table of designs."""
MOST_LINES = 8


def context(runs: Runs, figures: bool, metrics: tuple[str, ...] = METRICS) -> dict[str, Any]:
    """metrics: the columns, and the first two of them the figures."""
    table = runs.table
    done = table[table["status"] == "done"]
    if not len(done):
        raise InputError(f"{runs.path}: no run has ended well yet, so there is nothing to report")
    wanted = [metric(name) for name in metrics]
    values = {m: runs.values(m) for m in wanted}
    limits = _limits(runs)
    rows = []
    for design in dict.fromkeys(done["design"]):
        cells = []
        for m in wanted:
            found = values[m]
            interval = mean_interval(found.loc[found["design"] == design, "value"].to_numpy(float))
            cells.append({"value": interval.value, "low": interval.low, "high": interval.high, "unit": m.unit})
        rows.append({"name": str(design), "runs": int((done["design"] == design).sum()), "cells": cells,
                     "limit": limits.get(str(design), "nothing")})
    failed = table[table["status"] == "failed"]
    return {
        "title": str(runs.about.get("name") or runs.path.name),
        "name": str(runs.about.get("name") or runs.path.name),
        "scenario": str(runs.about.get("scenario", "")),
        "sentence": _sentence(rows, wanted),
        "metrics": [{"name": str(m)} for m in wanted],
        "designs": rows[:MOST_DESIGNS],
        "hidden": max(0, len(rows) - MOST_DESIGNS),
        "done": len(done),
        "missing": int((table["status"] == "missing").sum()),
        "failed": [{"design": row.design, "rep": row.rep, "error": str(row.error).splitlines()[0]} for row in failed.itertuples()],
        "seed": runs.about["seed"],
        "data": [data("values", pd.concat([frame.assign(metric=m.name) for m, frame in values.items()])), data("runs", table)],
        "figures": [figure for m in wanted[:2] for figure in _figures(runs, m, values[m])] if figures else [],
    }


def _limits(runs: Runs) -> dict[str, str]:
    """Design -> the resource that limits most of its runs."""
    found = runs.bottlenecks
    first = found[found["verdict"] == "limits"].groupby(["design", "rep"], observed=True)["resource"].first()
    votes: dict[str, Counter[str]] = {}
    for design, resource in zip(first.index.get_level_values("design"), first, strict=True):
        votes.setdefault(str(design), Counter())[str(resource)] += 1
    return {design: counted.most_common(1)[0][0] for design, counted in votes.items()}


def _sentence(rows: list[dict[str, Any]], metrics: list[Metric]) -> str:
    """The best and the worst design by the tail of the start-up time, and how what limits moves."""
    place = next((i for i, m in enumerate(metrics) if str(m) == "pod_startup_p99"), 0)
    known = sorted((row for row in rows if row["cells"][place]["value"] == row["cells"][place]["value"]),
                   key=lambda row: row["cells"][place]["value"])
    if len(known) < 2:
        return "One design; nothing to compare."
    best, worst = known[0], known[-1]
    m = metrics[place]
    said = [drawings.amount(row["cells"][place]["value"], m.unit) for row in (best, worst)]
    limits = sorted({row["limit"] for row in rows} - {"nothing"})
    moved = f" What limits: {', '.join(limits)}." if limits else " Nothing limits any of them."
    return f"{str(m).replace('_', ' ').capitalize()} goes from {said[0]} ({best['name']}) to {said[1]} ({worst['name']}).{moved}"


def _figures(runs: Runs, m: Metric, values: pd.DataFrame) -> list[Any]:
    """As many axes as there are say which figure reads best."""
    numeric = [path for path in runs.paths if pd.api.types.is_numeric_dtype(values[path]) and not pd.api.types.is_bool_dtype(values[path])]
    values = values.assign(**{path: values[path].map(str) for path in runs.paths if path not in numeric})
    name, found = str(m), []
    heading = name.replace("_", " ").capitalize()
    if len(runs.paths) == 1 and numeric:
        found.append(drawn(drawings.along_axis(values, runs.paths[0], name, m.unit), f"{name}-line", heading,
                           "Mean over the replications; the band is its 95 % interval."))
    elif len(runs.paths) == 2:
        across, down = sorted(runs.paths, key=lambda path: path not in numeric)
        cells = values[across].nunique() * values[down].nunique()
        if across in numeric and values[down].nunique() <= MOST_LINES:
            found.append(drawn(drawings.along_axis(values, across, name, m.unit, down), f"{name}-line", heading,
                               "Mean over the replications; bands are 95 % intervals."))
        if 4 <= cells <= drawings.MOST_CELLS and values[across].nunique() > 1 and values[down].nunique() > 1:
            found.append(drawn(drawings.heat_map(values, across, down, name, m.unit), f"{name}-map", f"{heading}, over both axes",
                               "Means over the replications; darker is more."))
    if not found:
        found.append(drawn(drawings.forest(values, name, m.unit), f"{name}-designs", heading,
                           "One line a design, with the 95 % interval of its mean."))
    return found
