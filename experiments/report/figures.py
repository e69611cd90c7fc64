"""Figures as inline SVG whose colours follow the page's colour scheme."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

from matplotlib.figure import Figure

from sim.result.plots import GRID, INK, QUIET, ROOM_COLOURS, STYLE

VARIABLES: Mapping[str, tuple[str, str]] = {
    "ink": INK,
    "quiet": QUIET,
    "grid": GRID,
    **{f"room-{room or 'none'}": pair for room, pair in ROOM_COLOURS.items()},
}
"""CSS variable -> its value on a light and on a dark page; the light value is what figures are drawn in."""

_LIGHT = {light: f"var(--{name})" for name, (light, _) in VARIABLES.items()}


def inline_svg(figure: Figure, name: str, title: str) -> str:
    """The figure as an `<svg>` element: text stays text, colours are CSS variables, ids begin with `name`."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    figure.patch.set_alpha(0.0)
    for axes in figure.axes:
        axes.patch.set_alpha(0.0)
    with rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1
    )
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\1#{name}-", svg)
    svg = re.sub(r"#[0-9a-f]{6}\b", lambda match: _LIGHT.get(match.group(), match.group()), svg)
    svg = re.sub(r"font: ([^;\"]*?)'[^;\"]*sans-serif", r"font: \1var(--font)", svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def css_variables(dark: bool) -> str:
    """The declarations of the figures' colours for one colour scheme."""
    return " ".join(f"--{name}: {pair[dark]};" for name, pair in VARIABLES.items())
