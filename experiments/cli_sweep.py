"""The commands `sweep`, `compare`, `capacity`, `sensitivity` and `report`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas as pd

PLAIN_WIDTH = 140
"""Columns of tables that do not go to a terminal."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
RUNS_FAILED = 1
"""Exit code when some runs of a sweep failed: their errors are rows of the result."""

app = typer.Typer(add_completion=False)

Workers = Annotated[int | None, typer.Option(help="Processes on this machine; default: one a core. 0: run in this process.")]
On = Annotated[
    str | None, typer.Option("--on", metavar="ADDRESS", help="A Dask cluster: tcp://host:8786, or its scheduler file.")
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Put a value over the scenario's. Repeatable.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print no progress and no tables.")]
Report = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write a page, .html to read or .md for a pull request.")
]


@app.command()
def sweep(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A sweep: scenario, axes, replications (YAML); or a standing experiment's name.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Results folder; one that is there of the same sweep goes on.")],
    sets: Sets = None,
    workers: Workers = None,
    on: On = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run again what failed before.")] = False,
    quiet: Quiet = False,
) -> None:
    """Run every design of a sweep, each several times. Stopped in the middle, the same command goes on."""
    import experiments
    from experiments.metrics import metric

    asked = experiments.Sweep.from_file(file, sets or [])
    designs = asked.designs()
    if not quiet:
        _say(f"{len(designs):,} designs of {asked.cluster.name}, {asked.replications:,} replications each")
    try:
        runs = experiments.run(asked, out, workers, on, retry_failed=retry_failed, quiet=quiet)
    except KeyboardInterrupt:
        _say(f"Stopped: what is whole is kept in {out}; the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None
    failed = runs.table[runs.table["status"] == "failed"]
    if not quiet:
        columns = [metric(name) for name in asked.metrics]
        means = [runs.values(column).groupby("design", observed=True, sort=False)["value"] for column in columns]
        counts = runs.table[runs.table["status"] == "done"]["design"].value_counts()
        rows = [(design.name, str(counts.get(design.name, 0)), *(_spread(found, design.name) for found in means)) for design in designs]
        _show("Means over replications, with 95 % intervals", ("design", "runs", *(f"{column}, {column.unit}" for column in columns)), rows)
        for row in failed.head(10).itertuples():
            _say(f"failed: {row.design}, replication {row.rep}: {str(row.error).splitlines()[0]}")
        _say(f"Kept in {out}; read it with experiments.open, or compare two designs: kubedes compare '{out}@DESIGN' '{out}@DESIGN'")
    if len(failed):
        raise typer.Exit(RUNS_FAILED)


@app.command()
def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="Results folder of a run or sweep; FOLDER@DESIGN picks a design. Or a scenario, which is run: its name, its file, "
            "or 'NAME@PATH=VALUE, PATH=VALUE'.",
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="What is compared with A.")],
    replications: Annotated[int, typer.Option(min=1, help="Runs of a scenario, with the same random numbers on both sides.")] = 5,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the runs of scenarios here; the same command goes on there.")
    ] = None,
    workers: Workers = None,
    on: On = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no progress of runs.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show figures without a clear difference too.")] = False,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Of the intervals and verdicts.")] = 0.95,
    report: Report = None,
) -> None:
    """Say what is better or worse in B than in A, how surely, and why."""
    import experiments

    found = experiments.compare(a, b, confidence, replications, out, workers, on, quiet)
    alone = bool((found.table["verdict"] == "one run each").any())
    table = found.table if everything or alone else found.changes()
    columns = ("metric", "of", "unit", "A", "B", "difference", "%", "p", "verdict")
    rows = [
        (str(row["metric"]), str(row["statistic"]), str(row["unit"]), _interval(row, "a"), _interval(row, "b"),
         _interval(row, "difference"), _number(row["percent"]), _number(row["p_holm"]), str(row["verdict"]))
        for _, row in table.iterrows()
    ]
    how = f"{found.runs[0]} pairs of runs" if found.paired else f"{found.runs[0]} and {found.runs[1]} runs, unpaired"
    _say(f"A: {found.a}\nB: {found.b}\n{how}, {confidence:.0%} intervals in brackets")
    _show("What differs" if table is not found.table else "All figures", columns, rows)
    stages = found.stages[found.stages["share"].abs() >= 0.01]
    _show(
        "Where the difference in start-up time is", ("stage", "A s", "B s", "difference s", "share"),
        [(str(row.stage), _number(row.a_mean_s), _number(row.b_mean_s), _number(row.difference_s), f"{row.share:.0%}")
         for row in stages.itertuples()],
    )
    queues = found.resources[(found.resources["a_verdict"] != "has room") | (found.resources["b_verdict"] != "has room")]
    _show(
        "What limits", ("resource", "A used", "B used", "A wait s", "B wait s", "A", "B"),
        [(str(row.resource), f"{row.a_utilisation:.0%}", f"{row.b_utilisation:.0%}", _number(row.a_wait_per_pod_s),
          _number(row.b_wait_per_pod_s), str(row.a_verdict), str(row.b_verdict)) for row in queues.itertuples()],
    )
    _say(found.why())
    _write_report(found, report)


@app.command()
def capacity(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="Name of a scenario, or a file's path.")],
    find: Annotated[str, typer.Option(metavar="PATH", help="The number to make as large as possible: workload.rate_per_s.")],
    slo: Annotated[list[str], typer.Option(metavar="METRIC<=LIMIT", help="As 'pod_startup_p99<=5s'. Repeatable: all must hold.")],
    low: Annotated[float | None, typer.Option(help="Search from here; default: from the scenario's value outwards.")] = None,
    high: Annotated[float | None, typer.Option(help="Search up to here.")] = None,
    within: Annotated[float, typer.Option(help="How near the ends of the answer shall be, as a share.")] = 0.05,
    over: Annotated[
        str | None, typer.Option(metavar="PATH=V1,V2", help="Find it at each of these values of another field: a frontier.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="That both ends of the answer are right.")] = 0.95,
    sets: Sets = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the runs, and go on from them the next time.")] = None,
    workers: Workers = None,
    on: On = None,
    quiet: Quiet = False,
) -> None:
    """Find how far a number can go while the service levels hold: rate of arrivals, nodes, pods."""
    from experiments.capacity import find_capacity, frontier
    from sim.base.errors import InputError
    from sim.base.yamltext import parse_yaml
    from sim.scenario import Scenario

    cluster = Scenario.load(scenario, sets or [])
    search: dict[str, Any] = {
        "low": low, "high": high, "within": within, "confidence": confidence, "workers": workers, "on": on, "quiet": quiet,
    }
    if over is not None:
        path, equals, values = over.partition("=")
        if not equals or not values:
            raise InputError(f"--over {over}: must be PATH=V1,V2, for example nodes.pools.general.count=100,200")
        found = frontier(cluster, find, slo, path, parse_yaml(f"[{values}]", f"--over {over}"), out, **search)
        _show(f"{find} by {path}", (path, "can be", "fails at"),
              [(str(row.iloc[0]), _number(row["capacity"]), _number(row["fails_at"])) for _, row in found.iterrows()])
        return
    answer = find_capacity(cluster, find, slo, out=out, **search)
    if not quiet:
        names = [str(given.metric) for given in answer.slos]
        _show(f"Values of {find} that were tried", ("value", "verdict", "runs", *names), _tried(answer.levels, names))
    _say(answer.sentence())


@app.command()
def sensitivity(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="Name of a scenario, or a file's path.")],
    vary: Annotated[
        list[str],
        typer.Option(metavar="PATH=LOW..HIGH", help="Or PATH=xK: from 1/K to K times. PATH may hold *, or be `unverified`. Repeatable."),
    ],
    metric: Annotated[str, typer.Option(help="What is looked at, with its statistic.")] = "pod_startup_p99",
    method: Annotated[str, typer.Option(help="one-at-a-time, morris or sobol.")] = "one-at-a-time",
    replications: Annotated[int, typer.Option(min=1, help="Of every design.")] = 3,
    trajectories: Annotated[int, typer.Option(help="Of morris: (factors + 1) designs each.")] = 10,
    samples: Annotated[int, typer.Option(help="Of sobol, a power of two: (factors + 2) designs each.")] = 64,
    sets: Sets = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the runs here; the same question goes on there.")] = None,
    workers: Workers = None,
    on: On = None,
    report: Report = None,
    quiet: Quiet = False,
) -> None:
    """Find which numbers of a scenario a metric depends on."""
    import experiments
    from experiments.sensitivity import folder_for, read_factors
    from sim.scenario import Scenario

    asked: Any = method
    found = experiments.sensitivity(
        Scenario.load(scenario, sets or []), read_factors(vary), metric, out or folder_for(scenario, metric), method=asked,
        replications=replications, trajectories=trajectories, samples=samples, workers=workers, on=on, quiet=quiet,
    )
    if not quiet:
        columns = [name for name in found.table.columns if name not in ("unit", "weight")]
        rows = [[str(row["path"]), *(_number(row[name]) for name in columns[1:])] for _, row in found.table.head(20).iterrows()]
        _show(f"{metric} in {found.metric.unit}", columns, rows)
    _say(found.sentence())
    _write_report(found, report)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Results folder of a run or a sweep.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to: .html to read or .md for a pull request. Default: report.html in DIR.")
    ] = None,
) -> None:
    """Write the report of a run or a sweep that was kept."""
    import experiments
    from experiments.store import EXPERIMENT
    from sim.result.result import Result

    what: Any = experiments.open(folder) if (folder / EXPERIMENT).exists() else Result.load(folder)
    _write_report(what, out or folder / "report.html")


def _write_report(what: Any, path: Path | None) -> None:
    if path is not None:
        from experiments.report import write_report

        _say(f"Open {write_report(what, path)}")


def _tried(levels: pd.DataFrame, names: Sequence[str]) -> list[tuple[str, ...]]:
    rows = []
    for _, row in levels.iterrows():
        figures = [f"{_number(row[name])} [{_number(row[name + '_low'])}, {_number(row[name + '_high'])}]"
                   if name in row and row[name] == row[name] else "-" for name in names]
        rows.append((f"{row['value']:g}", str(row["verdict"]), str(row["replications"]), *figures))
    return rows


def _number(value: Any) -> str:
    """A number with three figures; nothing for what is not there."""
    if value is None or value != value:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _spread(values: Any, design: str) -> str:
    """Mean of a design's runs, with its interval where there are several."""
    from experiments.statistics import mean_interval

    if design not in values.groups:
        return "-"
    found = mean_interval(values.get_group(design).to_numpy(float))
    return _number(found.value) if found.n < 2 else f"{_number(found.value)} [{_number(found.low)}, {_number(found.high)}]"


def _interval(row: Any, name: str) -> str:
    if row[f"{name}_low"] != row[f"{name}_low"]:
        return _number(row[name])
    return f"{_number(row[name])} [{_number(row[f'{name}_low'])}, {_number(row[f'{name}_high'])}]"


def _say(text: str) -> None:
    typer.echo(text)


def _show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table; the first column is text, the others stand to the right."""
    if not rows:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    (Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)).print(table)
