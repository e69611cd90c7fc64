"""A user's own images: a table such as `docker images` prints, or a CSV file of the same columns."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from sim.base.errors import Problems, near_miss
from sim.base.spec import param
from sim.base.units import parse_bytes
from sim.images.mixes.catalog import IMAGE_MIXES, ImageMixSpec
from sim.images.spec import ImageSpec

COLUMNS = ("repository", "tag", "size", "popularity", "base", "image id", "created", "digest")
"""Those that are known; the first three are what `docker images` always prints, popularity and base are for us."""
DANGLING = "<none>"


@IMAGE_MIXES.register("listed")
class ListedImages(ImageMixSpec):
    """Images from a file with a heading line: commas, tabs, or two and more blanks between the columns."""

    path: str = param(..., "the file; relative paths start at the scenario's folder", min_length=1)
    unpacked_ratio: float = param(
        2.6,
        "the file's sizes over what a pull brings: `docker images` prints sizes on disk; 1 where they are compressed sizes",
        source="Docker Hub's layers, median (Zhao et al., 2019), as remembered",
        unverified=True,
        ge=1,
        le=100,
    )

    def images(self, base_dir: str, path: str, problems: Problems) -> dict[str, ImageSpec]:
        file = Path(base_dir) / self.path
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            problems.add(
                f"{path}.path",
                self.path,
                f"cannot be read: {error}",
                f"relative paths start at {Path(base_dir).resolve()}",
            )
            return {}
        rows = [(number, _cells(line)) for number, line in enumerate(lines, 1) if line.strip()]
        if not rows:
            problems.add(f"{path}.path", self.path, "is empty", "a heading line and a line an image are wanted")
            return {}
        heading = [cell.strip().lower() for cell in rows[0][1]]
        for wanted in ("repository", "size"):
            if wanted not in heading:
                problems.add(f"{file}:1", ", ".join(heading), f"has no column '{wanted}'", near_miss(wanted, COLUMNS))
                return {}
        found: dict[str, ImageSpec] = {}
        for number, cells in rows[1:]:
            self._read(f"{file}:{number}", dict(zip(heading, cells, strict=False)), found, problems)
        return found

    def _read(self, where: str, row: dict[str, str], found: dict[str, ImageSpec], problems: Problems) -> None:
        repository, tag = row.get("repository", "").strip(), row.get("tag", "").strip()
        if not repository or repository == DANGLING:
            return
        name = f"{repository}:{tag}" if tag and tag != DANGLING else repository
        try:
            size = parse_bytes(_decimal(row.get("size", "")))
            popularity = float(row.get("popularity") or 1)
        except ValueError as error:
            problems.add(
                where, row.get("size", ""), f"has no readable size or popularity: {error}", "such as 187MB and 3"
            )
            return
        if size < 0 or popularity < 0:
            problems.add(where, row.get("size", ""), "has a negative size or popularity")
            return
        if name in found:
            problems.add(where, name, "is listed twice", "a repository and tag name one image")
            return
        found[name] = ImageSpec(
            size_bytes=int(size / self.unpacked_ratio),
            popularity=popularity,
            base=(row.get("base") or "").strip(),
            present_share=self.present_share,
        )


def _cells(line: str) -> list[str]:
    """The cells of one line."""
    if "," in line:
        return next(csv.reader([line]))
    return line.split("\t") if "\t" in line else re.split(r" {2,}", line.strip())


def _decimal(text: str) -> str:
    """Docker prints decimal units in its own spelling: 1.2GB, 187MB, 13.3kB, 512B."""
    found = re.fullmatch(r"\s*(-?[\d.]+)\s*([kKMGT]?)B\s*", text)
    return f"{found[1]}{found[2].replace('K', 'k')}" if found else text
