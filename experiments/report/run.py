"""The page of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from experiments.report.page import drawn
from sim.base.paths import format_path

if TYPE_CHECKING:
    from sim.base.spec_tree import Parameter
    from sim.result.result import Result

MOST_ROWS = 12
"""Rows of the tenants' and resources' tables; the result's folder holds all of them."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure of the page: which plot, its heading and what the reader sees in it."""

    plot: str
    heading: str
    caption: str


DRAWINGS = (
    Drawing(
        "startup_breakdown",
        "Where a pod's start-up time goes",
        "From the user's request to a watcher seeing the pod run. Bars are means, each where the one before it ended.",
    ),
    Drawing("startup_cdf", "Pod start-up", "From the creation timestamp to a watcher seeing the pod run."),
    Drawing(
        "latency_cdf", "API calls", "Latency of the most frequent calls, from arrival at the API server to its answer."
    ),
    Drawing("queues", "Queues", "The longest queues, each on its own scale. The shaded beginning is the warm-up."),
    Drawing(
        "utilisation",
        "Utilisation",
        "The busiest cores, logs, links and rate limiters. The shaded beginning is the warm-up.",
    ),
    Drawing("nodes_fill", "How full the nodes are", "At the end of the run."),
)


def context(result: Result, figures: bool) -> dict[str, Any]:
    record = result.record
    tenants = result.tenants()
    unverified = unverified_parameters(record.scenario)
    return {
        "title": str(record.scenario.get("name") or "scenario"),
        "name": str(record.scenario.get("name") or "scenario"),
        "description": str(record.scenario.get("description") or ""),
        "record": record,
        "totals": result.totals,
        "nodes": len(record.nodes.get("name", ())),
        "limits": result.limits(),
        "churn": result.churn,
        "verdicts": result.slo().to_dict("records"),
        "summary": [row for row in result.summary().reset_index().to_dict("records") if row["unit"] in ("s", "pods/s")],
        "resources": result.bottlenecks().head(MOST_ROWS).to_dict("records"),
        "resource_count": len(record.resources),
        "tenants": tenants.head(MOST_ROWS).reset_index().to_dict("records"),
        "tenant_count": len(tenants),
        "figures": [drawn(getattr(result.plot, d.plot)(), d.plot, d.heading, d.caption) for d in DRAWINGS] if figures else [],
        "scenario": yaml.safe_dump(record.scenario, sort_keys=False, allow_unicode=True, width=110),
        "unverified": [(format_path(parameter.path), parameter) for parameter in unverified],
    }


def unverified_parameters(scenario: dict[str, Any]) -> list[Parameter]:
    """Parameters of a resolved scenario whose values are remembered, not measured or read.

    Empty for a scenario that this version of kubedes does not understand (an older result).
    """
    from pydantic import ValidationError

    from sim.base.errors import InputError
    from sim.base.spec_tree import parameters
    from sim.scenario import Scenario

    try:
        spec = Scenario.model_validate(scenario)
    except (ValidationError, InputError):
        return []
    return [parameter for parameter in parameters(spec) if parameter.unverified]
