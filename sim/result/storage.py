"""A result in a folder: a Parquet file a table, and a manifest that is written last.

A folder is written beside its final place under another name, flushed to the disk and then renamed, so an
interruption or a full disk never leaves something that looks complete. The manifest lists each file with its
length and SHA-256, so a folder that was damaged later is refused when it is read. Many runs are not flushed one by one
(`durable=False`): a process killed at any moment harms none of them, and what a power cut takes is found by `is_whole`.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import shutil
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from sim.base.errors import OutputError, Problems
from sim.result import schema
from sim.result.record import RequestKind, ResourceStat, RunRecord
from sim.result.tables import PHASES, columns_of
from sim.state.pods import POD_IDS, POD_TIMES, Column

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "kubedes result"
FORMAT_VERSION = 4
MANIFEST = "manifest.json"
REPORT = "report.html"
"""The report of the run, which the command line puts beside the tables."""
LIBRARIES = ("numpy", "numba", "simpy", "pandas", "pyarrow", "pydantic", "scipy")


def kubedes_version() -> str:
    """Version of the installed distribution; `unknown` when run from a plain checkout."""
    try:
        return version("kubedes")
    except PackageNotFoundError:
        return "unknown"


@cache
def versions() -> dict[str, str]:
    """Versions that a run depends on: kubedes, Python, the libraries, the platform."""
    found = {"kubedes": kubedes_version(), "python": platform.python_version(), "platform": platform.platform()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "absent"
    return found


def check_target(folder: str | os.PathLike[str], force: bool) -> None:
    """Refuse a folder that may not be written: it exists and `force` is off, or it holds what kubedes did not write.

    Raises InputError. Cheap: call it before a run, so that an hour of work does not end here.
    """
    path = Path(folder)
    problems = Problems("output folder")
    if path.is_symlink() or path.exists():
        if not force:
            problems.add(
                str(path),
                path.name,
                "exists already",
                "choose another folder, or overwrite it with --force (force=True)",
            )
        elif path.is_symlink() or not path.is_dir():
            problems.add(str(path), path.name, "is not a folder; it is left alone", "choose another one")
        else:
            _check_replaceable(path, problems)
    problems.raise_if_any()


def _check_replaceable(path: Path, problems: Problems) -> None:
    found = {entry.name for entry in path.iterdir()}
    if not found:
        return
    try:
        manifest = json.loads((path / MANIFEST).read_text("utf-8"))
        own = {MANIFEST, REPORT, *manifest["files"]} if manifest["format"] == FORMAT else None
    except (OSError, ValueError, TypeError, KeyError):
        own = None
    if own is None:
        problems.add(
            str(path),
            path.name,
            "is not a kubedes result; it is left alone",
            "choose another folder, or empty this one",
        )
    elif found - own:
        problems.add(
            str(path),
            sorted(found - own)[0],
            "was not written by kubedes; the folder is left alone",
            "move it elsewhere, or choose another folder",
        )


def save(
    record: RunRecord,
    tables: dict[str, pd.DataFrame],
    folder: str | os.PathLike[str],
    force: bool = False,
    durable: bool = True,
) -> Path:
    """Write the tables and the manifest; `folder` appears whole or not at all.

    durable: on the disk when this returns, whatever happens to the machine; else the system writes it when it likes.
    Raises InputError when the folder may not be written (see `check_target`), OutputError when it cannot be.
    """
    check_target(folder, force)
    target = Path(folder).absolute()
    work = target.with_name(f".{target.name}.writing-{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work.mkdir()
        files = {}
        for name, table in tables.items():
            write_table(table, work / f"{name}.parquet", durable)
            files[f"{name}.parquet"] = {"rows": len(table), **_fingerprint(work / f"{name}.parquet")}
        manifest = json.dumps(_manifest(record, files), indent=1, ensure_ascii=False, default=_plain)
        _write_text(work / MANIFEST, manifest, durable)
        if durable:
            _sync_folder(work)
        _put_in_place(work, target)
        if durable:
            _sync_folder(target.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{target}: the result could not be written: {reason}; nothing was left behind. "
            "Make room or choose another folder, then save again."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _put_in_place(work: Path, target: Path) -> None:
    """Rename `work` to `target`; an old result there steps aside first, and comes back if the rename fails."""
    if not target.exists() or not any(target.iterdir()):
        os.rename(work, target)
        return
    old = target.with_name(f".{target.name}.replaced-{secrets.token_hex(4)}")
    os.rename(target, old)
    try:
        os.rename(work, target)
    except BaseException:
        os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_table(table: pd.DataFrame, path: Path, durable: bool = True) -> None:
    """One Parquet file, without the index. The same table gives the same bytes. durable: flushed to the disk."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.table({name: _arrow_array(table[name].array) for name in table.columns})
    # times and latencies hardly repeat: a dictionary of them takes twice the time and more room
    repeats = [field.name for field in arrow.schema if not pa.types.is_floating(field.type)]
    with open(path, "wb") as file:
        pq.write_table(arrow, file, compression="zstd", compression_level=1, use_dictionary=repeats)
        if durable:
            _flush(file)


def _arrow_array(column: Any) -> Any:
    """A column as pyarrow has it; `Table.from_pandas` gives the same, and takes threads and three times as long."""
    import pandas as pd
    import pyarrow as pa

    if not isinstance(column, pd.Categorical):
        return pa.array(column, from_pandas=True)
    codes = pa.array(column.codes, mask=column.codes < 0)
    return pa.DictionaryArray.from_arrays(codes, pa.array(column.categories), ordered=column.ordered)


def _write_text(path: Path, text: str, durable: bool) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            _flush(file)


def _flush(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def is_whole(folder: Path) -> bool:
    """Whether a result's manifest can be read and its files have the lengths it says: a power cut leaves shorter ones."""
    try:
        files = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
        return all((folder / name).stat().st_size == about["bytes"] for name, about in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fingerprint(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _plain(value: object) -> object:
    """numpy numbers as JSON numbers."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be kept in the manifest")


def _manifest(record: RunRecord, files: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "complete": record.complete,
        "seed": record.seed,
        "replication": record.replication,
        "end_s": record.end_s,
        "warm_up_s": record.warm_up_s,
        "versions": versions(),
        "wall_s": record.wall,
        "counters": record.counters,
        "reasons": record.reasons,
        "unschedulable_text": record.unschedulable_text,
        "notes": record.notes,
        "tenants": record.tenants,
        "templates": record.templates,
        "request_kinds": [asdict(kind) for kind in record.request_kinds],
        "node_names": list(map(str, record.nodes.get("name", ()))),
        "series_columns": [asdict(column) for column in record.series_columns],
        "columns": {table: [asdict(c) for c in columns] for table, columns in columns_of(record).items()},
        "files": files,
        "scenario": record.scenario,
    }


def load(folder: str | os.PathLike[str]) -> RunRecord:
    """Read a folder that `save` wrote. Raises InputError for a missing, incomplete, damaged or foreign one."""
    path = Path(folder)
    problems = Problems(f"result folder {path}")
    manifest = _read_manifest(path, problems)
    problems.raise_if_any()
    tables = {}
    for name, expected in manifest["files"].items():
        file = path / name
        if not file.is_file():
            problems.add(str(file), name, "is missing", "the folder is incomplete: run the scenario again")
        elif _fingerprint(file) != {"bytes": expected["bytes"], "sha256": expected["sha256"]}:
            problems.add(
                str(file),
                name,
                "is not what the manifest says (length or SHA-256)",
                "the file was damaged or changed: run the scenario again",
            )
    for table in schema.TABLES:
        if f"{table}.parquet" not in manifest["files"]:
            problems.add(
                str(path / MANIFEST), f"{table}.parquet", "is not listed in the manifest", "the manifest was changed"
            )
    problems.raise_if_any()
    import pyarrow.parquet as pq

    for table in schema.TABLES:
        if table != "requests":  # the requests table follows from the log
            tables[table] = pq.read_table(path / f"{table}.parquet")
    return _record(manifest, tables)


def _read_manifest(path: Path, problems: Problems) -> dict[str, Any]:
    if not path.is_dir():
        problems.add(str(path), path.name, "is not a folder", "give the folder that a run wrote")
        return {}
    try:
        manifest = json.loads((path / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        problems.add(
            str(path / MANIFEST), MANIFEST, "is missing", "this is not a kubedes result, or its writing was interrupted"
        )
        return {}
    except (OSError, ValueError) as error:
        problems.add(str(path / MANIFEST), MANIFEST, f"cannot be read: {error}", "run the scenario again")
        return {}
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        problems.add(
            str(path / MANIFEST),
            manifest.get("format") if isinstance(manifest, dict) else manifest,
            f"must have format '{FORMAT}'",
            "this is not a kubedes result",
        )
        return {}
    if manifest.get("format_version") != FORMAT_VERSION:
        problems.add(
            str(path / MANIFEST),
            manifest.get("format_version"),
            f"must have format_version {FORMAT_VERSION}",
            "it was written by another version of kubedes: run the scenario again, or read the Parquet files directly",
        )
        return {}
    missing = {
        "files",
        "scenario",
        "templates",
        "tenants",
        "request_kinds",
        "series_columns",
        "columns",
    } - manifest.keys()
    for key in sorted(missing):
        problems.add(
            f"{path / MANIFEST}: {key}", None, "is missing", "the manifest was changed: run the scenario again"
        )
    return manifest


def _codes(column: Any, names: list[Any]) -> np.ndarray:
    """Positions in `names` of a text column; -1 where it is missing."""
    import pandas as pd

    return pd.Index(names, dtype=object).get_indexer(pd.Index(column.to_pylist(), dtype=object)).astype(np.int32)


def _record(manifest: dict[str, Any], tables: dict[str, Any]) -> RunRecord:
    pods, log, nodes, series, fsyncs, traffic, faults = (
        tables[name] for name in ("pods", "request_log", "nodes", "series", "fsyncs", "traffic", "faults")
    )

    def values(table: Any, name: str) -> np.ndarray:
        return table.column(name).to_numpy()

    named = {"tenant": manifest["tenants"], "node": manifest["node_names"], "phase": list(PHASES)}
    return RunRecord(
        scenario=manifest["scenario"],
        seed=manifest["seed"],
        replication=manifest["replication"],
        end_s=manifest["end_s"],
        warm_up_s=manifest["warm_up_s"],
        complete=manifest["complete"],
        pods={
            **{
                c.name: _codes(pods.column(c.name), named[c.name]) if c.name in named else values(pods, c.name)
                for c in POD_IDS
            },
            **{c.name: values(pods, c.name) for c in POD_TIMES},
        },
        templates=manifest["templates"],
        tenants=manifest["tenants"],
        requests={name: values(log, name) for name in ("time_s", "latency_s", "kind", "count")},
        request_kinds=[RequestKind(**kind) for kind in manifest["request_kinds"]],
        nodes={name: values(nodes, name) for name in nodes.column_names if not name.startswith("fill_")},
        series={name: values(series, name) for name in series.column_names},
        series_columns=[Column(**column) for column in manifest["series_columns"]],
        resources=[ResourceStat(**row) for row in tables["resources"].to_pylist()],
        fsyncs={name: values(fsyncs, name) for name in fsyncs.column_names},
        traffic={name: values(traffic, name) for name in traffic.column_names},
        faults={name: values(faults, name) for name in faults.column_names},
        reasons=manifest["reasons"],
        unschedulable_text=manifest["unschedulable_text"],
        counters=manifest["counters"],
        wall=manifest["wall_s"],
        notes=manifest["notes"],
    )
