"""A result on disk: what is read equals what was written, and nothing half-written ever looks complete."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sim.base.errors import InputError, KubedesError, OutputError
from sim.result import storage
from sim.result.result import Result
from sim.result.schema import TABLES
from tests.result.synthetic import bare_record, make_record


@pytest.fixture(scope="module")
def result() -> Result:
    return Result(make_record(pods=300, nodes=20))


def entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize(
    "record",
    [make_record(pods=300, nodes=20), make_record(pods=50, nodes=3, partial=True), bare_record()],
    ids=["whole", "partial", "empty"],
)
def test_what_is_read_equals_what_was_written(tmp_path: Path, record: object) -> None:
    written = Result(record)  # type: ignore[arg-type]
    read = Result.load(written.save(tmp_path / "run"))
    for table in TABLES:
        pd.testing.assert_frame_equal(getattr(read, table), getattr(written, table))
    pd.testing.assert_frame_equal(read.summary(), written.summary())
    pd.testing.assert_frame_equal(read.slo(), written.slo())
    for name in (
        "scenario",
        "seed",
        "replication",
        "end_s",
        "warm_up_s",
        "complete",
        "templates",
        "tenants",
        "request_kinds",
        "series_columns",
        "resources",
        "reasons",
        "unschedulable_text",
        "counters",
        "wall",
        "notes",
    ):
        assert getattr(read.record, name) == getattr(written.record, name), name
    assert read.limits() == written.limits()


def test_tables_are_plain_parquet(tmp_path: Path, result: Result) -> None:
    folder = result.save(tmp_path / "run")
    assert entries(folder) == sorted(["manifest.json", *(f"{table}.parquet" for table in TABLES)])
    pods = pd.read_parquet(folder / "pods.parquet")
    assert pods.startup_s.equals(result.pods.startup_s)
    assert pods.tenant.astype(str).tolist() == result.pods.tenant.astype(str).tolist()


def test_the_manifest_tells_what_ran(tmp_path: Path, result: Result) -> None:
    manifest = json.loads((result.save(tmp_path / "run") / "manifest.json").read_text())
    assert manifest["complete"] is True
    assert manifest["scenario"] == result.record.scenario
    assert manifest["seed"] == 1
    assert {"python", "numpy", "kubedes", "pandas"} <= manifest["versions"].keys()
    assert manifest["wall_s"] == result.record.wall
    assert manifest["files"]["pods.parquet"]["rows"] == 300
    assert manifest["columns"]["pods"][0]["name"] == "app"


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (Result(make_record(pods=200)).save(tmp_path / name) for name in "ab")
    for table in TABLES:
        assert (first / f"{table}.parquet").read_bytes() == (second / f"{table}.parquet").read_bytes()


def test_an_existing_folder_is_not_overwritten_without_force(tmp_path: Path, result: Result) -> None:
    folder = result.save(tmp_path / "run")
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(InputError, match=r"exists already.*--force"):
        result.save(folder)
    assert (folder / "manifest.json").read_bytes() == before


def test_force_replaces_a_result_and_its_report(tmp_path: Path, result: Result) -> None:
    folder = Result(make_record(pods=10)).save(tmp_path / "run")
    (folder / "report.html").write_text("old")
    result.save(folder, force=True)
    assert len(Result.load(folder).pods) == 300
    assert "report.html" not in entries(folder)
    assert entries(tmp_path) == ["run"]


@pytest.mark.parametrize("make", ["notes", "foreign manifest", "file", "result with notes", "symlink"])
def test_force_never_touches_what_kubedes_did_not_write(tmp_path: Path, result: Result, make: str) -> None:
    target = tmp_path / "mine"
    kept = target / "notes.txt"
    if make == "file":
        target.write_text("precious")
        kept = target
    elif make == "symlink":
        (tmp_path / "elsewhere").mkdir()
        kept = tmp_path / "elsewhere" / "notes.txt"
        target.symlink_to(tmp_path / "elsewhere")
        kept.write_text("precious")
    else:
        if make == "result with notes":
            result.save(target)
        else:
            target.mkdir()
        if make == "foreign manifest":
            (target / "manifest.json").write_text('{"format": "something else", "files": {}}')
        kept.write_text("precious")
    with pytest.raises(InputError, match="left alone"):
        result.save(target, force=True)
    assert kept.read_text() == "precious"


def test_force_takes_an_empty_folder(tmp_path: Path, result: Result) -> None:
    (tmp_path / "run").mkdir()
    assert len(Result.load(result.save(tmp_path / "run", force=True)).pods) == 300


@pytest.mark.parametrize("failing", ["series", "resources"])
def test_an_interruption_leaves_nothing(
    tmp_path: Path, result: Result, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    write = storage.write_table

    def interrupted(table: pd.DataFrame, path: Path, durable: bool) -> None:
        write(table, path, durable)
        if path.stem == failing:
            raise KeyboardInterrupt

    monkeypatch.setattr(storage, "write_table", interrupted)
    with pytest.raises(KeyboardInterrupt):
        result.save(tmp_path / "run")
    assert entries(tmp_path) == []


def test_an_interrupted_replacement_keeps_the_old_result(
    tmp_path: Path, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Result(make_record(pods=10)).save(tmp_path / "run")
    rename = os.rename

    def fails_once_the_old_one_is_aside(source: object, target: object) -> None:
        if ".writing-" in str(source):
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(storage.os, "rename", fails_once_the_old_one_is_aside)
    with pytest.raises(OutputError, match="Input/output error"):
        result.save(folder, force=True)
    monkeypatch.undo()
    assert len(Result.load(folder).pods) == 10
    assert entries(tmp_path) == ["run"]


def test_a_killed_write_does_not_look_complete(tmp_path: Path, result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after kill -9: no clean-up runs, the manifest was not reached. What is left is elsewhere, and no result."""
    monkeypatch.setattr(storage, "_write_text", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr(storage.shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):
        result.save(tmp_path / "run")
    (left,) = tmp_path.iterdir()
    assert left.name != "run"
    with pytest.raises(InputError, match=r"manifest\.json.*is missing.*interrupted"):
        Result.load(left)


def test_a_full_disk_leaves_nothing_and_says_so(
    tmp_path: Path, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(table: pd.DataFrame, path: Path, durable: bool) -> None:
        path.write_bytes(b"half a tab")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(storage, "write_table", full)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        result.save(tmp_path / "run")
    assert isinstance(caught.value, KubedesError)
    assert entries(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is needed: a device that is always full")
def test_a_really_full_device(tmp_path: Path, result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open
    monkeypatch.setattr(
        "builtins.open",
        lambda path, mode="r", **more: opened(
            "/dev/full" if str(path).endswith("pods.parquet") and "w" in mode else path, mode, **more
        ),
    )
    with pytest.raises(OutputError, match="No space left on device"):
        result.save(tmp_path / "run")
    assert entries(tmp_path) == []


def damage(folder: Path, how: str) -> None:
    if how == "bytes":
        data = bytearray((folder / "pods.parquet").read_bytes())
        data[len(data) // 2] ^= 0xFF
        (folder / "pods.parquet").write_bytes(data)
    elif how == "short":
        os.truncate(folder / "pods.parquet", 100)
    elif how == "missing":
        (folder / "pods.parquet").unlink()
    elif how == "manifest":
        (folder / "manifest.json").write_text((folder / "manifest.json").read_text()[:200])
    elif how == "version":
        (folder / "manifest.json").write_text(
            json.dumps({**json.loads((folder / "manifest.json").read_text()), "format_version": 99})
        )
    elif how == "unlisted":
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["files"]["pods.parquet"]
        (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("bytes", r"pods\.parquet.*not what the manifest says"),
        ("short", r"pods\.parquet.*not what the manifest says"),
        ("missing", r"pods\.parquet.*is missing"),
        ("manifest", r"manifest\.json.*cannot be read"),
        ("version", "99 must have format_version 4"),
        ("unlisted", r"pods\.parquet.*not listed"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, result: Result, how: str, said: str) -> None:
    folder = result.save(tmp_path / "run")
    damage(folder, how)
    with pytest.raises(InputError, match=said):
        Result.load(folder)


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        Result.load(tmp_path / "nothing")


def test_tables_are_written_as_pyarrow_would_write_them(tmp_path: Path, result: Result) -> None:
    for name in TABLES:
        table = getattr(result, name)
        storage.write_table(table, tmp_path / "ours")
        pq.write_table(
            pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None), tmp_path / "theirs"
        )
        assert pq.read_table(tmp_path / "ours").equals(pq.read_table(tmp_path / "theirs")), name


def test_a_folder_is_whole_when_every_file_is_as_long_as_it_was(tmp_path: Path, result: Result) -> None:
    folder = result.save(tmp_path / "run")
    assert storage.is_whole(folder)
    os.truncate(folder / "nodes.parquet", 10)
    assert not storage.is_whole(folder)
    assert not storage.is_whole(tmp_path)
