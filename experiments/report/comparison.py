"""The page of a comparison of two designs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from experiments.report import drawings
from experiments.report.page import data, drawn

if TYPE_CHECKING:
    from experiments.compare import Comparison


def context(found: Comparison, figures: bool) -> dict[str, Any]:
    verdicts = found.table["verdict"]
    room = (found.resources["a_verdict"] == "has room") & (found.resources["b_verdict"] == "has room")
    return {
        "title": f"{found.b} against {found.a}",
        "found": found,
        "better": int((verdicts == "better").sum()),
        "worse": int((verdicts == "worse").sum()),
        "table": found.table.to_dict("records"),
        "changed": found.changes().to_dict("records"),
        "stages": found.stages[found.stages["share"].abs() >= 0.01].to_dict("records"),
        "resources": found.resources[~room].to_dict("records") or found.resources.head(6).to_dict("records"),
        "data": [data("figures", found.table), data("stages", found.stages), data("resources", found.resources),
                 data("startup", found.startup)],
        "figures": _figures(found) if figures else [],
    }


def _figures(found: Comparison) -> list[Any]:
    band = " The band is the interval of the mean curve over the runs." if found.runs[0] > 1 else ""
    return [
        drawn(drawings.startup_curves(found.startup, (found.a, found.b)), "startup", "Pod start-up",
              f"Share of pods seen running within a time of their creation.{band}"),
        drawn(drawings.stage_differences(found.stages), "stages", "Where the difference is",
              f"To the right {found.b} takes longer, to the left it saves time. Lines are intervals."),
        drawn(drawings.changes(found.table), "changes", "Every figure's change",
              "Green is better and red is worse beyond doubt; grey may be chance."),
    ]
