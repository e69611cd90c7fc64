"""The comparison as files: tables, figures, and one page that shows them without anything beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.validate import control_plane, findings
from sim.base.errors import OutputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

STYLE = """body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:1200px;color:#222;padding:0 1rem}
table{border-collapse:collapse;font-size:12px;margin:.6rem 0}td,th{padding:.15rem .6rem;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child,td:nth-child(2),th:nth-child(2){text-align:left}tr.MISSED td{background:#fdecea}
tr.within td{background:#eef7f0}img{max-width:100%}summary{cursor:pointer;font-weight:600;margin:.8rem 0}"""


def write(
    folder: Path,
    compared: Sequence[control_plane.Compared],
    outages: Mapping[str, list[control_plane.Outage]],
    published: pd.DataFrame | None,
) -> None:
    """Write `index.html`, a CSV a table and a PNG a figure to `folder`."""
    import matplotlib

    matplotlib.use("Agg")
    parts = ["<h1>The control plane: simulated against measured</h1>"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if compared:
            parts += ["<h2>Summary</h2>", _table(control_plane.summary(compared))]
        for one in compared:
            name = f"{one.family}-{one.calibration}"
            one.table.to_csv(folder / f"{name}.csv", index=False)
            parts.append(f"<h2>{escape(one.family)}, {escape(one.calibration)}</h2>")
            parts.append(
                f"<p>{one.within} of {one.predicted} predicted figures within their aim or the repeatability floor.</p>"
            )
            parts += [f"<p>Not replayed: {escape(text)}</p>" for text in one.not_replayed]
            if (figure := control_plane.plot(one)) is not None:
                parts.append(
                    f"<details open><summary>Distributions</summary>{_image(figure, folder / f'{name}.png')}</details>"
                )
            parts.append(f"<details><summary>All figures</summary>{_table(one.table)}</details>")
        for calibration, found in outages.items():
            table = control_plane.outage_table(found)
            table.to_csv(folder / f"outages-{calibration}.csv", index=False)
            parts += [
                f"<h2>Outages, {escape(calibration)}</h2>",
                _table(table),
                _image(control_plane.plot_outages(found), folder / f"outages-{calibration}.png"),
            ]
        if published is not None:
            published.to_csv(folder / "published.csv", index=False)
            parts += ["<h2>Published figures</h2>", _table(published)]
        unexplained = "".join(f"<li>{escape(text)}</li>" for text in findings.UNEXPLAINED)
        parts.append(f"<h2>Not explained</h2><ul>{unexplained}</ul>")
        page = f"<!doctype html><meta charset='utf-8'><title>Control plane validation</title><style>{STYLE}</style>{''.join(parts)}"
        (folder / "index.html").write_text(page, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{folder}: could not be written: {error.strerror}. Make room or choose another place."
        ) from error


def _image(figure: Figure, path: Path) -> str:
    """Save a figure, and the same inside the page."""
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    plt.close(figure)
    path.write_bytes(buffer.getvalue())
    return f"<img alt='{escape(path.stem)}' src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'>"


def _table(table: pd.DataFrame) -> str:
    head = "".join(f"<th>{escape(str(name))}</th>" for name in table.columns)
    body = "".join(
        f"<tr class='{escape(str(row.get('verdict', '')))}'>"
        + "".join(f"<td>{escape(_cell(value))}</td>" for value in row)
        + "</tr>"
        for _, row in table.iterrows()
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: object) -> str:
    if value is None or value != value:
        return ""
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:.0f}"
        if isinstance(value, float)
        else str(value)
    )
