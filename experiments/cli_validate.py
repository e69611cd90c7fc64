"""`kubedes validate`: the simulation replays measured setups and shows both."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Compare the simulation with measurements of real systems.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps the subjects' names even while there is one."""


@app.command("control-plane")
def control_plane(
    series: Annotated[str, typer.Option(help="Calibration whose series is replayed; `all` for each.")] = "all",
    families: Annotated[
        list[str] | None, typer.Option("--family", help="Only this family of rows; may be given again.")
    ] = None,
    truth_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Measurements in the recorded format, in place of the shared folder's."),
    ] = None,
    seconds: Annotated[float, typer.Option(help="Simulated length of a closed-loop row, in seconds.", min=0.1)] = 2.0,
    seed: Annotated[int, typer.Option(help="Seed of all random streams.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes; 0: one a core.", min=0)] = 0,
    missed: Annotated[bool, typer.Option("--missed", help="Print only the lines that missed their aim.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write tables (CSV), figures (PNG) and one page (HTML) here."),
    ] = None,
) -> None:
    """A real Kubernetes 1.20 control plane, row by row: measured, how far repetitions differ, simulated, error, verdict."""
    from experiments.validate import control_plane as subject
    from experiments.validate import findings, page, published
    from experiments.validate.truth import SERIES, find
    from sim.base.errors import InputError, near_miss

    names = list(SERIES) if series == "all" else [series]
    for name in names:
        if name not in SERIES:
            raise InputError(f"--series: '{name}' is no calibration with measurements; {near_miss(name, SERIES)}")
    known = [*subject.FAMILIES, subject.OUTAGES, published.NAME]
    for family in families or ():
        if family not in known:
            raise InputError(f"--family: '{family}' is no family of rows; {near_miss(family, known)}")
    chosen = [name for name in subject.FAMILIES if not families or name in families]
    needs_rows = not families or bool(chosen) or subject.OUTAGES in families
    truths = find(truth_dir, names) if needs_rows else []
    compared = subject.compare(truths, chosen, seconds, seed, workers)
    for one in compared:
        typer.echo(f"\n{one.calibration}: {one.family}, {len(one.rows)} rows")
        table = one.table[one.table.verdict == "MISSED"] if missed else one.table
        if len(table):
            typer.echo(table.to_string(index=False, na_rep="-", float_format=_figure))
        for text in one.not_replayed:
            typer.echo(f"not replayed: {text}")
    outages = {}
    if not families or subject.OUTAGES in families:
        for truth in truths:
            if found := subject.compare_outages(truth, seed):
                outages[truth.calibration] = found
                typer.echo(f"\n{truth.calibration}: outages after the death of a leader")
                typer.echo(
                    subject.outage_table(found).to_string(index=False, float_format=lambda value: f"{value:.3f}")
                )
    figures = published.compare(seed) if not families or published.NAME in families else None
    if figures is not None:
        typer.echo("\nPublished figures; machines and clusters set up as stated, costs of measured-1.20-2core")
        typer.echo(figures.to_string(index=False, na_rep="-", float_format=_figure))
    if compared:
        typer.echo("\nSummary")
        typer.echo(subject.summary(compared).to_string(index=False, na_rep="-", float_format=_figure))
    typer.echo("\nNot explained:")
    for text in findings.UNEXPLAINED:
        typer.echo(f"- {text}")
    if out is not None:
        page.write(out, compared, outages, figures)
        typer.echo(f"\nWritten to {out}: index.html, tables (CSV), figures (PNG)")


def _figure(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


@app.command("network")
def network(
    seed: Annotated[int, typer.Option(help="Seed of all random streams.")] = 1,
    truth_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of measurements in the recorded format, in place of the shared one."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write the tables (CSV) and the figure (SVG) here.")
    ] = None,
) -> None:
    """Data paths, rules, set-up of pods and BGP: measured, simulated, error; then published 10 Gbit/s benchmarks."""
    from experiments.validate import network as subject

    rows, published = subject.compare(seed, truth_dir), subject.compare_published(seed)
    tables = {"network": subject.frame(rows), "network-published": subject.frame(published)}
    for name, table in tables.items():
        typer.echo(f"\n{name}: costs calibrated from single streams, all else predicted")
        typer.echo(
            table.to_string(
                index=False, float_format=lambda value: f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
            )
        )
    judged = [row for row in rows if row.verdict != "shown" and row.role == "predicted"]
    typer.echo(f"{sum(row.verdict == 'within' for row in judged)} of {len(judged)} predicted figures within their aim")
    typer.echo("\nNot explained:")
    for text in subject.UNEXPLAINED:
        typer.echo(f"- {text}")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            table.to_csv(out / f"{name}.csv", index=False)
        subject.plot(rows).savefig(out / "network.svg")


@app.command("node")
def node(
    seed: Annotated[int, typer.Option(help="Seed of all random streams.")] = 1,
    published: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Table of published figures, in place of the shared folder's."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write the tables (CSV) here.")] = None,
) -> None:
    """Runtimes, kubelet stages, pods' networks: published or measured, simulated, error."""
    from experiments.validate import node as subject

    tables = subject.tables(seed, published)
    for title, table in tables.items():
        typer.echo(f"\n{title}")
        typer.echo(table.to_string(index=False, na_rep="-", float_format=_figure))
    typer.echo("\nNot explained:")
    for text in subject.UNEXPLAINED:
        typer.echo(f"- {text}")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for title, table in tables.items():
            table.to_csv(out / f"{title.split(':')[0].replace(' ', '-').lower()}.csv", index=False)
