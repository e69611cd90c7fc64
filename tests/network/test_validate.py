"""The calibration is what the single-stream measurements say, and the predictions stay within their aims."""

from __future__ import annotations

import pytest

from tests.network.shared import shared

HOPS = {
    "veth_route": ("routed", "host"),
    "conntrack": ("routed_ct", "routed"),
    "bridge": ("kubenet", "routed"),
    "nat": ("nat", "kubenet"),
    "ipip": ("ipip_bpf", "routed"),
    "vxlan": ("vxlan", "kubenet"),
    "tun": ("udp", "kubenet"),
}
SEGMENT = {"vxlan": 1398, "udp": 1420, "ipip_bpf": 1428}


def test_hop_costs_are_differences_of_single_streams():
    shared()
    from experiments.validate.truth import truth
    from sim.network.costs import PathCosts

    costs = PathCosts()
    rows = truth("network_truth/datapath.json")["rows"]
    bulk = {row["mode"]: row for row in rows if (row["profile"], row["test"]) == ("off", "tcp1")}
    lone = {row["mode"]: row["p50_us"]["min"] / 2 for row in rows if row["test"] == "rr1"}

    def packet_us(mode: str, side: str, copy_s: float) -> float:
        return (bulk[mode][f"cpu_s_per_GB_{side}"]["p20"] - copy_s * 1e9) * SEGMENT.get(mode, 1448) * 1e-9 * 1e6

    for name, (mode, below) in HOPS.items():
        hop = costs.one(name)
        for side, given, copy_s in (
            ("A", hop.tx_packet_s, costs.copy_tx_byte_s),
            ("B", hop.rx_packet_s, costs.copy_rx_byte_s),
        ):
            assert given * 1e6 == pytest.approx(
                packet_us(mode, side, copy_s) - packet_us(below, side, copy_s), abs=0.006
            ), (name, side)
        assert hop.lone_packet_s * 1e6 == pytest.approx(lone[mode] - lone[below], abs=0.006), name
    assert costs.stack.lone_packet_s * 1e6 == pytest.approx(lone["host"], abs=0.006)


def test_predictions_keep_their_aims():
    """At least nine in ten of the judged predictions are within their aim, and every ratio between data paths."""
    shared()
    from experiments.validate.network import compare

    rows = compare()
    judged = [row for row in rows if row.role == "predicted" and row.verdict != "shown"]
    missed = [row for row in judged if row.verdict == "MISSED"]
    assert len(judged) > 100
    assert len(missed) <= 0.1 * len(judged), [f"{row.case} {row.metric} {row.error_percent:.0f} %" for row in missed]
    assert not [row for row in rows if row.verdict == "MISSED" and row.metric == "ratio to host"]


def test_command_prints_measured_simulated_error(tmp_path):
    shared()
    from typer.testing import CliRunner

    from experiments.cli import app

    result = CliRunner().invoke(app, ["validate", "network", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    for text in ("measured", "simulated", "error_percent", "Not explained:", "vxlan off", "cni_calico_1440"):
        assert text in result.output
    assert (tmp_path / "network.csv").stat().st_size > 1000
    assert (tmp_path / "network.svg").stat().st_size > 1000
