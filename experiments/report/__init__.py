"""One self-contained page about a run, a comparison, a sweep or a sensitivity: HTML to read, Markdown for a pull request."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sim.base.errors import InputError

if TYPE_CHECKING:
    from experiments.compare import Comparison
    from experiments.sensitivity import Sensitivity
    from experiments.store import Runs
    from sim.result.result import Result

    Reportable = Result | Comparison | Runs | Sensitivity

__all__ = ["render", "write_report"]

ENDINGS = (".html", ".md")


def render(what: Reportable, ending: str = ".html") -> str:
    """The whole report as text. HTML needs no other file and no network to be read."""
    from experiments.compare import Comparison
    from experiments.report import comparison, run, sensitivity, sweep
    from experiments.report.page import fill
    from experiments.sensitivity import Sensitivity
    from experiments.store import Runs

    figures = ending == ".html"
    if isinstance(what, Comparison):
        return fill(f"comparison{ending}", comparison.context(what, figures))
    if isinstance(what, Runs):
        return fill(f"sweep{ending}", sweep.context(what, figures))
    if isinstance(what, Sensitivity):
        return fill(f"sensitivity{ending}", sensitivity.context(what, figures))
    return fill(f"run{ending}", run.context(what, figures))


def write_report(what: Reportable, path: str | os.PathLike[str]) -> Path:
    """Render by the path's ending, .html or .md, and write it; an interruption leaves the old file, or none.

    `InputError` for another ending, `OutputError` when the disk does not take it.
    """
    from experiments.report.page import write

    ending = Path(path).suffix
    if ending not in ENDINGS:
        raise InputError(f"{path}: must end in {' or '.join(ENDINGS)}")
    return write(render(what, ending), path)
