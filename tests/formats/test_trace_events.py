"""The timeline: slices are the stages of the pods table, tracks never hold two at once, the file is plain JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.result.exports.trace_events import lanes, sample_pods, slices_of, trace_events, trace_json
from sim.result.record import RunRecord
from sim.state.pods import STAGES
from tests.result.synthetic import make_record


@pytest.fixture(scope="module", params=["quick", "synthetic"])
def record(request: pytest.FixtureRequest) -> RunRecord:
    if request.param == "synthetic":
        return make_record(pods=400, nodes=10)
    quick: RunRecord = request.getfixturevalue("quick")
    return quick


def of_phase(content: dict[str, Any], phase: str) -> list[dict[str, Any]]:
    return [event for event in content["traceEvents"] if event["ph"] == phase]


def test_slices_are_the_stages_of_the_sampled_pods(record: RunRecord) -> None:
    content = json.loads(trace_json(record, 50))
    slices = of_phase(content, "X")
    processes = {event["pid"]: event["args"]["name"] for event in of_phase(content, "M") if "name" in event["args"]}
    pods = {event["args"]["pod"] for event in slices}
    assert len(pods) == 50 == content["otherData"]["pods_sampled"]
    stages = {stage.name: stage for stage in STAGES}
    checked = 0
    for event in slices:
        pod, name = event["args"]["pod"], event["name"]
        node = record.pods["node"][pod]
        if name in stages:
            stage = stages[name]
            assert event["ts"] == pytest.approx(record.pods[stage.start][pod] * 1e6)
            if "unfinished" not in event["args"]:
                assert event["ts"] + event["dur"] == pytest.approx(record.pods[stage.end][pod] * 1e6)
                checked += 1
        process = processes[event["pid"]]
        assert process in ("controllers", "API server", "kube-scheduler") or process == record.nodes["name"][node]
    assert checked > 500


def test_a_track_holds_one_slice_at_a_time(record: RunRecord) -> None:
    tracks = defaultdict(list)
    for event in of_phase(trace_events(record, 100), "X"):
        assert event["dur"] >= 0
        tracks[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for slices in tracks.values():
        slices.sort()
        for (_, ended), (begins, _) in pairwise(slices):
            assert ended <= begins + 1e-3  # a nanosecond: sums of seconds, times a million


def test_lanes_are_as_few_as_overlap(record: RunRecord) -> None:
    groups = [list(slices_of(record, pod)) for pod in sample_pods(record, 60).tolist()]
    groups = [group for group in groups if group]
    used = max(track for track, _ in lanes(groups))
    moments = sorted({group[0].start_s for group in groups})
    together = max(sum(g[0].start_s <= at < g[-1].end_s for g in groups) for at in moments)
    assert used == together


def test_arrows_begin_and_end_once_a_pod(record: RunRecord) -> None:
    content = trace_events(record, 30)
    starts = [event["id"] for event in of_phase(content, "s")]
    ends = [event["id"] for event in of_phase(content, "f")]
    assert sorted(starts) == sorted(ends) == sorted(set(starts))
    assert len(starts) > 10
    where = {(e["pid"], e["tid"], e["ts"]) for e in of_phase(content, "X")}
    for phase in "stf":
        assert all((event["pid"], event["tid"], event["ts"]) in where for event in of_phase(content, phase))


def test_counters_are_the_series(record: RunRecord) -> None:
    counters = of_phase(trace_events(record, 0), "C")
    name = record.series_columns[0].name
    mine = [next(iter(event["args"].values())) for event in counters if event["name"] == name]
    assert mine == np.asarray(record.series[name], float).tolist()
    assert {event["name"] for event in counters} == {column.name for column in record.series_columns}


def test_the_sample_is_the_slowest_and_an_even_choice() -> None:
    record = make_record(pods=1000, nodes=10)
    chosen = sample_pods(record, 100)
    assert len(chosen) == len(set(chosen.tolist())) == 100
    took = record.pods["watched_s"] - record.pods["created_s"]
    slowest = np.argsort(-np.nan_to_num(took, nan=-1))[:10]
    assert set(slowest.tolist()) <= set(chosen.tolist())
    quarters = np.histogram(record.pods["requested_s"][chosen], 4, (0, record.end_s))[0]
    assert quarters.min() > 10
    assert len(sample_pods(record, 5000)) == np.sum(~np.isnan(record.pods["created_s"]))
    with pytest.raises(InputError, match="must be 0 or more"):
        trace_events(record, -1)
