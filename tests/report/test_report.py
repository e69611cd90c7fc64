"""The report: complete, self-contained, readable in both colour schemes, quick and small for large runs."""

from __future__ import annotations

import base64
import errno
import io
import os
import re
import subprocess
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import experiments
from experiments import Runs, Sweep
from experiments.report import render, write_report
from experiments.report.run import DRAWINGS, unverified_parameters
from sim.base.errors import InputError, OutputError
from sim.base.paths import format_path
from sim.base.spec_tree import parameters
from sim.result.plots import FIGURES, ROOM_COLOURS
from sim.result.result import Result
from sim.scenario import Scenario
from tests.result.synthetic import bare_record, make_record

CHROMIUM = Path("/usr/bin/chromium")
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Reader(HTMLParser):
    """Collects what the page holds and checks that every element is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            elif name in ("href", "src", "action", "data", "poster"):
                self.references.append(str(value))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def page() -> str:
    return render(Result(make_record()))


def test_every_figure_has_its_place_in_the_report(page: str) -> None:
    assert [drawing.plot for drawing in DRAWINGS] == list(FIGURES)
    reader = Reader(page)
    assert reader.tags.count("svg") == len(FIGURES)
    assert set(FIGURES) <= set(reader.ids)


def test_it_needs_no_other_file(page: str) -> None:
    reader = Reader(page)
    assert all(reference.startswith(("#", "data:")) for reference in reader.references)
    assert not {"script", "iframe", "img", "object"} & set(reader.tags)
    assert not re.search(r"https?://|@import|url\((?!#)", page)


def test_ids_are_unique_and_references_lead_somewhere(page: str) -> None:
    reader = Reader(page)
    assert len(reader.ids) == len(set(reader.ids))
    wanted = {reference[1:] for reference in reader.references if reference.startswith("#")} | set(
        re.findall(r"url\(#([^)]+)\)", page)
    )
    assert wanted <= set(reader.ids)


def test_it_says_what_the_result_says(page: str) -> None:
    result = Result(make_record())
    text = Reader(page).text
    for said in (
        result.limits(),
        str(result.churn),
        "synthetic",
        "2,000",
        "scheduler client",
        "tenant-00",
        "Insufficient cpu",
        "kubernetes: '1.20'",
        "etcd batches",
        *result.record.notes,
    ):
        assert said in text, said
    assert text.count(" met ") >= (result.slo().verdict == "met").sum()
    assert "partial run" not in text


def test_colours_follow_the_page(page: str) -> None:
    """No figure carries a fixed colour, so that each reads in the dark too."""
    svgs = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    assert "var(--room-kubelet)" in svgs
    assert set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svgs)) == set()


def test_a_partial_run_is_marked() -> None:
    text = Reader(render(Result(make_record(pods=50, partial=True)))).text
    assert "partial run" in text
    assert "interrupted at 7.5 min" in text


def test_unverified_parameters_are_named() -> None:
    """Those of the resolved scenario; a scenario that the specs do not understand has none to name."""
    scenario = Scenario.load("quick").model_dump(mode="json")
    found = {format_path(parameter.path): parameter for parameter in unverified_parameters(scenario)}
    declared = {format_path(p.path) for p in parameters(Scenario.load("quick")) if p.unverified}
    assert set(found) == declared
    assert declared
    text = Reader(render(Result(replace(make_record(pods=20), scenario=scenario)))).text
    assert all(path in text for path in declared)
    assert unverified_parameters({"nodes": "of another age"}) == []


def test_an_empty_run_has_a_report_too() -> None:
    assert "No pod was seen running" in Reader(render(Result(bare_record()))).text


def test_names_are_text_not_markup() -> None:
    record = make_record(pods=50)
    record.scenario["name"] = "<script>alert(1)</script>"
    record.tenants[0] = "<b>&"
    record.reasons["<i>"] = 3
    page = render(Result(record))
    assert not {"script", "b"} & set(Reader(page).tags)
    assert page.count("&lt;script&gt;") >= 2


def test_a_full_disk_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("experiments.report.page.os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_report(Result(bare_record()), target)
    assert target.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.bench
def test_the_report_of_a_large_run_is_quick_and_small(capsys: pytest.CaptureFixture[str]) -> None:
    record = make_record(pods=150_000, nodes=5_000, end_s=1_800.0)
    begun = time.perf_counter()
    page = render(Result(record))
    took_s = time.perf_counter() - begun
    with capsys.disabled():
        logged = len(record.requests["time_s"])
        print(f"\nreport of 150,000 pods, {logged:,} logged requests: {took_s:.2f} s, {len(page):,} characters")
    assert Reader(page).tags.count("svg") == len(FIGURES)
    assert len(page.encode()) < 2e6
    assert took_s <= 5.0


def screenshot(page: Path, picture: Path, dark: bool) -> tuple[np.ndarray, str]:
    """The page in headless Chromium: its pixels (height, width, RGB in 0..255) and what the browser logged."""
    from matplotlib.image import imread

    profile = page.parent / f"profile-{picture.stem}"
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
            "--hide-scrollbars",
            "--window-size=1000,4600",
            "--enable-logging=stderr",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--screenshot={picture}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return (imread(picture)[:, :, :3] * 255).round().astype(int), done.stderr


@pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed (Debian: apt-get install chromium)")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_chromium_shows_every_figure_without_a_complaint(tmp_path: Path, page: str, dark: bool) -> None:
    path = tmp_path / "report.html"
    path.write_text(page)
    pixels, log = screenshot(path, tmp_path / "shot.png", dark)
    assert "CONSOLE" not in log
    background = pixels[5, 5].mean()
    assert background < 60 if dark else background > 200
    drawn = {
        room: int((np.abs(pixels - [int(pair[dark][i : i + 2], 16) for i in (1, 3, 5)]).max(axis=2) <= 2).sum())
        for room, pair in ROOM_COLOURS.items()
        if room not in ("", "etcd")
    }
    assert all(count > 100 for count in drawn.values()), drawn


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Two axes, one of them of words."""
    cluster = Scenario.load("quick", {"horizon_s": 20, "warm_up_s": 0})
    sweep = Sweep(cluster, axes={"workload.rate_per_s": [2, 4], "runtime.type": ["containerd", "docker"]}, replications=2)
    return experiments.run(sweep, tmp_path_factory.mktemp("sweep") / "runs", workers=0, quiet=True)


def test_a_sweep_has_a_page(runs: Runs) -> None:
    reader = Reader(render(runs))
    for said in ("workload.rate_per_s=4, runtime.type=docker", "Pod startup p99 goes from", "workload.rate_per_s"):
        assert said in reader.text, said
    assert reader.tags.count("svg") == 4  # lines and a heat map for each of two metrics
    assert len(reader.ids) == len(set(reader.ids))
    _tables_can_be_downloaded(reader, ["value", "scenario"])
    assert "| what limits |" in render(runs, ".md")


def test_a_comparison_has_a_page(runs: Runs) -> None:
    first, second = (name for name in runs.designs["design"] if "rate_per_s=2" in name)
    found = experiments.compare(f"{runs.path}@{first}", f"{runs.path}@{second}")
    reader = Reader(render(found))
    assert found.why() in reader.text
    assert {"startup", "stages", "changes"} <= set(reader.ids)
    _tables_can_be_downloaded(reader, ["metric", "a_mean_s", "explains_s", "share"])
    text = render(found, ".md")
    assert found.why() in text
    assert text.count("\n| ") > 5


def test_a_run_has_a_text_for_pull_requests() -> None:
    result = Result(make_record())
    text = render(result, ".md")
    assert result.limits() in text
    assert len([line for line in text.splitlines() if line.startswith("|")]) > len(result.slo()) + 4
    assert "<" not in text.replace("< ", "")


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.html or \.md"):
        write_report(Result(bare_record()), tmp_path / "report.pdf")
    assert list(tmp_path.iterdir()) == []


def _tables_can_be_downloaded(reader: Reader, columns: list[str]) -> None:
    """Each named column is in one of the page's tables."""
    found: set[str] = set()
    for reference in reader.references:
        if reference.startswith("data:text/csv"):
            found |= set(pd.read_csv(io.BytesIO(base64.b64decode(reference.partition("base64,")[2]))).columns)
    assert set(columns) <= found
