"""`kubedes network`: checks of a configuration, and data paths side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Check a cluster's network; compare data paths.", no_args_is_help=True)

ScenarioName = Annotated[str, typer.Argument(metavar="SCENARIO", help="Name of a scenario, or a file's path.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Put a value over the scenario's. Repeatable.")
]


@app.command()
def check(
    scenario: ScenarioName = "quick",
    set_: Sets = None,
    conf: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A CNI configuration (.conf, .conflist) instead of the scenario's plug-in."),
    ] = None,
) -> None:
    """Which of Kubernetes' three network requirements hold, and why not. Exit code 1 when one does not."""
    from experiments.network import check as look
    from sim.scenario import Scenario

    findings = look(Scenario.load(scenario, set_ or ()), conf)
    for finding in findings:
        typer.echo(f"{'holds' if finding.holds else 'FAILS'}  {finding.requirement}: {finding.reason}")
    if not all(finding.holds for finding in findings):
        raise typer.Exit(1)


@app.command()
def compare(
    scenario: ScenarioName,
    set_: Sets = None,
    cni: Annotated[list[str] | None, typer.Option(help="Data path to look at; default: all. Repeatable.")] = None,
    run: Annotated[
        bool,
        typer.Option(
            "--run/--no-run", help="Also simulate the scenario's load: set-up, reachability, the pods' places."
        ),
    ] = True,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write the table (CSV) and the figure (SVG) here.")
    ] = None,
) -> None:
    """Throughput, latency, processor time a GB, time to reachable and table sizes, for every data path."""
    from experiments import network as subject
    from sim.scenario import Scenario

    outcomes = subject.compare(
        Scenario.load(scenario, set_ or ()), cni or (), run, tell=lambda name: typer.echo(f"{name} ...", err=True)
    )
    table = subject.frame(outcomes)
    typer.echo(
        table.drop(columns="note")
        .set_index("cni")
        .T.to_string(float_format=lambda value: f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}")
    )
    for outcome in outcomes:
        for why in filter(
            None,
            [
                outcome.refused,
                *sorted({f"{label}: {why}" for label, result in outcome.traffic.items() for why in result.failed}),
            ],
        ):
            typer.echo(f"{outcome.cni}: {why}")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        table.to_csv(out / "network-compare.csv", index=False)
        subject.plot(outcomes).savefig(out / "network-compare.svg")
