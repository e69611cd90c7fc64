"""Max-min fairness: certified on random networks, the fast repair equal to recomputing everything, bytes conserved."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.network import flows
from sim.network.flows import HOPS, FlowTable, run_flows
from sim.network.max_min import OWN_LIMIT, fill_all, repair


def certify(table: FlowTable) -> None:
    """Every flow has a bottleneck: a full resource where its rate is the highest, or its own limit; none is overfull."""
    load = np.zeros(len(table.capacity))
    for slot in np.flatnonzero(table.active):
        for hop in range(HOPS):
            if table.used[slot, hop] >= 0:
                load[table.used[slot, hop]] += table.weight[slot, hop] * table.rate[slot]
    assert np.all(load <= table.capacity * (1 + 1e-6))
    assert table.load == pytest.approx(load, rel=1e-6, abs=1e-6)
    for slot in np.flatnonzero(table.active):
        where = table.bottleneck[slot]
        if where == OWN_LIMIT:
            assert table.rate[slot] == pytest.approx(table.limit[slot])
            continue
        assert where >= 0
        assert where in table.used[slot]
        assert load[where] == pytest.approx(table.capacity[where], rel=1e-6)
        others = [i for i in np.flatnonzero(table.active) if where in table.used[i]]
        assert table.rate[slot] >= max(table.rate[i] for i in others) * (1 - 1e-6)


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"),
            st.lists(st.integers(0, 11), min_size=1, max_size=6, unique=True),
            st.integers(0, 2**31),
            st.sampled_from([np.inf, np.inf, 0.3, 2.0, 5.0]),
        ),
        st.tuples(st.just("remove"), st.integers(0, 100)),
    ),
    min_size=1,
    max_size=60,
)


@given(steps, st.integers(0, 2**31))
@settings(max_examples=300, deadline=None)
def test_repair_is_exact_and_certified(moves, seed):
    capacity = np.random.default_rng(seed).choice([1.0, 2.0, 3.0, 10.0], 12)
    table = FlowTable(capacity, slots=4)
    live: list[int] = []
    for move in moves:
        if move[0] == "add":
            weights = np.random.default_rng(move[2]).choice([0.5, 1.0, 1.0, 3.0], len(move[1]))
            live.append(table.add(move[1], weights, move[3])[0])
        elif live:
            table.remove(live.pop(move[1] % len(live)))
        assert table.rate == pytest.approx(table.recomputed(), rel=1e-6, abs=1e-9)
        certify(table)


def test_the_kernel_s_twin_does_the_same(monkeypatch):
    tables = []
    for repair_ in (repair.fast, repair.reference):
        monkeypatch.setattr(flows, "_repair", repair_)
        moves = np.random.default_rng(6)
        table, live = FlowTable(np.arange(1.0, 21.0)), []
        for _ in range(150):
            if live and moves.random() < 0.4:
                table.remove(live.pop(moves.integers(len(live))))
            else:
                live.append(
                    table.add(moves.choice(20, 3, replace=False), [1.0, 2.0, 0.5], moves.choice([np.inf, 0.4]))[0]
                )
        tables.append(table)
    assert tables[0].rate == pytest.approx(tables[1].rate, rel=1e-9)
    assert tables[0].load == pytest.approx(tables[1].load, rel=1e-9, abs=1e-9)


def test_repair_names_every_flow_whose_rate_changed():
    rng = np.random.default_rng(3)
    table = FlowTable(rng.uniform(1, 5, 30))
    live = []
    for _ in range(300):
        before = table.rate.copy()
        if live and rng.random() < 0.4:
            gone = live.pop(rng.integers(len(live)))
            changed = set(table.remove(gone)) | {gone}
        else:
            slot, moved = table.add(rng.choice(30, 3, replace=False), [1.0, 1.0, 1.0])
            live.append(slot)
            changed = set(moved)
        grown = np.zeros(len(table.rate))
        grown[: len(before)] = before
        assert set(np.flatnonzero(~np.isclose(grown, table.rate, rtol=1e-12))) <= changed


def test_worked_example():
    """Two links of 10 and 4: one flow over both, one over each. The long flow and the second get 2, the first what is left."""
    table = FlowTable(np.array([10.0, 4.0]))
    both, _ = table.add([0, 1], [1, 1])
    first, _ = table.add([0], [1])
    second, _ = table.add([1], [1])
    assert [table.rate[slot] for slot in (both, first, second)] == pytest.approx([2, 8, 2])
    table.remove(second)
    assert [table.rate[slot] for slot in (both, first)] == pytest.approx([4, 6])


def test_core_binds_before_the_link():
    """One byte costs 2 ns of a core: 0.5 GB/s although the link carries 10."""
    table = FlowTable(np.array([10.0, 1.0]))
    slot, _ = table.add([0, 1], [1.0, 2.0])
    assert table.rate[slot] == pytest.approx(0.5)
    assert table.bottleneck[slot] == 1


def transfers(flows: int, seed: int, hosts: int = 6):
    rng = np.random.default_rng(seed)
    pairs = [(a, b) for a in range(hosts) for b in range(hosts) if a != b]
    used = np.full((len(pairs), 4), -1, np.int64)
    used[:, :2] = [(2 * a, 2 * b + 1) for a, b in pairs]
    weight = np.where(used >= 0, 1.0, 0.0)
    path = rng.integers(0, len(pairs), flows)
    limit = rng.choice([np.inf, 0.5], flows)
    start = np.sort(rng.uniform(0, flows / 10, flows))
    return np.full(2 * hosts, 1.0), used, weight, path, limit, start, rng.exponential(1.0, flows)


@pytest.mark.parametrize("seed", range(12))
def test_run_flows_equals_its_twin(seed):
    given_ = transfers(120, seed)
    fast, slow, use_fast, use_slow = np.zeros(120), np.zeros(120), np.zeros(12), np.zeros(12)
    most = run_flows(*given_, 128, fast, use_fast)
    assert most == run_flows.reference(*given_, 128, slow, use_slow)
    assert fast == pytest.approx(slow, rel=1e-6)
    assert use_fast == pytest.approx(use_slow, rel=1e-6)


def test_bytes_are_conserved():
    given_ = transfers(5000, 9)
    finish, use = np.zeros(5000), np.zeros(12)
    run_flows(*given_, 4000, finish, use)
    assert use[::2].sum() == pytest.approx(given_[6].sum())
    assert use[1::2].sum() == pytest.approx(given_[6].sum())
    assert np.all(finish > given_[5])
    # No link carries more than its capacity between the first start and the last end.
    assert np.all(use <= given_[0] * (finish.max() - given_[5].min()) * (1 + 1e-9))


def test_too_few_slots_are_reported():
    given_ = transfers(200, 1)
    assert run_flows(*given_, 2, np.zeros(200), np.zeros(12)) == -1


def test_one_link_shared_by_all_is_processor_sharing():
    """n flows of one size that start together on one link end together after n times the time of one."""
    n = 7
    finish, use = np.zeros(n), np.zeros(1)
    run_flows(
        np.array([2.0]),
        np.zeros((1, 1), np.int64),
        np.ones((1, 1)),
        np.zeros(n, np.int64),
        np.full(n, np.inf),
        np.zeros(n),
        np.full(n, 3.0),
        8,
        finish,
        use,
    )
    assert finish == pytest.approx(n * 3.0 / 2.0)


def test_filling_leaves_nothing_over_where_nobody_is_limited():
    rate, where = fill_all(
        np.array([6.0]), np.zeros((3, 1), np.int64), np.ones((3, 1)), np.array([np.inf, 1.0, np.inf]), np.ones(3, bool)
    )
    assert rate == pytest.approx([2.5, 1.0, 2.5])
    assert list(where) == [0, OWN_LIMIT, 0]


def test_a_capacity_that_changes_moves_the_rates_as_if_it_had_always_been_so():
    rng = np.random.default_rng(4)
    table = FlowTable(rng.uniform(1, 5, 30))
    live = [table.add(rng.choice(30, 3, replace=False), [1.0, 2.0, 1.0])[0] for _ in range(60)]
    for _ in range(100):
        which = rng.choice(30, rng.integers(1, 6), replace=False)
        table.set_capacity(which, rng.uniform(0.5, 6, len(which)))
        assert table.rate == pytest.approx(table.recomputed(), rel=1e-6, abs=1e-9)
        certify(table)
        table.remove(live.pop(rng.integers(len(live))))
        live.append(table.add(rng.choice(30, 3, replace=False), [1.0, 2.0, 1.0])[0])
        assert table.rate == pytest.approx(table.recomputed(), rel=1e-6, abs=1e-9)
