"""`kubedes gate` and `kubedes compare-speed`: what fails when a change moves a service level, or slows the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from experiments.regression.baseline import Question

FAILED = 1
"""Exit code of a gate that is shut."""


def gate(
    baseline: Annotated[Path, typer.Option(metavar="FILE", help="The baseline to compare with, or to write.")],
    scenario: Annotated[
        str | None, typer.Argument(metavar="[SCENARIO]", help="With --update: the scenario; default: the baseline's.")
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Write the baseline instead of comparing.")] = False,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="With --update: a value over the scenario's."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="With --update: seed of all random streams.")] = None,
    replications: Annotated[int | None, typer.Option(help="With --update: runs that make the intervals; 5.")] = None,
    level: Annotated[
        list[str] | None,
        typer.Option("--level", metavar="METRIC", help="With --update: a service level, as pod_startup_p99."),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Exact counters (events, nodes filtered, …) must be equal too.")
    ] = False,
    allow_better: Annotated[
        bool, typer.Option("--allow-better", help="A level may improve beyond its interval.")
    ] = False,
) -> None:
    """Compare a scenario's service levels with a baseline; exit code 1 if one moved beyond its interval."""
    from experiments.regression.baseline import Baseline, ask, load, save
    from experiments.regression.gate import compare

    given = {"SCENARIO": scenario, "--set": sets, "--seed": seed, "--replications": replications, "--level": level}
    _check_options({name: value for name, value in given.items() if value is not None}, update, exact or allow_better)
    folder = baseline.absolute().parent
    if not update:
        known = load(baseline)
        found = compare(known, ask(known.question, folder, _tell), exact, allow_better)
        typer.echo(found.table())
        typer.echo(found.text(), err=not found.passed)
        if not found.passed:
            raise typer.Exit(FAILED)
        return
    question = _question(baseline, scenario, sets, seed, replications, level)
    made = Baseline(question, ask(question, folder, _tell))
    if baseline.is_file() and (known := load(baseline)).question == question:
        typer.echo(compare(known, made.answer).table())
    save(made, baseline)
    typer.echo(f"{len(made.answer.levels)} service levels of {question.scenario} kept in {baseline}")


def _check_options(given: dict[str, object], update: bool, compares: bool) -> None:
    """Refuse options that would do nothing."""
    from sim.base.errors import Problems

    problems = Problems("kubedes gate")
    if not update:
        for name in sorted(given):
            problems.add(name, given[name], "belongs to the baseline", "give it with --update")
    elif compares:
        problems.add("--exact, --allow-better", "given", "compare, which --update does not", "leave them out")
    problems.raise_if_any()


def _question(
    baseline: Path,
    scenario: str | None,
    sets: list[str] | None,
    seed: int | None,
    replications: int | None,
    level: list[str] | None,
) -> Question:
    """What is asked: by the options, else as the baseline that is there did."""
    import os
    from dataclasses import replace

    from experiments.metrics import read_metric
    from experiments.regression.baseline import REPLICATIONS, Question, load
    from sim.base.errors import InputError, Problems

    if scenario is None:
        if not baseline.is_file():
            raise InputError(
                f"{baseline}: there is no baseline yet: name a scenario, as kubedes gate quick --baseline {baseline} --update"
            )
        known = load(baseline).question
    else:
        file = Path(scenario)
        known = Question(os.path.relpath(file, baseline.absolute().parent) if file.is_file() else scenario)
    problems = Problems("kubedes gate")
    for name in level or ():
        read_metric(name, "--level", problems, statistic=True)
    problems.raise_if_any()
    return replace(
        known,
        sets=tuple(sets) if sets is not None else known.sets,
        seed=seed if seed is not None else known.seed,
        replications=replications or (known.replications if scenario is None else REPLICATIONS),
        levels=tuple(level) if level else known.levels,
    )


def _tell(text: str) -> None:
    import sys

    if sys.stderr.isatty():
        typer.echo(text, err=True)


def against(
    commit: Annotated[str, typer.Argument(metavar="COMMIT", help="What this source tree is compared with, as git names it.")],
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="The scenario that both run.")] = "quick",
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Put a value over the scenario's. Repeatable.")
    ] = None,
    pairs: Annotated[int, typer.Option(help="Times that both are run, side by side.")] = 8,
) -> None:
    """Compare the simulator's own speed with another commit's: exact counters, then paired times; exit code 1 if slower."""
    from experiments.regression.ab import LIMIT, compare_with_commit

    found = compare_with_commit(commit, scenario, sets or (), pairs)
    typer.echo(found.text())
    if found.slower():
        typer.echo(f"slower beyond doubt: the whole interval lies above {LIMIT:g}", err=True)
        raise typer.Exit(FAILED)
