"""Reads a CSV file with declared columns; whatever is wrong is told by file, line and column, all at once."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.base.errors import Problems, near_miss

SHOWN = 20
"""Most faults of one file that are listed; the others are counted."""
LARGEST = 2**53
"""Numbers are read as float64, which holds whole numbers exactly up to here."""


@dataclass(frozen=True)
class Column:
    """A column of the file. `kind`: text, whole (a whole number, written as 12 or 12.0) or number."""

    name: str
    kind: str
    blank: bool = False
    """Whether a cell may be empty (or `nan`, as data frames write it): "" for texts, NaN for numbers."""
    high: float = LARGEST
    """Largest value of a number; the smallest is 0."""
    allowed: tuple[str, ...] = ()
    """The only texts there may be; empty = any."""


@dataclass(frozen=True)
class Fault:
    """A cell or row that cannot be read."""

    row: int
    where: str
    value: str
    rule: str


@dataclass(frozen=True)
class Table:
    """The file's columns that were asked for and are there, row by row, faulty rows included."""

    file: str
    header: tuple[str, ...]
    lines: tuple[int, ...]
    """Line of the file on which each row ends."""
    texts: dict[str, list[str]]
    numbers: dict[str, np.ndarray]
    """float64; NaN where blank or faulty."""
    faults: tuple[Fault, ...]

    def where(self, row: int, column: str) -> str:
        """`file:line:column`, the column counted from 1."""
        return f"{self.file}:{self.lines[row]}:{self.header.index(column) + 1}"

    def __len__(self) -> int:
        return len(self.lines)


def read_table(file: Path, columns: Sequence[Column], problems: Problems) -> Table | None:
    """Read the given columns; those that the file lacks are left out (see `require`), others are not looked at.

    None when the file cannot be read as a table at all, which is added to `problems`; the faults of single rows come
    with the table.
    """
    rows: list[list[str]] = []
    lines: list[int] = []
    line = 0
    try:
        with file.open(encoding="utf-8-sig", newline="") as source:
            reader = csv.reader(source, strict=True)
            for cells in reader:
                line = reader.line_num
                if cells and any(cells):  # blank lines are none
                    rows.append(cells)
                    lines.append(line)
    except OSError as error:
        problems.add(str(file), error.strerror or str(error), "is why the file cannot be read")
        return None
    except UnicodeDecodeError as error:
        problems.add(
            f"{file}:{line + 1}", error.object[error.start : error.start + 1], "is no UTF-8 text at or after this line"
        )
        return None
    except csv.Error as error:
        problems.add(f"{file}:{line + 1}", str(error), "is no row of comma-separated values")
        return None
    if not rows:
        problems.add(f"{file}:1", "", "must begin with a line of column names; the file is empty")
        return None
    header = tuple(name.strip() for name in rows[0])
    for number, name in enumerate(header, 1):
        if name and name in header[: number - 1]:
            problems.add(f"{file}:{lines[0]}:{number}", name, "must not be a column twice")
    return _typed(str(file), header, rows[1:], lines[1:], columns)


def require(table: Table, names: Iterable[str], problems: Problems) -> bool:
    """Report the columns that the table lacks; whether it has them all."""
    missing = [name for name in names if name not in table.header]
    for name in missing:
        hint = near_miss(name, set(table.header) - {""})
        problems.add(
            f"{table.file}:1",
            name,
            "is a column that is missing",
            f"the header has: {', '.join(table.header)}" if hint.startswith("known") else hint,
        )
    return not missing


def add_faults(table: Table, problems: Problems) -> None:
    """Add the faults of a table to `problems`: the first `SHOWN` of them, then how many more there are."""
    for fault in table.faults[:SHOWN]:
        problems.add(fault.where, fault.value, fault.rule)
    if len(table.faults) > SHOWN:
        problems.add(
            table.file, f"{len(table.faults) - SHOWN} more faults", f"are not shown, only the first {SHOWN} are"
        )


def _typed(
    file: str, header: tuple[str, ...], rows: list[list[str]], lines: list[int], columns: Sequence[Column]
) -> Table:
    faults: list[Fault] = []
    width = len(header)
    for row, cells in enumerate(rows):
        if len(cells) != width:
            rule = f"has {len(cells)} cells, but the header has {width}"
            faults.append(Fault(row, f"{file}:{lines[row]}:{min(len(cells), width)}", ",".join(cells), rule))
            rows[row] = (cells + [""] * width)[:width]
    ragged = {fault.row for fault in faults}
    texts: dict[str, list[str]] = {}
    numbers: dict[str, np.ndarray] = {}
    for column in columns:
        if column.name not in header:
            continue
        index = header.index(column.name)
        cells = [row[index].strip() for row in rows]
        if column.kind == "text":
            texts[column.name] = cells
            broken = _broken_texts(cells, column)
        else:
            numbers[column.name], broken = _numbers(cells, column)
        faults += [
            Fault(row, f"{file}:{lines[row]}:{index + 1}", cells[row], f"({column.name}) {rule}")
            for row, rule in broken
            if row not in ragged
        ]
    faults.sort(key=lambda fault: fault.row)  # stable: within a row in the order of the columns
    return Table(file, header, tuple(lines), texts, numbers, tuple(faults))


def _broken_texts(cells: list[str], column: Column) -> list[tuple[int, str]]:
    broken = []
    for row, cell in enumerate(cells):
        if not cell:
            if not column.blank:
                broken.append((row, "must not be empty"))
        elif column.allowed and cell not in column.allowed:
            broken.append((row, f"must be one of {', '.join(column.allowed)}; {near_miss(cell, column.allowed)}"))
    return broken


def _numbers(cells: list[str], column: Column) -> tuple[np.ndarray, list[tuple[int, str]]]:
    try:
        values = np.array([cell or "nan" for cell in cells], np.float64)
    except ValueError:
        values = np.array([_number(cell) for cell in cells])
    with np.errstate(invalid="ignore"):
        good = (values >= 0) & (values <= column.high)
        if column.kind == "whole":
            good &= values == np.floor(values)
    blank = np.array([not cell or cell.lower() == "nan" for cell in cells], bool)
    if column.blank:
        good |= blank
    broken = [(int(row), _rule(cells[row], values[row], column)) for row in np.flatnonzero(~good)]
    values[~good] = np.nan
    return values, broken


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _rule(cell: str, value: float, column: Column) -> str:
    if not cell:
        return "must not be empty"
    if math.isnan(value):
        return "must be a number"
    if value < 0:
        return "must not be negative"
    if value > column.high:
        return f"must be at most {column.high:g}"
    return "must be a whole number"
