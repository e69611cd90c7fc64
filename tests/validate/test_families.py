"""Any folder in the recorded format is read and replayed: here one that was made up, with clients, sizes and rates of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.validate import (
    api_requests,
    calibrate_api,
    control_plane,
    fan_out,
    life_cycle,
    published,
    scheduler_bench,
)
from experiments.validate.truth import Truth, find
from sim.base.errors import InputError

RECORDED = Path(__file__).parent / "recorded"
QUIET = "measured-1.20-2core"


@pytest.fixture(scope="module")
def truth():
    (found,) = find(RECORDED, [QUIET])
    return found


@pytest.fixture(scope="module")
def compared(truth):
    found = control_plane.compare([truth], seconds=0.3, workers=1)
    return {one.family: one for one in found}


def test_every_family_is_read_and_replayed(compared):
    assert set(compared) == set(control_plane.FAMILIES)
    rows = {family: len(one.rows) for family, one in compared.items()}
    assert rows == {"etcd": 2, "requests": 7, "fan-out": 1, "life-cycle": 2, "scheduler": 2}


def test_what_cannot_be_replayed_is_told_and_not_judged(compared):
    assert compared["requests"].not_replayed == [
        "teleport 2 clients, cert, json: operation 'teleport' is not simulated"
    ]
    (reason,) = compared["scheduler"].not_replayed
    assert "SchedulingCSIPVs" in reason
    table = compared["requests"].table
    assert set(table[table.row.str.startswith("teleport")].verdict) == {"not replayed"}


def test_calibrating_rows_are_not_counted_as_predictions(compared):
    table = compared["requests"].table
    assert set(table[table.row == "get 1 clients, cert, json"].verdict) == {"calibrated"}
    assert compared["requests"].predicted == len(table[table.verdict.isin(["within", "MISSED"])])


def test_setups_come_from_the_rows_alone(truth):
    by_name = {row.name: row.setup for row in api_requests.rows(truth)}
    listed = by_name["listrv0 200 pods, 2 clients, cert, pb"]
    assert (listed.protobuf, listed.objects, listed.object_bytes) == (True, 200, 1150)
    assert by_name["get 2 clients, cert, json, +1000 role bindings"].role_bindings == 1000
    assert by_name["post 5 clients, cert, json, quota"].quota
    (fan,) = fan_out.rows(truth)
    assert (fan.setup.watchers, fan.setup.patches) == (7, 20)
    rate, deployment = (row.setup for row in life_cycle.rows(truth))
    assert (rate.rate, rate.pods, rate.delete_rate, rate.nodes) == (15.0, 30, 30.0, 10)
    assert (deployment.rate, deployment.pods) == (0.0, 40)
    assert scheduler_bench.rows(truth)[0].setup == scheduler_bench.Setup("SchedulingBasic", 40, 10, 60)


def test_counts_are_exact(compared):
    table = compared["life-cycle"].table
    counts = table[table.metric.isin([f"{kind} a pod, creating" for kind in life_cycle.CREATION])]
    assert len(counts) == 5
    assert counts.error_percent.abs().max() < 1.0
    fan = compared["fan-out"].table
    assert fan[fan.metric == "events delivered a patch"].error_percent.iloc[0] == pytest.approx(0.0)


def test_cpu_is_what_the_cores_did(compared):
    """Throughput times CPU of all programs is what the machine was busy with."""
    for row, outcome in zip(compared["requests"].rows, compared["requests"].outcomes, strict=True):
        if outcome.failed:
            continue
        values = outcome.values
        used = sum(values[f"{name} CPU a request"] for name in ("API server", "etcd", "controller manager", "client"))
        assert values["cores busy"] <= 2.0 + 1e-9
        assert used * values["throughput"] == pytest.approx(values["cores busy"], rel=0.15), row.name


def test_sleeping_in_closed_form(truth):
    """By hand, of the made-up GET with one client: latency 1 ms; CPU 0.8 + 0.3 + 0.15; system time 0.2 and 0.14 ms; no run at 5/s."""
    rows = [row for row in truth.rows(life_cycle.FILE) if "window_s" in row]
    runs = [{**row, "rate": 5} for row in truth.rows(life_cycle.FILE) if row.get("rate") == 15]

    class Made(Truth):
        def rows(self, name, part="rows"):
            return rows + runs if name == life_cycle.FILE else super().rows(name, part)

    asleep = calibrate_api.sleeping(Made(QUIET, RECORDED))
    assert asleep.spin_s == pytest.approx((0.8 + 0.3 + 0.15 - 1.0) / 4 * 1e-3)
    assert asleep.wake_s == pytest.approx((0.2e-3 - 2 * calibrate_api.SOCKETS_S) / 2)
    assert asleep.etcd_wake_s == pytest.approx(0.14e-3 - calibrate_api.SOCKETS_S)
    assert asleep.wakes_per_idle_s == pytest.approx(0.16 / 10 / 10 / asleep.wake_s)
    assert asleep.wakes_per_pod == pytest.approx((0.4 - 0.016 * 5) / 30 / asleep.wake_s)


def test_command_writes_tables_figures_and_a_page(tmp_path):
    from experiments.cli import app

    command = [
        "validate",
        "control-plane",
        "--truth-dir",
        str(RECORDED),
        "--series",
        QUIET,
        "--family",
        "fan-out",
        "--family",
        "etcd",
    ]
    result = CliRunner().invoke(app, [*command, "--seconds", "0.2", "--workers", "1", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "7 watchers" in result.output
    assert (tmp_path / f"fan-out-{QUIET}.csv").is_file()
    assert (tmp_path / f"etcd-{QUIET}.png").stat().st_size > 10_000
    page = (tmp_path / "index.html").read_text()
    assert "data:image/png;base64" in page
    assert "Not explained" in page


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--family", "life-cycel"], "life-cycle"),
        (["--series", "measured-1.20"], "measured-1.20-2core"),
        (["--truth-dir", "nowhere"], "nowhere is no folder"),
    ],
)
def test_wrong_options_name_what_was_meant(options, told):
    from experiments.cli import app

    with pytest.raises(InputError, match=told):
        CliRunner().invoke(app, ["validate", "control-plane", *options], catch_exceptions=False)


def test_a_file_that_is_none_is_named(tmp_path):
    (tmp_path / "etcd.json").write_text("{")
    with pytest.raises(InputError, match=r"etcd\.json: is not readable as JSON"):
        find(tmp_path, [QUIET])[0].rows("etcd.json")
    (tmp_path / "etcd.json").write_text(json.dumps([1]))
    with pytest.raises(InputError, match="must be a mapping"):
        find(tmp_path, [QUIET])[0].rows("etcd.json")


def test_outages_are_compared_as_samples(truth):
    outages = control_plane.compare_outages(truth, trials=40)
    assert [len(outage.measured_s) for outage in outages] == [12, 8]
    table = control_plane.outage_table(
        [
            control_plane.Outage("a", np.ones(3), np.ones(3), 0.5),
            control_plane.Outage("b", np.ones(3), np.zeros(3), 0.01),
        ]
    )
    assert list(table.verdict) == ["not to be told apart", "MISSED"]


def test_published_figures_say_what_they_assume(tmp_path, monkeypatch):
    (tmp_path / "reference").mkdir()
    head = "name,system,workload,metric,value,unit,hardware,source\n"
    rows = ["k1m_lease_rate,k,1000000 nodes,lease_writes,100000,1/s,-,x"]
    rows += ["etcd22_put_1c_p90,e,w,latency_p90,22,ms,-,x", "cni_x,c,w,m,1,s,-,x"]
    (tmp_path / published.FILE).write_text(head + "\n".join(rows))
    monkeypatch.setenv("KUBEDES_SHARED", str(tmp_path))
    table = published.compare()
    assert list(table.figure) == ["k1m_lease_rate", "etcd22_put_1c_p90"]
    assert table.ratio[0] == pytest.approx(1.0)
    assert table.note[1].startswith("not predicted: etcd 2")
    monkeypatch.setenv("KUBEDES_SHARED", str(tmp_path / "none"))
    assert published.compare() is None
