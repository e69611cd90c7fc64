"""The page: what the template shows, taken from a `Result`."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiments.report.figures import css_variables, inline_svg
from sim.base.errors import OutputError
from sim.result.bottlenecks import seconds_text
from sim.result.storage import kubedes_version

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


def _number(value: float) -> str:
    return "–" if value != value else f"{value:,.0f}"


def _share(value: float) -> str:
    if value != value:
        return "–"
    if 0 < value < 0.0005:
        return "< 0.1%"
    return f"{value:.0%}" if value >= 0.0995 or value == 0 else f"{value:.1%}"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(seconds=seconds_text, number=_number, share=_share)
    return environment


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


def render(result: Result) -> str:
    """The whole page as HTML: no other file and no network is needed to read it."""
    from sim.base.paths import format_path

    record = result.record
    figures = [
        (drawing, inline_svg(getattr(result.plot, drawing.plot)(), drawing.plot, drawing.heading))
        for drawing in DRAWINGS
    ]
    tenants = result.tenants()
    return (
        _environment()
        .get_template("report.html")
        .render(
            name=str(record.scenario.get("name") or "scenario"),
            description=str(record.scenario.get("description") or ""),
            record=record,
            totals=result.totals,
            version=kubedes_version(),
            nodes=len(record.nodes.get("name", ())),
            limits=result.limits(),
            churn=result.churn,
            verdicts=result.slo().to_dict("records"),
            summary=[
                row for row in result.summary().reset_index().to_dict("records") if row["unit"] in ("s", "pods/s")
            ],
            resources=result.bottlenecks().head(MOST_ROWS).to_dict("records"),
            resource_count=len(record.resources),
            tenants=tenants.head(MOST_ROWS).reset_index().to_dict("records"),
            tenant_count=len(tenants),
            figures=figures,
            light=css_variables(dark=False),
            dark=css_variables(dark=True),
            css=(Path(__file__).parent / "report.css").read_text("utf-8"),
            scenario=yaml.safe_dump(record.scenario, sort_keys=False, allow_unicode=True, width=110),
            unverified=[
                (format_path(parameter.path), parameter) for parameter in unverified_parameters(record.scenario)
            ],
        )
    )


def write_report(result: Result, path: str | os.PathLike[str]) -> Path:
    """Render and write the page; an interruption leaves the old file, or none.

    Raises OutputError when the disk does not take it.
    """
    target = Path(path).absolute()
    page = render(result)
    work = target.with_name(f".{target.name}.writing-{secrets.token_hex(4)}")
    try:
        with open(work, "w", encoding="utf-8") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        os.replace(work, target)
    except OSError as error:
        raise OutputError(
            f"{target}: the report could not be written: {error.strerror or error}. "
            "Make room or choose another place, then write it again."
        ) from error
    finally:
        work.unlink(missing_ok=True)
    return target
