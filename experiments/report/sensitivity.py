"""The page of a sensitivity analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from experiments.report.page import data, drawn

if TYPE_CHECKING:
    from experiments.sensitivity import Sensitivity

CAPTIONS = {
    "one-at-a-time": "Each factor at both ends of its range, all others as the scenario has them.",
    "morris": "Mean size of a factor's elementary effects over the whole box; a large sigma says that it depends on the others.",
    "sobol": "Share of the variance over the whole box.",
}


def context(found: Sensitivity, figures: bool) -> dict[str, Any]:
    table = found.table.drop(columns="weight")
    return {
        "title": f"{found.metric} of {found.scenario}",
        "found": found,
        "columns": list(table.columns),
        "table": table.to_dict("records"),
        "data": [data("sensitivity", table)],
        "figures": [drawn(found.tornado(), "tornado", "What moves it", CAPTIONS[found.method])] if figures else [],
    }
