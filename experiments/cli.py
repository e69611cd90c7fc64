"""The command `kubedes`. What is heavy to import is imported by the command that needs it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.cli_formats import export_app, scheduler_perf
from experiments.cli_gate import against, gate
from experiments.cli_network import app as network_app
from experiments.cli_sweep import app as sweep_app
from experiments.cli_validate import app as validate_app

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from sim.base.plugin import Catalog
    from sim.result.result import Result
    from sim.scenario import Scenario
    from sim.workload import Load

INPUT_ERROR = 2
"""Exit code when the user can mend it."""
DEFECT = 3
"""Exit code when the run broke a law of its own: nothing is kept."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
PLAIN_WIDTH = 120
"""Columns of tables that do not go to a terminal."""
WIDE = 240
"""The same for the table of all parameters."""

app = typer.Typer(
    name="kubedes",
    help="Simulate a whole Kubernetes cluster: will this control plane and network hold this load, "
    "what does a pod's start cost, what limits it?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(sweep_app)  # sweep, compare, capacity
app.add_typer(validate_app, name="validate")
app.add_typer(network_app, name="network")
app.add_typer(export_app, name="export")
app.command("scheduler-perf")(scheduler_perf)
app.command()(gate)
app.command("compare-speed")(against)

ScenarioName = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="Name of a scenario (see `list`), or a file's path.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Put a value over the scenario's, as nodes.count=2000. Repeatable."
    ),
]
Seed = Annotated[int | None, typer.Option(help="Seed of all random streams; default: the scenario's.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there from an earlier run.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"kubedes {version('kubedes')}")
        except PackageNotFoundError:
            typer.echo("kubedes, not installed as a package")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options before the command's name."""


@app.command()
def run(
    scenario: ScenarioName,
    sets: Sets = None,
    seed: Seed = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep tables, manifest and report in a new folder.")
    ] = None,
    force: Force = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no HTML report into --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no progress and no tables.")] = False,
) -> None:
    """Run a scenario and say what limits it. Ctrl-C keeps what there is, marked as partial."""
    cluster = _load(scenario, sets, seed)
    cluster.check()
    if out is not None:
        from sim.result.storage import check_target

        check_target(out, force)
    console = _console()
    if not quiet:
        console.print(_headline(cluster), highlight=False, soft_wrap=True)
    import sim.simulate  # its rooms register their kernels
    from experiments.progress import RunProgress
    from sim import kernels

    warmed = kernels.warm()
    if warmed.compiled and not quiet:
        console.print(f"First run: compiled {warmed.compiled} kernels in {warmed.seconds:.1f} s; later runs find them cached",
                      highlight=False, soft_wrap=True)
    with RunProgress(console, quiet) as progress:
        result = sim.simulate(cluster, progress=progress)
    if not quiet:
        _print_result(console, result)
    if out is not None:
        from sim.result.storage import REPORT

        result.save(out, force=force)
        if not no_report:
            from experiments.report import write_report

            write_report(result, out / REPORT)
        if not quiet:
            page = "" if no_report else f"; open {out / REPORT}"
            console.print(f"Kept in {out}{page}", highlight=False, soft_wrap=True)
    if not result.complete:
        raise typer.Exit(INTERRUPTED)


@app.command("list")
def list_names() -> None:
    """List scenarios, presets and every plugin that a scenario may name."""
    from experiments.sweep import standing
    from sim.base.yamltext import parse_yaml
    from sim.scenario_file import preset_files, scenario_files

    console = _console()
    rows: list[tuple[str, ...]] = [
        (name, str((parse_yaml(path.read_text(encoding="utf-8"), name) or {}).get("description", "")))
        for name, path in sorted(scenario_files().items())
    ]
    console.print(_table("Scenarios: kubedes run NAME", ("name", "what it is for"), rows))
    rows = [(name, _first_comment(path)) for name, path in standing().items()]
    console.print(_table("Standing experiments: kubedes sweep NAME --out DIR", ("name", "what it asks"), rows))
    rows = [(name, _first_comment(path)) for name, path in sorted(preset_files().items())]
    console.print(_table("Presets: extends: NAME, or kubernetes: VERSION", ("name", "what it sets"), rows))
    for title, catalog in _catalogs().items():
        rows = [(name, _one_line(catalog[name])) for name in catalog]
        console.print(_table(title, ("name", "what it is"), rows))


@app.command()
def show(
    scenario: ScenarioName,
    sets: Sets = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="A table: unit, bounds, meaning and source of each.")
    ] = False,
) -> None:
    """Print a scenario with every value resolved, as YAML that can be run."""
    cluster = _load(scenario, sets)
    if not sources:
        typer.echo(cluster.dump(), nl=False)
        return
    from sim.base.paths import format_path
    from sim.base.spec_tree import parameters

    rows = [
        (
            format_path(p.path),
            str(p.value),
            p.unit,
            p.bounds,
            p.description,
            p.source + (" (unverified)" if p.unverified else ""),
        )
        for p in parameters(cluster)
    ]
    columns = ("parameter", "value", "unit", "bounds", "meaning", "source")
    _console(WIDE).print(_table(f"Parameters of {cluster.name}", columns, rows))


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it to a file.")] = None,
    force: Force = False,
) -> None:
    """Print the JSON Schema of scenario files, for editors."""
    import json

    from sim.scenario import Scenario

    text = json.dumps(Scenario.json_schema(), indent=2, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        _check_new(out, force)
        out.write_text(text, encoding="utf-8")


@app.command()
def workload(
    scenario: ScenarioName,
    sets: Sets = None,
    seed: Seed = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one row an application, as .csv or .parquet.")
    ] = None,
    force: Force = False,
) -> None:
    """Say what arrives in a scenario, without running it."""
    from sim.base.rand import Streams
    from workloads.summary import describe

    cluster = _load(scenario, sets, seed)
    cluster.check()
    if out is not None:
        _check_new(out, force, (".csv", ".parquet"))
    assert cluster.workload is not None  # checked above
    load = cluster.workload.build(cluster.setting(), Streams(cluster.seed))
    console = _console()
    _print_load(console, describe(load, cluster.horizon_s))
    if out is not None:
        table = _applications(load)
        if out.suffix == ".csv":
            table.to_csv(out, index=False)
        else:
            table.to_parquet(out, index=False)
        console.print(f"Kept in {out}", highlight=False, soft_wrap=True)


def main() -> None:
    """Entry point: errors that the user can mend are printed without a traceback."""
    from sim.base.errors import InvariantError, KubedesError

    try:
        app()
    except InvariantError as error:
        typer.echo(f"{error}\nPlease report this with the scenario (`kubedes show`) and the seed.", err=True)
        sys.exit(DEFECT)
    except KubedesError as error:
        typer.echo(str(error), err=True)
        sys.exit(INPUT_ERROR)


# --- helpers, by command


def _load(name: str, sets: list[str] | None, seed: int | None = None) -> Scenario:
    from sim.scenario import Scenario

    return Scenario.load(name, [*(sets or []), *([] if seed is None else [f"seed={seed}"])])


def _console(plain_width: int = PLAIN_WIDTH) -> Console:
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=plain_width)


def _headline(cluster: Scenario) -> str:
    nodes = sum(cluster.nodes.pool_counts().values())
    where = f"{nodes:,} nodes" if nodes else "the workload's nodes"
    return (
        f"{cluster.name}: {where}, Kubernetes {cluster.kubernetes}, {cluster.horizon_s:,.0f} s simulated, "
        f"seed {cluster.seed}"
    )


def _check_new(path: Path, force: bool, endings: tuple[str, ...] = ()) -> None:
    """Raise `InputError` for a file that must not, or cannot, be written."""
    from sim.base.errors import Problems

    problems = Problems("--out")
    if endings and path.suffix not in endings:
        problems.add(str(path), path.suffix, f"must end in {' or '.join(endings)}")
    if path.exists() and not force:
        problems.add(str(path), path.name, "exists already", "give another name, or --force to replace it")
    if not path.parent.is_dir():
        problems.add(str(path), str(path.parent), "is not a folder")
    problems.raise_if_any()


def _table(
    title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], numbers: frozenset[str] = frozenset()
) -> Table:
    """A plain table; the columns in `numbers` stand to the right."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(
            column,
            overflow="fold",
            no_wrap=index == 0 and len(columns) < 4,
            justify="right" if column in numbers else "left",
        )
    for row in rows:
        table.add_row(*row)
    return table


def _first_comment(path: Path) -> str:
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def _one_line(plugin: object) -> str:
    """A plugin's own description, or the first line of its documentation."""
    text = str(getattr(plugin, "description", "") or getattr(plugin, "__doc__", "") or "")
    return text.strip().split("\n", 1)[0]


def _catalogs() -> dict[str, Catalog[Any]]:
    """Every family of plugins by what a scenario calls it."""
    from sim.apiserver.admission.catalog import ADMISSION
    from sim.apiserver.authentication.catalog import AUTHENTICATORS
    from sim.apiserver.authorization.catalog import AUTHORIZERS
    from sim.apiserver.flow_control.catalog import FLOW_CONTROLS
    from sim.apiserver.load_balancing.catalog import BALANCERS
    from sim.faults.catalog import FAULTS
    from sim.images.mixes import IMAGE_MIXES
    from sim.images.sources import IMAGE_SOURCES
    from sim.kubelet.runtimes import RUNTIMES
    from sim.network.cni import CNI
    from sim.workload import WORKLOADS
    from workloads.arrivals import ARRIVALS
    from workloads.shapes import MIXES

    return {
        "Workloads: workload.type": WORKLOADS,
        "Arrivals: arrivals.type in a workload": ARRIVALS,
        "Request shapes: mix in a workload": MIXES,
        "Authentication: apiserver.authentication.modes": AUTHENTICATORS,
        "Flow control: apiserver.flow_control.type": FLOW_CONTROLS,
        "Authorization: apiserver.authorization.modes": AUTHORIZERS,
        "Load balancers: apiserver.load_balancer.type": BALANCERS,
        "Admission plug-ins: apiserver.admission.plugins": ADMISSION,
        "Container runtimes: runtime.type": RUNTIMES,
        "Where images come from: registry.type": IMAGE_SOURCES,
        "Images, many at once: image_mix.type": IMAGE_MIXES,
        "Network plug-ins: network.cni.type": CNI,
        "Faults: faults[].type": FAULTS,
    }


NUMBERS = frozenset(
    {
        "applications",
        "count",
        "good minutes",
        "largest",
        "max",
        "mean",
        "p50",
        "p99",
        "p99 limit",
        "peak",
        "pods",
        "used",
        "wait",
    }
)
"""Columns that stand to the right."""


def _figure(value: object) -> str:
    """A number with three figures; nothing for what is not there."""
    if value is None or value != value:  # NaN
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _print_result(console: Console, result: Result) -> None:
    if not result.complete:
        console.print(f"PARTIAL: interrupted at {result.record.end_s:,.0f} simulated seconds", style="bold")
    summary = result.summary()
    usage = summary.index.str.endswith(("_utilisation", "_queue"))  # shown with the bottlenecks
    columns = ("mean", "p50", "p99", "max", "unit", "count", "verdict")
    metrics: list[tuple[str, ...]] = [
        (str(name), *(_figure(row[column]) for column in columns)) for name, row in summary[~usage].iterrows()
    ]
    console.print(_table("Summary", ("metric", *columns), metrics, NUMBERS))
    rows: list[tuple[str, ...]] = [
        (
            str(row.objective),
            str(row.subject),
            f"{_figure(row.p99_s)} s",
            f"{_figure(row.limit_s)} s",
            f"{row.good_minutes} of {row.minutes}",
            str(row.verdict),
        )
        for row in result.slo().itertuples()
    ]
    console.print(
        _table(
            "Service levels of Kubernetes",
            ("objective", "of", "p99", "p99 limit", "good minutes", "verdict"),
            rows,
            NUMBERS,
        )
    )
    rows = [
        (
            str(row.resource),
            str(row.room),
            f"{row.utilisation:.1%}",
            f"{row.peak_utilisation:.1%}",
            f"{_figure(row.mean_wait_s)} s",
            str(row.verdict),
        )
        for row in result.bottlenecks().head(8).itertuples()
    ]
    console.print(_table("What limits", ("resource", "room", "used", "peak", "wait", "verdict"), rows, NUMBERS))
    console.print(result.limits(), highlight=False)
    for reason, pods in sorted(result.record.reasons.items(), key=lambda item: -item[1]):
        share = pods / max(1, result.record.counters["pods_requested"])
        do = "pod does" if pods == 1 else "pods do"
        console.print(f"{pods:,} {do} not run ({share:.1%} of those asked for): {reason}", highlight=False)
    for note in result.record.notes:
        console.print(f"Note: {note}", highlight=False)
    wall = result.record.wall
    parts = ", ".join(f"{name.removesuffix('_s')} {seconds:.2f} s" for name, seconds in wall.items())
    console.print(f"{result.record.counters.get('events', 0):,} events; {parts}", highlight=False)


def _amount(resource: str, amount: float) -> str:
    """An amount in base units for people, rounded."""
    from sim.base.units import format_bytes

    if resource == "memory":
        return format_bytes(amount)
    return f"{_figure(amount / 1000)} cores" if resource == "cpu" else _figure(amount)


def _print_load(console: Console, about: dict[str, Any]) -> None:
    console.print(
        f"{about['applications']:,} applications with {about['pods']:,} pods"
        + (f" on {about['nodes']:,} nodes of the workload" if about["nodes"] else ""),
        highlight=False,
    )
    rows: list[tuple[str, ...]] = [
        (kind["kind"], f"{kind['applications']:,}", f"{kind['pods']:,}", f"{kind['pods_largest']:,}")
        for kind in about["kinds"]
    ]
    console.print(_table("By kind", ("kind", "applications", "pods", "largest"), rows, NUMBERS))
    rows = [
        (name, *(_amount(name, amount[key]) for key in ("mean", "peak"))) for name, amount in about["demand"].items()
    ]
    console.print(_table("In use, if pods started at once", ("resource", "mean", "peak"), rows, NUMBERS))
    rows = [
        (tenant["tenant"], f"{tenant['applications']:,}", f"{tenant['pods']:,}") for tenant in about["tenants"][:10]
    ]
    console.print(_table("Largest tenants", ("tenant", "applications", "pods"), rows, NUMBERS))
    refused = about["refused"]
    if refused["rows"]:
        console.print(f"{refused['rows']:,} of {about['rows_read']:,} rows left out:", highlight=False)
        for reason in refused["reasons"]:
            console.print(f"  {reason['rows']:,} {reason['reason']}", highlight=False)


def _applications(load: Load) -> pd.DataFrame:
    """One row an application; columns carry their units."""
    import pandas as pd

    from sim.scheduler.requests import pod_requests
    from sim.workload import AppKind

    template = load.app_template
    requests = [dict(pod_requests(spec)) for spec in load.templates]
    resources = sorted({name for request in requests for name in request})
    units = {"cpu": "cpu_millicores", "memory": "memory_bytes"}
    columns: dict[str, Any] = {
        "time_s": load.app_time_s,
        "end_s": load.app_end_s,
        "kind": [AppKind(kind).name.lower() for kind in load.app_kind],
        "tenant": [load.tenants[tenant] for tenant in load.app_tenant],
        "namespace": [load.templates[row].namespace for row in template],
        "pods": load.app_pods,
        "parallelism": load.app_parallelism,
        "images": [" ".join(c.image for c in load.templates[row].containers if c.image) for row in template],
    }
    for resource in resources:
        columns[units.get(resource, resource)] = [requests[row].get(resource, 0) for row in template]
    return pd.DataFrame(columns)


if __name__ == "__main__":
    main()
