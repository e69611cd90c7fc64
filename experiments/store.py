"""The results of many runs in one folder, written a run at a time and read lazily.

    experiment.json                                   what was asked: designs, replications, seed, versions
    scenario=<hash>/rep=<n>/manifest.json             of one run: the resolved scenario, seed, exact counters, file hashes
    scenario=<hash>/rep=<n>/{pods,requests,…}.parquet its tables; summary, stages and bottlenecks are tables too

A run's folder appears by one rename when it is whole, so what is there is done: whoever is killed, whenever. It is not
flushed to the disk run by run; what a power cut takes has other lengths than its manifest says, and runs again when the
experiment goes on. Nothing that differs between two
executions (clock times, hosts, the order of ending) is written: an interrupted and resumed sweep leaves the same bytes
as an uninterrupted one. A run that failed has a manifest with its error and no tables.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.metrics import Metric, metric, statistic_of
from sim.base.errors import InputError, OutputError, Problems, near_miss
from sim.result.schema import TABLES

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.dataset

    from experiments.sweep import Design
    from sim.result.result import Result

FORMAT = "kubedes experiment"
FORMAT_VERSION = 1
FAILED = "kubedes failed run"
EXPERIMENT = "experiment.json"
MANIFEST = "manifest.json"
WORK = ".work"
"""Folder of runs that are being written; emptied when an experiment goes on."""
DERIVED_TABLES = ("summary", "stages", "bottlenecks")
"""Small tables worked out once, where the run ran."""

DONE, FAILED_RUN, MISSING = "done", "failed", "missing"


def run_folder(scenario: str, replication: int) -> Path:
    """Where a run is, below the experiment's folder."""
    return Path(f"scenario={scenario}", f"rep={replication}")


def identity_of(kind: str, parts: Iterable[str]) -> str:
    """Names an experiment by what it asks."""
    return hashlib.sha256("\n".join([kind, *parts]).encode()).hexdigest()[:16]


class ExperimentFolder:
    """The writing side: one process at a time holds it."""

    def __init__(self, path: str | os.PathLike[str], about: Mapping[str, Any]) -> None:
        """Make the folder or go on in it. about: `kind`, `identity`, and what else `experiment.json` says of the question.

        `InputError` when it holds something else, or another process is at work in it.
        """
        self.path = Path(path).absolute()
        self._about = dict(about)
        self._designs: dict[str, dict[str, Any]] = {}
        self._replications = 0
        self._lock: int | None = None
        found = self._refuse_others()
        with _writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._hold()
            shutil.rmtree(self.path / WORK, ignore_errors=True)
        if found:
            self._replications = found["replications"]
            self._designs = {design["scenario"]: design for design in found["designs"]}

    def _refuse_others(self) -> dict[str, Any] | None:
        if not self.path.exists() or (self.path.is_dir() and not _visible(self.path)):
            return None
        found = read_experiment(self.path)
        problems = Problems("results folder")
        if found["identity"] != self._about["identity"]:
            there = ", ".join(found.get("paths", [])) or "no axes"
            problems.add(
                str(self.path), self.path.name,
                f"holds another experiment ({found['kind']} of {found.get('name') or 'a scenario'}: {there})",
                "it has other values, or another version of the parameters: choose another folder",
            )
        elif found["versions"]["kubedes"] != _versions()["kubedes"]:
            problems.add(
                str(self.path), found["versions"]["kubedes"], f"is the version of kubedes it was begun with; this is "
                f"{_versions()['kubedes']}", "choose another folder, or go on with that version",
            )
        problems.raise_if_any()
        return found

    def _hold(self) -> None:
        """One process at a time. The lock is on the folder itself and ends with the process, however that ends."""
        try:
            import fcntl
        except ImportError:  # not a Unix
            return
        self._lock = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise InputError(f"{self.path}: another process is at work in this folder; wait for it, or choose another") from None

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> ExperimentFolder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def identity(self) -> str:
        return str(self._about["identity"])

    def expect(self, designs: Sequence[Design], replications: int) -> None:
        """Write down what is to run, before it runs."""
        for design in designs:
            self._designs.setdefault(
                design.hash, {"scenario": design.hash, "name": design.name, "values": dict(design.values)}
            )
        self._replications = max(self._replications, replications)
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **self._about,
            "replications": self._replications,
            "designs": list(self._designs.values()),
            "versions": _versions(),
        }
        work = self.path / WORK
        with _writing(self.path):
            work.mkdir(exist_ok=True)
            _write_json(work / EXPERIMENT, content)
            os.replace(work / EXPERIMENT, self.path / EXPERIMENT)
            work.rmdir()

    def is_done(self, scenario: str, replication: int) -> bool:
        """Whether a run is there; remains of one that a power cut damaged are taken away."""
        run = self.path / run_folder(scenario, replication)
        if not run.exists():
            return False
        if _is_whole(run):
            return True
        with _writing(self.path):
            shutil.rmtree(run)
        return False

    def forget_failed(self) -> int:
        """Take away runs that failed, so that they run again; how many there were."""
        failed = [run for run in _runs_in(self.path) if _failure(run / MANIFEST) is not None]
        for run in failed:
            shutil.rmtree(run)
        return len(failed)

    def keep_failure(self, scenario: str, replication: int, error: str) -> None:
        """Keep a run that never came to an end of its own."""
        work = self.path / WORK / f"{scenario}-{replication}"
        with _writing(self.path):
            write_failure(work, error, "", scenario, replication)
            put_in_place(work, self.path, scenario, replication)

    def keep_files(self, scenario: str, replication: int, files: Mapping[str, bytes]) -> None:
        """Keep a run whose files came from a machine that does not see this folder."""
        work = self.path / WORK / f"{scenario}-{replication}"
        with _writing(self.path):
            work.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                (work / name).write_bytes(content)
            put_in_place(work, self.path, scenario, replication)

    def tidy(self) -> None:
        shutil.rmtree(self.path / WORK, ignore_errors=True)


# --- one run, written where it ran


def write_run(result: Result, work: Path) -> None:
    """All tables of a run and its manifest into the new folder `work`."""
    from sim.result.storage import save

    result.record.wall = {}  # differs between two executions of the same run
    derived = {
        "summary": result.summary().reset_index(),
        "stages": result.stages(),
        "bottlenecks": result.bottlenecks().reset_index(),
    }
    save(result.record, {name: getattr(result, name) for name in TABLES} | derived, work, durable=False)


def write_failure(work: Path, error: str, trace: str, scenario: str, replication: int) -> None:
    """The manifest of a run that failed into the new folder `work`."""
    work.mkdir(parents=True, exist_ok=True)
    _write_json(
        work / MANIFEST,
        {"format": FAILED, "scenario": scenario, "replication": replication, "error": error, "trace": trace},
    )


def put_in_place(work: Path, experiment: Path, scenario: str, replication: int) -> None:
    """Rename a whole run to its place. One that is there already stays: it has the same bytes."""
    target = experiment / run_folder(scenario, replication)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(work, target)
    except OSError:
        if not (target / MANIFEST).exists():
            raise
        shutil.rmtree(work, ignore_errors=True)


def holds(experiment: Path, identity: str) -> bool:
    """Whether this machine sees the experiment's folder (a worker elsewhere may not, or may see another of that name)."""
    try:
        with (experiment / EXPERIMENT).open("rb") as file:  # the identity comes first, thousands of designs after it
            return f'"identity": "{identity}"'.encode() in file.read(1024)
    except OSError:
        return False


# --- reading


def open(path: str | os.PathLike[str]) -> Runs:
    """The runs of an experiment's folder, also while it is being written. `InputError` when it is none."""
    return Runs(Path(path))


class Runs:
    """What came out. Tables are DataFrames, read when asked for; each row says its design and replication."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.about = read_experiment(path)

    @property
    def paths(self) -> list[str]:
        """The paths in the scenario that differ between designs."""
        return list(self.about.get("paths", []))

    @cached_property
    def designs(self) -> pd.DataFrame:
        """One row a design (index: the scenario's hash): its name and its value at each path."""
        import pandas as pd

        rows = [
            {"design": design["name"], **{path: design["values"].get(path) for path in self.paths}}
            for design in self.about["designs"]
        ]
        hashes = pd.Index([design["scenario"] for design in self.about["designs"]], name="scenario")
        return pd.DataFrame(rows, index=hashes, columns=["design", *self.paths])

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a run: scenario, rep, design, the values of its axes, status (done, failed, missing), error."""
        import pandas as pd

        found = {_place(run): _failure(run / MANIFEST) for run in _runs_in(self.path)}
        rows = []
        for scenario in self.designs.index:
            reps = {rep for (of, rep) in found if of == scenario} | set(range(self.about["replications"]))
            for rep in sorted(reps):
                error = found.get((scenario, rep), "")
                status = MISSING if (scenario, rep) not in found else DONE if error is None else FAILED_RUN
                rows.append((scenario, rep, status, error or ""))
        runs = pd.DataFrame(rows, columns=["scenario", "rep", "status", "error"])
        return runs.join(self.designs, on="scenario")[["scenario", "rep", *self.designs.columns, "status", "error"]]

    @cached_property
    def pods(self) -> pd.DataFrame:
        """Every pod of every run. For large experiments `read` takes columns and designs."""
        return self.read("pods")

    @cached_property
    def requests(self) -> pd.DataFrame:
        """Kinds of API requests of every run."""
        return self.read("requests")

    @cached_property
    def series(self) -> pd.DataFrame:
        """Sampled levels of every run."""
        return self.read("series")

    @cached_property
    def nodes(self) -> pd.DataFrame:
        """Nodes of every run."""
        return self.read("nodes")

    @cached_property
    def resources(self) -> pd.DataFrame:
        """Contended things of every run."""
        return self.read("resources")

    @cached_property
    def summary(self) -> pd.DataFrame:
        """The summary of every run: a row a metric, with mean, p50, p99, max, unit, count, objective, verdict."""
        return self.read("summary")

    @cached_property
    def stages(self) -> pd.DataFrame:
        """Where start-up time goes, of every run."""
        return self.read("stages")

    @cached_property
    def bottlenecks(self) -> pd.DataFrame:
        """What limits, of every run."""
        return self.read("bottlenecks")

    def read(
        self, table: str, columns: Sequence[str] | None = None, designs: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """A table of every run as one DataFrame, with columns `scenario`, `design`, `rep` and the axes before its own.

        columns: of the table, default all. designs: names or hashes, default all. `InputError` on unknown names.
        """
        import pandas as pd
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._check_table(table)
        chosen = self._chosen(designs)
        parts = []
        for scenario, rep in self._done(chosen):
            try:
                file = pq.ParquetFile(self.path / run_folder(scenario, rep) / f"{table}.parquet")
                part = file.read(None if columns is None else list(columns))
            except OSError as error:
                raise InputError(f"{self.path / run_folder(scenario, rep)}: {table}.parquet cannot be read: {error}; "
                                 "take the run's folder away and run the sweep again") from None
            if columns is not None and len(part.column_names) < len(columns):
                lost = next(name for name in columns if name not in part.column_names)
                raise InputError(f"columns: '{lost}' is no column of {table}; {near_miss(lost, file.schema_arrow.names)}")
            where = pa.array([list(self.designs.index).index(scenario)] * len(part), pa.int32())
            parts.append(part.append_column("__design", where).append_column("rep", pa.array([rep] * len(part), pa.int64())))
        if not parts:
            return pd.DataFrame(columns=["scenario", "design", "rep", *self.paths, *(columns or [])])
        frame = pa.concat_tables(parts, promote_options="permissive").to_pandas()
        codes = frame.pop("__design").to_numpy()
        rep_column = frame.pop("rep")
        about: dict[str, Any] = {
            "scenario": pd.Categorical.from_codes(codes, categories=self.designs.index),
            "design": pd.Categorical.from_codes(codes, categories=pd.Index(self.designs["design"])),
            "rep": rep_column,
        }
        for path in self.paths:
            about[path] = self.designs[path].to_numpy()[codes]
        return pd.concat([pd.DataFrame(about), frame], axis=1)

    def dataset(self, table: str) -> pyarrow.dataset.Dataset:
        """A table of every run as a pyarrow dataset with the partition columns `scenario` and `rep`: reads what a query needs."""
        import pyarrow as pa
        import pyarrow.dataset as pads

        self._check_table(table)
        files = [str(self.path / run_folder(*run) / f"{table}.parquet") for run in self._done(self._chosen(None))]
        partitions = pads.partitioning(pa.schema([("scenario", pa.string()), ("rep", pa.int64())]), flavor="hive")
        return pads.dataset(files, format="parquet", partitioning=partitions, partition_base_dir=str(self.path))

    def result(self, design: str, rep: int = 0) -> Result:
        """One run, as `sim.simulate` returned it. design: name or hash."""
        from sim.result.result import Result

        (scenario,) = self._chosen([design])
        place = self.path / run_folder(scenario, rep)
        error = _failure(place / MANIFEST) if (place / MANIFEST).exists() else None
        if error is not None:
            raise InputError(f"{place}: this run failed: {error}")
        return Result.load(place)

    def values(self, name: str | Metric, designs: Sequence[str] | None = None) -> pd.DataFrame:
        """A metric of every run: columns scenario, design, rep, axes, statistic, value. name: as in `pod_startup_p99`."""
        import pandas as pd

        wanted = metric(name) if isinstance(name, str) else name
        keys = ["scenario", "design", "rep", *self.paths]
        if wanted.of_pods:
            pods = self.read("pods", ["measured", wanted.name], designs)
            pods = pods[pods["measured"].astype(bool) & pods[wanted.name].notna()]
            groups = {key: group.to_numpy(np.float64) for key, group in
                      pods.groupby(["scenario", "rep"], observed=True)[wanted.name]}
            rows = [
                (scenario, rep, statistic, statistic_of(groups.get((scenario, rep), np.zeros(0)), statistic))
                for scenario, rep in self._done(self._chosen(designs)) for statistic in wanted.statistics
            ]
            frame = pd.DataFrame(rows, columns=["scenario", "rep", "statistic", "value"]).join(self.designs, on="scenario")
        else:
            summary = self.read("summary", ["metric", *wanted.statistics], designs)
            frame = summary[summary["metric"] == wanted.name].melt(
                keys, list(wanted.statistics), var_name="statistic", value_name="value"
            )
        return frame[[*keys, "statistic", "value"]].reset_index(drop=True)

    def compare(self, name: str, by: str, baseline: Any = None, confidence: float = 0.95) -> pd.DataFrame:
        """A metric of designs that differ in one axis, paired by replication: see `experiments.compare.by_axis`."""
        from experiments.compare import by_axis

        return by_axis(self, name, by, baseline, confidence)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        states = self.table["status"].value_counts()
        parts = ", ".join(f"{count:,} {state}" for state, count in states.items())
        return f"<Runs in {self.path}: {len(self.designs):,} designs; {parts}>"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<p>{escape(repr(self))}</p>{self.designs.head(20).to_html()}"

    # --- which

    def _check_table(self, table: str) -> None:
        known = (*TABLES, *DERIVED_TABLES)
        if table not in known:
            raise InputError(f"tables: '{table}' is not kept of runs; {near_miss(table, known)}")

    def _chosen(self, designs: Sequence[str] | None) -> list[str]:
        """Hashes of designs given by name or hash."""
        if designs is None:
            return list(self.designs.index)
        by_name = {**{design: scenario for scenario, design in self.designs["design"].items()},
                   **{scenario: scenario for scenario in self.designs.index}}
        problems = Problems(f"designs in {self.path}")
        for design in designs:
            if design not in by_name:
                problems.add("design", design, "is not one of them", near_miss(design, map(str, self.designs["design"])))
        problems.raise_if_any()
        return [str(by_name[design]) for design in designs]

    def _done(self, scenarios: Sequence[str]) -> list[tuple[str, int]]:
        """(hash, replication) of the runs that ended well, in the order of designs."""
        order = {scenario: number for number, scenario in enumerate(scenarios)}
        table = self.table[(self.table["status"] == DONE) & self.table["scenario"].isin(order)]
        runs = [(str(scenario), int(rep)) for scenario, rep in zip(table["scenario"], table["rep"], strict=True)]
        return sorted(runs, key=lambda run: (order[run[0]], run[1]))


def read_experiment(path: Path) -> dict[str, Any]:
    """`experiment.json` of a folder; `InputError` when there is none that can be used."""
    problems = Problems("results folder")
    content: Any = None
    try:
        content = json.loads((path / EXPERIMENT).read_text("utf-8"))
    except FileNotFoundError:
        problems.add(str(path), path.name, f"has no {EXPERIMENT}: it is not the folder of an experiment",
                     "give the folder that a sweep wrote, or a new one to write")
    except (OSError, ValueError) as error:
        problems.add(str(path / EXPERIMENT), path.name, f"cannot be read: {error}")
    if not problems and (not isinstance(content, dict) or content.get("format") != FORMAT):
        problems.add(str(path / EXPERIMENT), path.name, f"must have format '{FORMAT}'", "this is not an experiment")
    elif not problems and content.get("format_version") != FORMAT_VERSION:
        problems.add(str(path / EXPERIMENT), content.get("format_version"), f"must be format_version {FORMAT_VERSION}",
                     "it was written by another version of kubedes")
    problems.raise_if_any()
    return dict(content)


def _runs_in(path: Path) -> list[Path]:
    """Folders of whole runs."""
    return sorted(manifest.parent for manifest in path.glob(f"scenario=*/rep=*/{MANIFEST}"))


def _place(run: Path) -> tuple[str, int]:
    return run.parent.name.removeprefix("scenario="), int(run.name.removeprefix("rep="))


def _failure(manifest: Path) -> str | None:
    """The error of a run that failed, None of one that did not. Failed runs' manifests are short and say so first."""
    with manifest.open("rb") as file:
        if FAILED.encode() not in file.read(64):
            return None
    return str(json.loads(manifest.read_text("utf-8"))["error"])


def _is_whole(run: Path) -> bool:
    from sim.result.storage import is_whole

    try:
        return _failure(run / MANIFEST) is not None or is_whole(run)
    except (OSError, ValueError):  # a failure's manifest without its end
        return False


def _visible(path: Path) -> bool:
    """Whether anything but remains of an interrupted beginning is in a folder."""
    return any(entry.name != WORK for entry in path.iterdir())


def _versions() -> dict[str, str]:
    from sim.result.storage import versions

    return versions()


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, ensure_ascii=False, default=str)
        file.flush()
        os.fsync(file.fileno())


class _writing:
    """Turns what a disk may answer into an `OutputError` that says how to go on."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise OutputError(
                f"{self.path}: cannot be written: {error.strerror or error}; what is whole is kept. "
                "Make room, then run it again: it goes on from there"
            ) from error
