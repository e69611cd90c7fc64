"""`kubedes validate node` reads any table of published figures and says what it can of each."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.validate.node import compare_published
from sim.base.errors import InputError

HEAD = "name,system,workload,metric,value,unit,hardware,source\n"
ROWS = """a,Kata QEMU,"container life cycle, to workload",startup_time,0.64,s,CI machine,x
b,Kata QEMU,"20 containers, footprint",memory_per_container,120053,kB,CI machine,x
c,Kata QEMU with KSM,"20 containers, footprint",memory_per_container,51538,kB,CI machine,x
d,Kata Cloud Hypervisor,"20 containers, footprint",memory_per_container,122481,kB,CI machine,x
e,Docker,start of a container on SSD,startup_time,568,ms,Azure,x
f,Docker,start of a container on HDD,startup_time,1157,ms,Azure,x
g,runsc,"container start through Docker, ruby application",startup_time,2456,ms,n1-standard-4,x
h,LightVM,unikernel boot,boot_time,2.3,ms,Xen,x
i,kube-apiserver,5000 nodes,latency_p99,1,s,x,x
j,Kata VM templating,speed-up of a container start,speed_up,38.68,%,containerd,x
k,Clear Containers 2,run /bin/true through Docker,startup_time,1.0,s,CI,x
l,Hyper,start,startup_time,350,ms,2015,x
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "published.csv"
    path.write_text(HEAD + ROWS)
    return path


def test_rows_are_found_by_what_they_say(table):
    rows = {row.name: row for row in compare_published(table)}
    assert "i" not in rows  # not about a node
    assert rows["h"].simulated is None
    assert rows["h"].verdict == "not modelled"
    for name in "abdefgkl":
        assert rows[name].verdict == "within", rows[name]
    assert rows["c"].simulated == pytest.approx(51538 + 68515 / 20, rel=1e-3)  # one copy of the guest for all 20
    assert {name for name, row in rows.items() if row.role == "calibrated"} >= {"a", "b", "e", "f"}
    assert rows["d"].role == rows["g"].role == "predicted"


def test_bad_tables_are_refused(tmp_path):
    with pytest.raises(InputError, match="is not there"):
        compare_published(tmp_path / "none.csv")
    path = tmp_path / "bad.csv"
    path.write_text("name,value\na,1\n")
    with pytest.raises(InputError, match="has no column"):
        compare_published(path)


def test_the_command_prints_its_tables(table, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBEDES_SHARED", str(tmp_path / "nothing"))
    told = CliRunner().invoke(app, ["validate", "node", "--published", str(table), "--out", str(tmp_path / "out")])
    assert told.exit_code == 0, told.output
    assert "kata-clh" in told.output
    assert (tmp_path / "out" / "published.csv").is_file()
