"""`kubedes export` and `kubedes scheduler-perf`: a run in the file formats of the ecosystem."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sim.result.record import RunRecord
    from workloads.traces.scheduler_perf_plan import Plan

export_app = typer.Typer(help="Write a kept result in a format that other tools read.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A result, as `kubedes run --out FOLDER` kept it.")]
Out = Annotated[Path | None, typer.Option(metavar="FILE", help="Write it to a file; otherwise it is printed.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


@export_app.command()
def prometheus(
    folder: Folder,
    at: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Simulated time of the scrape; default: the end.")
    ] = None,
    out: Out = None,
    force: Force = False,
) -> None:
    """Kubernetes' own metrics at one moment, as a scrape of all components gives them (text format)."""
    from sim.result.exports.prometheus import scrape

    _write(scrape(_record(folder), at), out, force)


@export_app.command()
def history(
    folder: Folder,
    period: Annotated[float, typer.Option(metavar="SECONDS", help="Simulated time between two scrapes.")] = 15.0,
    start: Annotated[
        float, typer.Option(metavar="UNIX", help="Time stamp of simulated time 0, in Unix seconds.")
    ] = 0.0,
    out: Out = None,
    force: Force = False,
) -> None:
    """The same metrics over simulated time, as OpenMetrics for `promtool tsdb create-blocks-from openmetrics`."""
    from sim.result.exports.prometheus import history

    _write(history(_record(folder), period, start), out, force)


@export_app.command()
def trace(
    folder: Folder,
    pods: Annotated[int, typer.Option(help="Pods that are sampled: the slowest, and others evenly.")] = 100,
    out: Out = None,
    force: Force = False,
) -> None:
    """A timeline of sampled pods through components and nodes, for ui.perfetto.dev (trace-event JSON)."""
    from sim.result.exports.trace_events import trace_json

    _write(trace_json(_record(folder), pods) + "\n", out, force)


@export_app.command()
def perfdata(
    folder: Folder,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the two files; made if it is not there.")],
    force: Force = False,
) -> None:
    """ClusterLoader2's files of pod start-up latency and API responsiveness (perf-data JSON)."""
    from sim.result.exports.perfdata import (
        POD_STARTUP_FILE,
        RESPONSIVENESS_FILE,
        api_responsiveness,
        pod_startup_latency,
    )

    record = _record(folder)
    name = str(record.scenario.get("name") or "run")
    files = {POD_STARTUP_FILE: pod_startup_latency(record), RESPONSIVENESS_FILE: api_responsiveness(record)}
    out.mkdir(parents=True, exist_ok=True)
    for measurement, data in files.items():
        _write(data.dumps(), out / f"{measurement}_{name}.json", force)


def scheduler_perf(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A performance-config.yaml of scheduler_perf.")],
    workload: Annotated[
        list[str] | None,
        typer.Option(
            "--workload", metavar="CASE/NAME", help="Run this workload. Repeatable; none: list what there is."
        ),
    ] = None,
    scenario: Annotated[
        str, typer.Option(help="The cluster: a scenario with a scheduler_perf workload.")
    ] = "scheduler-perf",
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Put a value over the scenario's. Repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the benchmark's data items (JSON).")] = None,
    force: Force = False,
) -> None:
    """Run workloads of Kubernetes' scheduler benchmark and answer in its data items."""
    from workloads.traces.scheduler_perf import read_config

    if not workload:
        _list_workloads(config)
        return
    from experiments.cli import _check_new, _console
    from experiments.scheduler_perf import as_perf_data, data_items, unfinished
    from sim.scenario import Scenario
    from sim.simulate import simulate
    from workloads.kinds.scheduler_perf import SchedulerPerf

    read = read_config(config)
    for name in workload:
        read.find(name)
    if out is not None:
        _check_new(out, force)
    console = _console()
    items, waiting = [], []
    for name in workload:
        values = [f"workload.config={config.absolute()}", f"workload.case={name}", *(sets or [])]
        cluster = Scenario.load(scenario, values)
        cluster.check()
        if not isinstance(cluster.workload, SchedulerPerf):
            from sim.base.errors import InputError

            raise InputError(f"--scenario: '{scenario}' has no scheduler_perf workload; try scheduler-perf")
        plan = cluster.workload.plan(cluster.base_dir)
        record = simulate(cluster).record
        found = data_items(record, plan)
        items += found
        waiting += unfinished(record, plan)
        for item in found:
            figures = ", ".join(f"{key} {value:,.4g}" for key, value in item.data.items())
            result = f" ({item.labels['result']})" if "result" in item.labels else ""
            title = item.labels["Name"].partition("/")[2]
            console.print(
                f"{title}: {item.labels['Metric']}{result}: {figures} {item.unit}", highlight=False, soft_wrap=True
            )
        _print_notes(plan)
    if out is not None:
        _write(as_perf_data(items).dumps(), out, force)
        console.print(f"Kept in {out}", highlight=False, soft_wrap=True)
    for text in waiting:
        typer.echo(f"{text}; a longer --set horizon_s=… gives it more time", err=True)
    if waiting:
        raise typer.Exit(1)


def _list_workloads(config: Path) -> None:
    """Every workload of a file: its labels, threshold, parameters, and why it cannot be played if so."""
    from experiments.cli import WIDE, _console, _table
    from sim.base.errors import InputError
    from workloads.traces.scheduler_perf import read_config
    from workloads.traces.scheduler_perf_plan import make_plan

    read = read_config(config)
    rows: list[tuple[str, ...]] = []
    for case in read.cases:
        for one in case.workloads:
            name = f"{case.name}/{one.name}"
            try:
                plan = make_plan(read, name)
                about = f"{len(plan.nodes):,} nodes, {sum(app.pods for app in plan.apps):,} pods"
            except InputError as error:
                about = "refused: " + str(error).split("\n")[1].strip()
            params = ", ".join(f"{key} {value}" for key, value in one.params.items())
            rows.append((name, " ".join(one.labels), f"{one.threshold:g}" if one.threshold else "", params, about))
    columns = ("workload", "labels", "threshold", "parameters", "here")
    _console(WIDE).print(_table(f"Workloads of {config}", columns, rows, frozenset({"threshold"})))


def _print_notes(plan: Plan) -> None:
    for refusal in plan.left_out:
        typer.echo(f"Left out: {refusal.where}: {refusal.reason}", err=True)


def _record(folder: Path) -> RunRecord:
    from sim.result.storage import load

    return load(folder)


def _write(text: str, out: Path | None, force: bool) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    from experiments.cli import _check_new
    from sim.base.errors import OutputError

    _check_new(out, force)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{out}: could not be written: {error.strerror}. Make room or choose another place."
        ) from error
