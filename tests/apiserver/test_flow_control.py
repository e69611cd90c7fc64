"""Flow control: deals, fair queuing against its slow twin, waiting and timing out, borrowing, and the objects it reads."""

from __future__ import annotations

import hashlib
from collections import Counter
from math import comb
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.apiserver.flow_control.borrowing import Bounds, Demand, allot, bounds, new_limits
from sim.apiserver.flow_control.fair_queuing import RULES_1_20, RULES_1_34, FairQueues, Request, Rules
from sim.apiserver.flow_control.fair_queuing_twin import FairQueuesTwin
from sim.apiserver.flow_control.max_in_flight import MaxInFlightSpec
from sim.apiserver.flow_control.objects import bootstrap, flow_objects_of, read_flow_objects
from sim.apiserver.flow_control.priority_and_fairness import PriorityAndFairness, PriorityAndFairnessSpec
from sim.apiserver.flow_control.retry_after import RetryAfter
from sim.apiserver.flow_control.shuffle_sharding import deal, dealable, flow_hash
from sim.apiserver.flow_control.work import fan_out, list_seats, widest_request
from sim.apiserver.identity import ANY_NODE, Identity, identity, service_account
from sim.apiserver.request import (
    BIND_POD,
    CREATE_EVENT,
    CREATE_POD,
    GET_POD,
    PATCH_POD_STATUS,
    RENEW_LEASE,
    Operation,
    list_operation,
)
from sim.base.errors import InputError
from sim.engine.clock import Clock
from sim.simulate import simulate
from sim.workload import AppKind
from tests.worked.scenarios import exact, load_of

TENANT = identity("tenant-1")
LIST_PODS = list_operation("pods")
WATCH_PODS = Operation("WATCH", "pods", "get_cpu_s")


# --- shuffle sharding


@given(st.integers(0, 2**64 - 1), st.integers(1, 128), st.integers(1, 8))
def test_a_hand_is_dealt_as_from_a_deck_that_shrinks(hashed: int, queues: int, hand_size: int):
    """The twin takes each card out of a real deck."""
    hand_size = min(hand_size, queues)
    deck, rest, dealt = list(range(queues)), hashed, []
    for _ in range(hand_size):
        rest, place = divmod(rest, len(deck))
        dealt.append(deck.pop(place))
    assert deal(hashed, queues, hand_size) == tuple(dealt)


def test_hands_are_spread_evenly():
    """All C(8, 3) hands come equally often: chi-squared of 20,000 flows with 55 degrees of freedom stays below its p = 0.001."""
    flows = 20_000
    hands = Counter(frozenset(deal(flow_hash("global-default", f"tenant-{n}"), 8, 3)) for n in range(flows))
    expected = flows / comb(8, 3)
    assert len(hands) == comb(8, 3)
    assert sum((count - expected) ** 2 / expected for count in hands.values()) < 93.2


def test_a_flow_s_hash_is_the_one_of_the_server():
    """SHA-256 of schema, zero byte, distinguisher; the first 8 bytes, little-endian."""
    assert flow_hash("a", "b") == int.from_bytes(hashlib.sha256(b"a\x00b").digest()[:8], byteorder="little")
    assert dealable(128, 6)
    assert not dealable(1024, 7)  # 70 bits


# --- fair queuing against its twin

OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["arrive", "arrive", "finish", "free", "give up", "limit"]), st.integers(0, 10**6)),
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS, st.sampled_from([RULES_1_20, RULES_1_34]), st.integers(1, 6), st.integers(1, 4))
def test_fair_queues_decide_as_their_twin(operations: list[tuple[str, int]], rules: Rules, limit: int, length: int):
    """Every choice of queue, refusal and start is the same, whatever comes and goes."""
    queues = 6
    fast, slow = FairQueues(limit, queues, length, rules), FairQueuesTwin(limit, queues, length, rules)
    pairs: list[tuple[Request, Request]] = []
    finished: list[tuple[Request, Request]] = []
    now_s = 0.0
    for what, number in operations:
        now_s += (number % 7) * 0.01
        running = [pair for pair in pairs if pair[0].started_s >= 0]
        waiting = [pair for pair in pairs if pair[0].started_s < 0]
        if what == "arrive":
            seats = 1 + number % 3 if rules.seat_seconds else 1
            kept = (number // 3) % 4 if rules.seat_seconds and number % 5 == 0 else 0
            pair = tuple(Request(None, seats, kept, 0.02 if kept else 0.0) for _ in range(2))
            hand = deal(number * 7919, queues, 3)
            came = slow.arrive(pair[1], hand, now_s)
            assert fast.arrive(pair[0], hand, now_s) == came
            if came:
                assert pair[0].queue.index == pair[1].queue.index
                pairs.append(pair)
        elif what == "finish" and running:
            pair = running[number % len(running)]
            pairs.remove(pair)
            freed = fast.finish(pair[0], now_s)
            assert freed == slow.finish(pair[1], now_s)
            if not freed:
                finished.append(pair)
        elif what == "free" and finished:
            pair = finished.pop(number % len(finished))
            fast.free(pair[0], now_s)
            slow.free(pair[1], now_s)
        elif what == "give up" and waiting:
            pair = waiting[number % len(waiting)]
            pairs.remove(pair)
            fast.give_up(pair[0], now_s)
            slow.give_up(pair[1], now_s)
        elif what == "limit":
            fast.set_limit(1 + number % 8, now_s)
            slow.set_limit(1 + number % 8, now_s)
        fast.dispatch(now_s)
        slow.dispatch(now_s)
        assert [a.started_s for a, _ in pairs] == [b.started_s for _, b in pairs]
        assert fast.seats == slow.seats
        assert fast.r == pytest.approx(slow.r, abs=1e-9)
        assert fast.waiting == sum(len(queue.waiting) for queue in fast.queues)
        for queue, twin in zip(fast.queues, slow.queues, strict=True):
            assert queue.next_r == pytest.approx(twin.next_r, abs=1e-6)


def test_a_flow_that_floods_takes_no_more_than_its_share():
    """Two flows of separate queues on 4 seats, each request 1 s: a flood of 100 and a trickle that always wants 2 seats have 2
    each; the trickle never waits longer than one request."""
    for rules in (RULES_1_20, RULES_1_34):
        queues = FairQueues(4, 2, 1000, rules)
        flood, trickle = [Request() for _ in range(100)], [Request() for _ in range(20)]
        for request in flood:
            queues.arrive(request, (0,), 0.0)
            queues.dispatch(0.0)
        came, now_s = {}, 0.0
        running = [request for request in flood if request.started_s >= 0]
        left = list(trickle)
        while left or any(request in trickle for request in running):
            wanted = 2 - sum(request in trickle for request in running) - sum(r.started_s < 0 for r in came)
            for _ in range(min(wanted, len(left))):
                request = left.pop()
                came[request] = now_s
                queues.arrive(request, (1,), now_s)
            running += queues.dispatch(now_s)
            now_s = min(request.started_s for request in running) + 1.0
            for request in [each for each in running if each.started_s + 1.0 <= now_s]:
                running.remove(request)
                queues.finish(request, now_s)
            running += queues.dispatch(now_s)
        waits = [request.started_s - came_s for request, came_s in came.items()]
        assert max(waits) <= 1.0
        assert queues.seats == queues.executing == len(running)


# --- a whole server


def server(rules: str = "1.20", **values) -> tuple[Clock, PriorityAndFairness]:
    clock = Clock()
    return clock, PriorityAndFairnessSpec(rules=rules, **values).build(clock, ".")


def client(
    clock: Clock, control: PriorityAndFairness, user, lasts_s: float, answers: list, operation=BIND_POD, namespace="ns"
):
    request = control.enter(operation, user, namespace)
    if request.event is not None:
        yield request.event
    answers.append((request.code or 200, clock.now))
    if not request.code:
        yield clock.timeout(lasts_s)
        request.level.leave(request)


def test_one_flow_has_its_level_s_seats_and_its_hand_s_queues():
    """1,000 bindings at once of one namespace: 118 are served, 6 queues of 50 wait, 582 are refused."""
    clock, control = server()
    answers: list[tuple[int, float]] = []
    for _ in range(1000):
        clock.start(client(clock, control, identity("system:kube-scheduler"), 1.0, answers))
    assert Counter(code for code, _ in answers) == {200: 118, 429: 582}
    level = control.levels["workload-high"]
    assert sorted(len(queue.waiting) for queue in level.queues)[-7:] == [0, *[50] * 6]
    clock.run_until(10.0)
    assert Counter(code for code, _ in answers) == {200: 418, 429: 582}
    assert [at for code, at in answers if code == 200] == pytest.approx(
        [0.0] * 118 + [1.0] * 118 + [2.0] * 118 + [3.0] * 64
    )
    assert (level.seats, level.executing, level.waiting) == (0, 0, 0)


def test_other_flows_of_the_level_are_served_meanwhile():
    """A tenant that floods fills its own six queues; another, whose hand has one that is free, waits for one turn of the seats."""
    clock, control = server()
    answers: dict[str, list] = {"tenant-1": [], "tenant-2": []}
    for _ in range(2000):
        clock.start(client(clock, control, identity("tenant-1"), 1.0, answers["tenant-1"], CREATE_POD))
    clock.run_until(0.5)
    for _ in range(30):
        clock.start(client(clock, control, identity("tenant-2"), 1.0, answers["tenant-2"], CREATE_POD))
    clock.run_until(20.0)
    assert Counter(code for code, _ in answers["tenant-1"]) == {200: 59 + 300, 429: 2000 - 359}
    assert Counter(answers["tenant-2"]) == {(200, 1.0): 30}


@pytest.mark.parametrize(("rules", "code", "at_s"), [("1.20", 504, 60.0), ("1.34", 429, 15.0)])
def test_nobody_waits_for_ever(rules: str, code: int, at_s: float):
    """A level whose seats never come free: 1.34 refuses after 15 s. 1.20 looks at a queue when somebody joins it, else the
    request timeout ends the wait."""
    clock, control = server(rules, borrowing_period_s=1000.0)
    level = control.levels["global-default"]
    answers: list[tuple[int, float]] = []
    for _ in range(level.limit + 1):
        clock.start(client(clock, control, TENANT, 1000.0, answers, CREATE_POD))
    clock.run_until(100.0)
    assert answers[level.limit :] == [(code, at_s)]
    assert level.waiting == 0


def test_under_the_rules_of_1_20_who_waited_too_long_leaves_when_another_joins():
    clock, control = server()
    level = control.levels["global-default"]
    answers: list[tuple[int, float]] = []
    for _ in range(level.limit + 1):
        clock.start(client(clock, control, TENANT, 1000.0, answers, CREATE_POD))
    clock.run_until(20.0)
    queue = next(queue for queue in level.queues if queue.waiting)
    assert len(queue.waiting) == 1  # 20 s, longer than the limit of 15 s
    for _ in range(6):  # the last of them joins that queue: the other five of the hand are shorter until then
        clock.start(client(clock, control, TENANT, 1000.0, answers, CREATE_POD))
    assert answers[-1] == (429, 20.0)


STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.floats(0.001, 3.0), st.floats(0.0, 0.4), st.booleans()), min_size=1, max_size=150
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from(["1.20", "1.34"]))
def test_no_seat_is_lost_and_nobody_starves(steps, rules: str):
    """Six flows on one small level, widths and watchers too: everyone is answered, and at the end everything is free."""
    clock, control = server(rules, max_in_flight=60, max_mutating_in_flight=40, objects_per_seat=10.0)
    control.weigh_by(lambda resource: 35, lambda operation: True, lambda resource: 40)
    answers: list[tuple[int, float]] = []

    def load():
        for flow, lasts_s, pause_s, lists in steps:
            operation = LIST_PODS if lists else CREATE_POD
            clock.start(client(clock, control, identity(f"tenant-{flow}"), lasts_s, answers, operation))
            yield clock.timeout(pause_s)

    clock.start(load())
    clock.run_until(1000.0)
    assert len(answers) == len(steps)
    for level in control.levels.values():
        assert (level.seats, level.executing, level.waiting, level.seats_waiting) == (0, 0, 0, 0)
        assert all((queue.executing, queue.seats, len(queue.waiting)) == (0, 0, 0) for queue in level.queues)
        assert level.meter.in_use == level.meter.queue == 0


@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from(["1.20", "1.34"]))
def test_the_way_straight_through_is_the_way_through_the_queue(steps, rules: str):
    """A level of a calm server keeps the same books as the twin that knows no short cut."""
    clock, control = server(rules)
    level = control.levels["global-default"]
    twin = FairQueuesTwin(level.limit, len(level.queues), 50, level.rules)
    held: list[tuple[float, Request, Request]] = []
    now_s = 0.0
    for flow, lasts_s, pause_s, _ in steps:
        until = now_s + pause_s
        for due_s, request, other in sorted(held, key=lambda each: each[0]):
            if due_s <= until:
                clock.run_until(due_s)
                level.leave(request)
                twin.finish(other, due_s)
                held.remove((due_s, request, other))
        clock.run_until(until)
        now_s = until
        user = identity(f"tenant-{flow}")
        request, other = control.enter(GET_POD, user, "ns"), Request()
        hand = control.flow_of(GET_POD, user, "ns").hands[0]
        twin.arrive(other, hand, now_s)
        twin.dispatch(now_s)
        assert request.queue is not None
        assert other.queue is not None
        assert request.queue.index == other.queue.index
        held.append((now_s + lasts_s, request, other))
        assert level.r == pytest.approx(twin.r, abs=1e-9)
        assert [queue.next_r for queue in level.queues] == pytest.approx([queue.next_r for queue in twin.queues])


def test_aggregated_requests_take_what_is_free_and_serve_all():
    _, control = server()
    ways, served = control.enter_many(RENEW_LEASE, identity(ANY_NODE), 100, 3)
    assert (len(ways), served) == (3, 100)
    assert len({way.queue.index for way in ways}) > 1  # different nodes are different flows
    level = control.levels["system"]
    others = [control.enter(PATCH_POD_STATUS, identity(ANY_NODE), "ns") for _ in range(level.limit)]
    assert sum(way.event is not None for way in others) == 3
    late, served = control.enter_many(RENEW_LEASE, identity(ANY_NODE), 100, 3)
    assert (len(late), served) == (1, 100)
    assert late[0].event is not None  # one waits its turn for all
    for way in (*ways, *(way for way in others if way.event is None)):
        level.leave(way)
    assert late[0].event is None
    assert not late[0].code


# --- which level


@pytest.mark.parametrize("rules", ["1.20", "1.34"])
@pytest.mark.parametrize(
    ("user", "operation", "namespace", "schema"),
    [
        (identity("system:kube-scheduler"), BIND_POD, "ns", "kube-scheduler"),
        (identity("system:kube-scheduler"), RENEW_LEASE, "kube-system", "system-leader-election"),
        (identity("system:kube-controller-manager"), GET_POD, "", "kube-controller-manager"),
        (service_account("kube-system", "job-controller"), CREATE_POD, "ns", "kube-system-service-accounts"),
        (service_account("default", "robot"), CREATE_POD, "ns", "service-accounts"),
        (identity("system:node:a"), PATCH_POD_STATUS, "ns", "system-nodes"),
        (identity("system:node:a"), RENEW_LEASE, "", {"1.20": "system-nodes", "1.34": "system-node-high"}),
        (TENANT, CREATE_POD, "tenant-1", "global-default"),
        (identity("system:anonymous"), GET_POD, "ns", "global-default"),
        (identity("admin", ("system:masters",)), CREATE_POD, "ns", "exempt"),
    ],
)
def test_who_goes_where(rules: str, user, operation: Operation, namespace: str, schema):
    _, control = server(rules)
    assert control.flow_of(operation, user, namespace).schema == (schema if isinstance(schema, str) else schema[rules])


def test_seats_of_a_pool_of_600():
    """The table of the bootstrap configuration: shares of 600 seats, rounded up."""
    _, old = server()
    assert {name: level.limit for name, level in old.levels.items() if name != "exempt"} == {
        "system": 88,
        "leader-election": 30,
        "workload-high": 118,
        "workload-low": 293,
        "global-default": 59,
        "catch-all": 15,
    }
    _, new = server("1.34")
    assert {name: (level.bounds.nominal, level.bounds.least) for name, level in new.levels.items()} == {
        "system": (74, 50),
        "node-high": (98, 73),
        "leader-election": (25, 25),
        "workload-high": (98, 49),
        "workload-low": (245, 24),
        "global-default": (49, 24),
        "catch-all": (13, 13),
        "exempt": (0, 0),
    }


def test_masters_and_watches_are_not_counted_and_the_catch_all_does_not_queue():
    _, control = server()
    master = identity("admin", ("system:masters",))
    assert all(control.enter(CREATE_POD, master, "ns").code == 0 for _ in range(1000))
    assert all(control.enter(WATCH_PODS, TENANT, "ns").code == 0 for _ in range(1000))
    nobody = Identity("nobody", ())  # in no group at all, so that no schema matches
    assert Counter(control.enter(CREATE_POD, nobody, "ns").code for _ in range(20)) == {0: 15, 429: 5}


def test_max_in_flight_refuses_at_once_but_not_masters():
    control = MaxInFlightSpec(max_in_flight=2, max_mutating_in_flight=1).build(Clock(), ".")
    first = control.enter(CREATE_POD, TENANT, "ns")
    assert control.enter(CREATE_POD, TENANT, "ns").code == 429
    assert control.enter(CREATE_POD, identity("admin", ("system:masters",)), "ns").code == 0
    assert [control.enter(GET_POD, TENANT, "ns").code for _ in range(3)] == [0, 0, 429]
    assert control.enter(WATCH_PODS, TENANT, "ns").code == 0
    first.level.leave(first)
    assert control.enter(CREATE_POD, TENANT, "ns").code == 0


# --- work estimates, borrowing, Retry-After


def test_work_estimates():
    assert list_seats(5000, 500, True, False, 100) == 50  # the cache looks at all
    assert list_seats(5000, 500, False, False, 100) == 10  # twice a page
    assert list_seats(5000, 500, False, True, 100) == 55  # all, and a page of answers
    assert list_seats(3, 0, True, False, 100) == 1
    assert fan_out(9, 10, 0.005, 10) == (0, 0.0)
    assert fan_out(95, 10, 0.005, 10) == (10, 0.005)
    assert fan_out(5000, 10, 0.005, 10) == (10, 0.25)  # 500 seats for 5 ms, made narrower
    assert widest_request(49, 6, 0.15, 10) == 8
    assert widest_request(3, 6, 0.15, 10) == 1


def test_a_change_keeps_the_seats_of_its_watchers():
    clock, control = server("1.34")
    control.weigh_by(lambda resource: 0, lambda operation: True, lambda resource: 200)
    level = control.levels["global-default"]
    request = control.enter(CREATE_POD, TENANT, "ns")
    assert (request.seats, request.final_seats, request.keep_s, level.seats) == (1, 8, 0.005 * 20 / 8, 8)
    request.level.leave(request)
    assert (level.executing, level.seats) == (0, 8)
    clock.run_until(1.0)
    assert level.seats == 0


def test_limits_follow_demand():
    """At rest each level has its least, stretched to all seats; one that wants more takes from those that lend."""
    clock, control = server("1.34")
    least = {name: level.bounds.least for name, level in control.levels.items() if name != "exempt"}
    rest = {name: level.limit for name, level in control.levels.items() if name != "exempt"}
    total = sum(level.bounds.nominal for level in control.levels.values())
    assert rest == {name: round(seats * total / sum(least.values())) for name, seats in least.items()}
    answers: list[tuple[int, float]] = []
    for _ in range(300):
        clock.start(client(clock, control, TENANT, 1000.0, answers, CREATE_POD))
    clock.run_until(10.5)
    assert control.levels["global-default"].limit > 250
    assert control.levels["leader-election"].limit >= 25  # lends nothing
    assert sum(level.limit for name, level in control.levels.items() if name != "exempt") == pytest.approx(total, abs=4)
    assert sum(code == 200 for code, _ in answers) > 250


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 50), st.integers(0, 40), st.integers(0, 60), st.integers(0, 100)),
        min_size=1,
        max_size=8,
    )
)
def test_seats_are_allotted_by_one_factor_within_bounds(levels):
    """Against bisection: the factor for which the kept-within-bounds targets sum to the seats."""
    lower = [float(least) for _, least, _, _ in levels]
    upper = [float(least + room) for _, least, room, _ in levels]
    targets = [max(float(target), low) for (target, _, _, _), low in zip(levels, lower, strict=True)]
    total = sum(lower) + (sum(upper) - sum(lower)) * levels[0][3] / 100
    got = allot(total, targets, lower, upper)
    assert sum(got) == pytest.approx(total)
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        seats = [min(max(t * middle, a), b) for t, a, b in zip(targets, lower, upper, strict=True)]
        low, high = (middle, high) if sum(seats) < total else (low, middle)
    expected = [min(max(t * high, a), b) for t, a, b in zip(targets, lower, upper, strict=True)]
    assert got == pytest.approx(expected, abs=1e-4)


def test_demand_falls_slowly_and_rises_at_once():
    """10 seats for half of the period: mean 5, deviation 5, so the envelope is 10."""
    demand = Demand()
    demand.note(10, 0.0)
    demand.note(0, 5.0)
    assert demand.close(10.0, 0.977) == 10
    assert demand.smoothed == pytest.approx(10.0)
    assert demand.close(20.0, 0.977) == 0
    assert demand.smoothed == pytest.approx(9.77)


def test_exempt_demand_shrinks_the_others_to_their_least():
    levels = [Bounds(100, 50, 700), Bounds(100, 20, 700)]
    assert new_limits(levels, [100, 100], [100, 100], exempt_high=0) == [100, 100]
    assert new_limits(levels, [100, 100], [100, 100], exempt_high=130) == [50, 20]
    assert new_limits(levels, [100, 100], [100, 100], exempt_high=65) == [75, 60]  # half-way between least and wanted
    assert bounds(40, 245, 600, 50, 100) == Bounds(98, 49, 196)


def test_retry_after_doubles_under_overload_and_shrinks_again():
    told = RetryAfter(32)
    seconds = []
    for second in range(12):
        for _ in range(100):
            told.note(second + 0.5)
        seconds.append(told.seconds)
    assert seconds == [1, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 8]
    for second in range(60, 64):
        told.note(second)
    assert told.seconds == 4


# --- objects


def test_reads_old_and_new_objects(tmp_path: Path):
    (tmp_path / "a.yaml").write_text(
        """
apiVersion: flowcontrol.apiserver.k8s.io/v1beta1
kind: PriorityLevelConfiguration
metadata: {name: robots}
spec: {type: Limited, limited: {assuredConcurrencyShares: 7, limitResponse: {type: Reject}}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchemaList
items:
- metadata: {name: robots}
  spec:
    priorityLevelConfiguration: {name: robots}
    matchingPrecedence: 50
    rules:
    - subjects: [{kind: ServiceAccount, serviceAccount: {name: '*', namespace: robots}}]
      resourceRules: [{verbs: [create], apiGroups: [''], resources: [pods], namespaces: [robots]}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
"""
    )
    control = PriorityAndFairnessSpec(objects=("a.yaml",)).build(Clock(), str(tmp_path))
    assert control.levels["robots"].limit == int(np.ceil(600 * 7 / 212))
    robot = service_account("robots", "r2")
    assert control.flow_of(CREATE_POD, robot, "robots").schema == "robots"
    assert control.flow_of(CREATE_POD, robot, "elsewhere").schema == "service-accounts"
    assert control.flow_of(CREATE_EVENT, robot, "robots").schema == "service-accounts"


def test_bad_objects_are_refused_with_their_paths(tmp_path: Path):
    (tmp_path / "bad.yaml").write_text(
        """
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: a}
spec:
  priorityLevelConfiguration: {name: workload-hihg}
  matchingPrecedence: 20000
  rules:
  - subjects: [{kind: Person, user: {name: x}}]
    resourceRules: [{verbs: [gte], apiGroups: [''], resources: ['*', pods]}]
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: a}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: b}
spec:
  type: Limited
  limited:
    nominalConcurrencyShares: -1
    limitResponse: {type: Reject, queuing: {queues: 3}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: c}
spec: {type: Limited, limited: {limitResponse: {type: Queue, queuing: {queues: 8, handSize: 9}}}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1beta7
kind: FlowSchema
metadata: {name: d}
"""
    )
    with pytest.raises(InputError) as caught:
        flow_objects_of([tmp_path], "1.34")
    text = str(caught.value)
    for line in (
        "bad.yaml#1.spec.priorityLevelConfiguration.name: 'workload-hihg' is no priority level; did you mean 'workload-high'?",
        "#1.spec.matchingPrecedence: 20000 must be at most 10000",
        "#1.spec.rules[0].subjects[0].kind: 'Person' must be one of User, Group, ServiceAccount",
        "#1.spec.rules[0].resourceRules[0].verbs: 'gte' is no verb; did you mean 'get'?",
        "#1.spec.rules[0].resourceRules[0].resources: ['*', 'pods'] must have '*' alone",
        "must have clusterScope: true, or namespaces",
        "#2.metadata.name: 'a' is defined twice: first in ",
        "#3.spec.limited.nominalConcurrencyShares: -1 must be at least 0",
        "#3.spec.limited.limitResponse.queuing: {'queues': 3} must not be given with the type Reject",
        "#4.spec.limited.limitResponse.queuing.handSize: 9 must be at most the number of queues, 8",
        "#5.apiVersion: 'flowcontrol.apiserver.k8s.io/v1beta7' is none of FlowSchema",
    ):
        assert line in text
    assert read_flow_objects([], bootstrap("1.20")) == bootstrap("1.20")


@pytest.mark.parametrize(("version", "least", "most"), [("1.12", 400, 420), ("1.20", 141, 141)])
def test_a_tenant_that_asks_for_500_pods_at_once(version: str, least: int, most: int):
    """1.20 has 59 seats for all tenants, and six queues of 50 for one: 141 are refused. 1.12 has 200 seats and no queues: 300 are
    refused, then 100 again, and a few more for the seats that bindings hold. All come again until they are stored."""
    result = simulate(exact(kubernetes=version, runtime="containerd"), load_of((1.0, AppKind.POD, 500)), seed=1)
    rows = result.requests
    posts = rows[(rows["verb"] == "POST") & (rows["resource"] == "pods")]
    codes = posts.groupby("code")["count"].sum().to_dict()
    assert codes[201] == 500
    assert least <= codes[429] <= most
