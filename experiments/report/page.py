"""What every page is made of: the template's environment, figures, tables to download, and a safe way to the disk."""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from experiments.report.drawings import amount
from experiments.report.figures import css_variables, inline_svg
from sim.base.errors import OutputError
from sim.result.bottlenecks import seconds_text
from sim.result.storage import kubedes_version

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure of a page."""

    id: str
    heading: str
    caption: str
    """What the reader sees in it."""
    svg: str


@dataclass(frozen=True, slots=True)
class Data:
    """A table that the page carries whole."""

    name: str
    address: str
    """A `data:` address of its CSV."""


def drawn(figure: Figure, name: str, heading: str, caption: str) -> Drawn:
    return Drawn(name, heading, caption, inline_svg(figure, name, heading))


def data(name: str, table: pd.DataFrame) -> Data:
    content = base64.b64encode(table.to_csv(index=False).encode()).decode()
    return Data(name, f"data:text/csv;charset=utf-8;base64,{content}")


def fill(template: str, context: dict[str, Any]) -> str:
    """The page or text that a template makes of `context`."""
    page = template.endswith(".html")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=page,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        seconds=seconds_text, number=_number, share=_share, amount=amount, percent=_percent, p_value=_p_value, figure=_figure
    )
    style = {"css": (TEMPLATES / "report.css").read_text("utf-8"), "light": css_variables(dark=False), "dark": css_variables(dark=True)}
    return environment.get_template(template).render(version=kubedes_version(), **context, **(style if page else {}))


def write(text: str, path: str | os.PathLike[str]) -> Path:
    """Write the page; an interruption leaves the old file, or none. `OutputError` when the disk does not take it."""
    target = Path(path).absolute()
    work = target.with_name(f".{target.name}.writing-{secrets.token_hex(4)}")
    try:
        with open(work, "w", encoding="utf-8") as file:
            file.write(text)
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


def _number(value: float) -> str:
    return "–" if value != value else f"{value:,.0f}"


def _share(value: float) -> str:
    if value != value:
        return "–"
    if 0 < value < 0.0005:
        return "< 0.1%"
    return f"{value:.0%}" if value >= 0.0995 or value == 0 else f"{value:.1%}"


def _percent(value: float) -> str:
    if value != value:
        return "–"
    return f"{value:+.0f} %" if abs(value) >= 9.5 else f"{value:+.1f} %"


def _p_value(value: float) -> str:
    if value != value:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _figure(value: Any) -> str:
    if not isinstance(value, int | float):
        return str(value)
    return "–" if value != value else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
