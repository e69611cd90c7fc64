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
    seconds: Annotated[float, typer.Option(help="Simulated length of a row, in seconds.", min=0.1)] = 3.0,
    seed: Annotated[int, typer.Option(help="Seed of all random streams.")] = 1,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write the tables (CSV) and figures (SVG) here.")] = None,
) -> None:
    """etcd's benchmark and the outages after a leader's death: measured, how far repetitions differ, simulated, error."""
    from experiments.validate import control_plane as subject
    from sim.base.errors import InputError, near_miss

    names = list(subject.SERIES) if series == "all" else [series]
    for name in names:
        if name not in subject.SERIES:
            raise InputError(f"--series: '{name}' is no calibration with measurements; {near_miss(name, subject.SERIES)}")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    for name in names:
        table, outcomes = subject.compare_etcd(name, seconds, seed)
        typer.echo(f"\n{name}: etcd alone, closed-loop clients on the same 2 cores")
        typer.echo(table.to_string(index=False, float_format=lambda value: f"{value:.3g}" if value < 1000 else f"{value:.0f}"))
        judged = table[table.verdict.isin(["within", "MISSED"])]
        typer.echo(f"{int((judged.verdict == 'within').sum())} of {len(judged)} predicted figures within their aim or the floor")
        if out is not None:
            table.to_csv(out / f"etcd-{name}.csv", index=False)
            subject.plot_etcd(name, outcomes).savefig(out / f"etcd-{name}.svg")
    outages = subject.compare_outages(seed=seed)
    table = subject.outage_table(outages)
    typer.echo("\nOutages after the death of a leader")
    typer.echo(table.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    if out is not None:
        table.to_csv(out / "outages.csv", index=False)
        subject.plot_outages(outages).savefig(out / "outages.svg")


@app.command("network")
def network(
    seed: Annotated[int, typer.Option(help="Seed of all random streams.")] = 1,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write the tables (CSV) and the figure (SVG) here.")] = None,
) -> None:
    """Data paths, rules, set-up of pods and BGP: measured, simulated, error; then published 10 Gbit/s benchmarks."""
    from experiments.validate import network as subject

    rows, published = subject.compare(seed), subject.compare_published(seed)
    tables = {"network": subject.frame(rows), "network-published": subject.frame(published)}
    for name, table in tables.items():
        typer.echo(f"\n{name}: costs calibrated from single streams, all else predicted")
        typer.echo(table.to_string(index=False, float_format=lambda value: f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"))
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
