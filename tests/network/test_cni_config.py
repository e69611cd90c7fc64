"""CNI configuration files: real samples are read, bad ones are refused with path and reason."""

from __future__ import annotations

import json

import pytest

from sim.base.errors import InputError
from sim.network.cni_config import parse_configuration, read_configuration
from tests.network.shared import shared

BRIDGE = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "type": "bridge",
    "ipMasq": True,
    "mtu": 1400,
    "ipam": {"type": "host-local", "subnet": "10.22.0.0/28"},
}


def test_single_plugin():
    conf = parse_configuration(BRIDGE)
    assert (conf.plugin, conf.mtu_bytes, conf.ip_masquerade, conf.ipam) == ("bridge", 1400, True, "host-local")
    assert [last - first + 1 for first, last in conf.ranges] == [13]


def test_chain_with_bandwidth():
    conf = parse_configuration(
        {
            "cniVersion": "0.3.1",
            "name": "n",
            "plugins": [BRIDGE, {"type": "portmap"}, {"type": "bandwidth", "ingressRate": 8000, "egressRate": 9000}],
        }
    )
    assert conf.chained == ("portmap", "bandwidth")
    assert (conf.ingress_bit_per_s, conf.egress_bit_per_s) == (8000, 9000)


def test_range_bounds():
    conf = parse_configuration(
        {
            **BRIDGE,
            "ipam": {
                "type": "host-local",
                "ranges": [
                    [
                        {"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.19"},
                        {"subnet": "10.2.0.0/24"},
                    ]
                ],
            },
        }
    )
    assert [last - first + 1 for first, last in conf.ranges] == [10, 253]


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"ipam": None}, "ipam", "must be given"),
        ({"type": "brigde"}, "type", "did you mean 'bridge'"),
        ({"type": "portmap"}, "type", "cannot stand first"),
        ({"mtu": 70000}, "mtu", "68 to 65535"),
        ({"cniVersion": "0.1.0"}, "cniVersion", "0.2.0 or later"),
        ({"name": None}, "name", "must be given"),
        ({"ipam": {"type": "host-locl"}}, "ipam.type", "did you mean 'host-local'"),
        ({"ipam": {"type": "host-local", "subnet": "10.22.0.1/16"}}, "ipam.subnet", "without host bits"),
        (
            {"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.0.0.0/8"}, {"subnet": "10.1.0.0/16"}]]}},
            "ipam.ranges",
            "overlap",
        ),
        (
            {"ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1"}},
            "ipam.rangeStart",
            "must lie in",
        ),
    ],
)
def test_refused(change, path, words):
    with pytest.raises(InputError) as error:
        parse_configuration({**BRIDGE, **change})
    assert f"  {path}: " in str(error.value)
    assert words in str(error.value)


def test_all_problems_at_once(tmp_path):
    file = tmp_path / "10-net.conf"
    file.write_text(json.dumps({"type": "brige", "mtu": 1}))
    with pytest.raises(InputError, match="4 problems"):
        read_configuration(file)


def test_not_json(tmp_path):
    file = tmp_path / "x.conf"
    file.write_text("bridge: yes")
    with pytest.raises(InputError, match="is not JSON"):
        read_configuration(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_configuration(tmp_path / "none.conf")


@pytest.mark.parametrize(
    ("name", "plugin", "chained"),
    [
        ("10-crio-bridge.conflist", "bridge", ("portmap",)),
        ("basic-bridge.json", "bridge", ()),
        ("chained-bridge-bandwidth.conflist", "bridge", ("bandwidth",)),
        ("calico-go-with-host-local.json", "calico", ()),
    ],
)
def test_real_samples(name, plugin, chained):
    conf = read_configuration(shared() / "data" / "cni" / name)
    assert (conf.plugin, conf.chained, conf.ipam) == (plugin, chained, "host-local")
