"""The scheduling queue: worked examples in which every step is derived, the hints one by one, and a state machine."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sim.base.errors import InputError
from sim.scheduler import queueing_hints as hints
from sim.scheduler.queue import Place, QueueRules, Requeueing, SchedulingQueue
from sim.scheduler.queueing_hints import Action, ClusterEvent, Resource, Waiting
from sim.state.objects import (
    Affinity,
    Container,
    ContainerPort,
    LabelSelector,
    NodeSelectorTerm,
    NodeSpec,
    PodAffinityTerm,
    PodSpec,
    Requirement,
    Taint,
    Toleration,
    TopologySpreadConstraint,
)

FIT = ["NodeResourcesFit"]
OLD = QueueRules.for_version("1.20")
MIDDLE = QueueRules.for_version("1.28")
NEW = QueueRules.for_version("1.34")


def asks(cpu=1000, **fields):
    return PodSpec(containers=(Container(requests=(("cpu", cpu),)),), **fields)


def node(cpu=4000, name="n", **fields):
    return NodeSpec(name, allocatable=(("cpu", cpu), ("pods", 110)), **fields)


SPEC = asks()
ROOMY = hints.node_added(node())
TINY = hints.node_added(node(cpu=10))


def drain(queue, now_s=0.0):
    """The ids of all ready pods, in order."""
    out = []
    while (queued := queue.pop(now_s)) is not None:
        out.append(queued.pod)
    return out


def fail(queue, now_s, plugins=FIT):
    """Pop the first pod and let its attempt fail at the same time; where it went."""
    return queue.add_unschedulable_if_not_present(queue.pop(now_s).pod, now_s, plugins)


# --- order ------------------------------------------------------------------------------------------------------------


def test_higher_priority_first_then_first_come():
    queue = SchedulingQueue()
    for pod, (priority, at_s) in enumerate([(0, 0.0), (10, 1.0), (0, 1.0), (10, 0.5), (0, 1.0)]):
        queue.add(pod, asks(priority=priority), at_s)
    assert queue.lengths["active"] == 5
    assert drain(queue, 2.0) == [3, 1, 0, 2, 4]
    assert queue.scheduling_cycle == 5


def test_a_profile_may_sort_by_its_own_key():
    queue = SchedulingQueue(sort_key=lambda queued: (-queued.pod,))
    for pod in range(3):
        queue.add(pod, SPEC, 0.0)
    assert drain(queue) == [2, 1, 0]


def test_a_pod_that_failed_goes_behind_those_that_came_before_its_return():
    # Pod 0 arrives at 0 and fails at 5: from then on its time is 5, so pod 1, which arrived at 3, is before it.
    queue = SchedulingQueue()
    queue.add(0, SPEC, 0.0)
    assert fail(queue, 5.0) is Place.UNSCHEDULABLE
    queue.add(1, SPEC, 3.0)
    queue.activate([0], 6.0)
    assert drain(queue, 6.0) == [1, 0]


def test_a_pod_is_added_once():
    queue = SchedulingQueue()
    queue.add(0, SPEC, 0.0)
    with pytest.raises(ValueError, match="in the queue already"):
        queue.add(0, SPEC, 0.0)
    with pytest.raises(ValueError, match="not in its scheduling cycle"):
        queue.add_unschedulable_if_not_present(0, 0.0, FIT)


# --- back-off, 1.34 ---------------------------------------------------------------------------------------------------


def test_worked_back_off_of_1_34():
    # Back-offs are 1, 2, 4, 8, 10, 10 s after the failure, cut down to whole seconds; the flush on the whole second
    # after that one ends them, because a pod backs off for the whole second in which its back-off ends.
    # Failing at t.3: t.3 + 1 = (t+1).3, cut to t+1, flushed at t+2; with 2 s at t+3, with 4 s at t+5, 8: t+9, 10: t+11.
    queue = SchedulingQueue(NEW)
    queue.add(0, SPEC, 0.3)
    now_s = 0.3
    for whole_s in (2, 3, 5, 9, 11, 11):
        assert fail(queue, now_s) is Place.UNSCHEDULABLE
        assert queue.move_all_to_active_or_backoff(ROOMY, now_s) == 1
        assert queue.get(0).place is Place.BACKOFF
        due_s = math.floor(now_s) + whole_s
        assert queue.next_wakeup_s() == due_s
        assert queue.flush(due_s - 0.001) == 0
        assert queue.flush(due_s) == 1
        assert queue.get(0).place is Place.ACTIVE
        now_s = due_s + 0.3
    assert queue.incoming["active", "BackoffComplete"] == 6
    assert queue.incoming["backoff", "NodeAdd"] == 6


def test_an_idle_scheduler_of_1_34_pops_from_the_back_off_queue():
    # Both fail at 0.5 and back off until 1 (cut down), so priority decides; the error back-off is not served early.
    queue = SchedulingQueue(NEW)
    queue.add(0, SPEC, 0.0)
    queue.add(1, asks(priority=5), 0.1)
    queue.add(2, SPEC, 0.2)
    popped = [queue.pop(0.5).pod for _ in range(3)]
    assert popped == [1, 0, 2]
    assert queue.add_unschedulable_if_not_present(2, 0.5) is Place.ERROR_BACKOFF
    for pod in (0, 1):
        queue.add_unschedulable_if_not_present(pod, 0.5, FIT)
    assert not queue.ready
    queue.move_all_to_active_or_backoff(ROOMY, 0.6)
    assert queue.lengths == {"active": 0, "backoff": 3, "unschedulable": 0, "gated": 0, "in_flight": 0}
    assert queue.ready
    assert drain(queue, 0.7) == [1, 0]
    assert queue.incoming["active", "PopFromBackoffQ"] == 2
    assert queue.flush(2.0) == 1  # the error's back-off, 0.5 + 1 = 1.5, cut to 1
    assert drain(queue, 2.0) == [2]


def test_errors_back_off_on_a_count_of_their_own():
    # 1.34: three rejections (next back-off 4 s), then an error: 1 s, the first of its kind; another: 2 s; then a
    # rejection, the fourth: 8 s, and the count of errors starts again.
    queue = SchedulingQueue(NEW)
    queue.add(0, SPEC, 0.0)
    for at_s in (0.0, 100.0, 200.0):
        fail(queue, at_s)
        queue.activate([0], at_s + 50)
    for at_s, plugins, due_s in [(300.0, [], 302.0), (400.0, [], 403.0), (500.0, FIT, 509.0), (600.0, [], 602.0)]:
        fail(queue, at_s, plugins)
        queue.move_all_to_active_or_backoff(ROOMY, at_s)
        assert queue.next_wakeup_s() == due_s
        queue.flush(due_s)
    assert (queue.get(0).unschedulable_count, queue.get(0).consecutive_errors, queue.get(0).attempts) == (4, 1, 7)


def test_a_pod_whose_back_off_is_over_goes_straight_to_the_active_queue():
    # Fails at 0, backs off until 1 (in 1.34 through the whole second 1): at 1.9 it still does, at 2.0 no longer.
    for at_s, place in ((1.9, Place.BACKOFF), (2.0, Place.ACTIVE)):
        queue = SchedulingQueue(NEW)
        queue.add(0, SPEC, 0.0)
        fail(queue, 0.0)
        queue.move_all_to_active_or_backoff(ROOMY, at_s)
        assert queue.get(0).place is place


def test_back_off_can_be_configured_and_switched_off():
    queue = SchedulingQueue(QueueRules.for_version("1.34", initial_backoff_s=4.0, max_backoff_s=5.0))
    queue.add(0, SPEC, 0.0)
    for at_s, due_s in ((0.0, 5.0), (10.0, 16.0)):
        fail(queue, at_s)
        queue.move_all_to_active_or_backoff(ROOMY, at_s)
        assert queue.next_wakeup_s() == due_s
        queue.flush(due_s)
    queue = SchedulingQueue(QueueRules.for_version("1.34", max_backoff_s=0.0))
    queue.add(0, SPEC, 0.0)
    fail(queue, 0.0)
    queue.move_all_to_active_or_backoff(ROOMY, 0.0)
    assert queue.get(0).place is Place.ACTIVE


# --- 1.20 -------------------------------------------------------------------------------------------------------------


def test_worked_back_off_of_1_20():
    # Exact back-offs of 1, 2, 4, 8, 10 s by attempts, flushed once a second counted from the start at 0.25.
    # Failing at 0.5 (attempt 1): over at 1.5, so the next flush of 1.25, 2.25 … is 2.25.
    # Failing at 2.25 (attempt 2): over at 4.25, a flush itself, which counts. Then 4.25 + 4 = 8.25, + 8, + 10, + 10.
    queue = SchedulingQueue(OLD, start_s=0.25)
    queue.add(0, SPEC, 0.5)
    for fails_s, due_s in ((0.5, 2.25), (2.25, 4.25), (4.25, 8.25), (8.25, 16.25), (16.25, 26.25), (26.25, 36.25)):
        fail(queue, fails_s)
        queue.move_all_to_active_or_backoff(TINY, fails_s)  # 1.20 looks at no hint: any new node will do
        assert queue.get(0).place is Place.BACKOFF
        assert not queue.ready
        assert queue.next_wakeup_s() == due_s
        assert queue.flush(due_s - 0.01) == 0
        assert queue.flush(due_s) == 1


def test_an_event_during_the_cycle_is_not_lost_in_1_20():
    # Cycle 1: pod 0 is popped, a node comes (the move request has cycle 1), the attempt fails in cycle 1: 1 >= 1, so
    # the pod backs off instead of waiting for the next event. Cycle 2: nothing happens, so it waits.
    queue = SchedulingQueue(OLD)
    queue.add(0, SPEC, 0.0)
    queue.pop(0.0)
    queue.move_all_to_active_or_backoff(TINY, 0.0)
    assert queue.add_unschedulable_if_not_present(0, 0.0, FIT) is Place.BACKOFF
    queue.flush(1.0)
    assert fail(queue, 1.0) is Place.UNSCHEDULABLE


def test_what_moves_pods_in_1_20():
    gpu = asks(affinity=Affinity(pod_required=(PodAffinityTerm("zone", LabelSelector((("app", "db"),))),)))
    database, other = asks(labels=(("app", "db"),)), asks(labels=(("app", "x"),))
    cordoned = node(unschedulable=True)
    cases = [
        (hints.node_added(node()), 2),
        (hints.node_deleted(node()), 0),
        (hints.node_updated(cordoned, node())[0], 2),
        (hints.node_updated(node(), node(cpu=1))[0], 2),
        (hints.assigned_pod_deleted(9, other), 2),
        (hints.assigned_pod_added(9, database), 1),  # only the pod whose affinity selects it
        (hints.assigned_pod_added(9, other), 0),
    ]
    for event, moved in cases:
        queue = SchedulingQueue(OLD)
        for pod, spec in enumerate((SPEC, gpu)):
            queue.add(pod, spec, 0.0)
        for _ in range(2):
            fail(queue, 0.0)
        assert queue.move_all_to_active_or_backoff(event, 50.0) == moved, event
    assert hints.node_updated(node(), cordoned) == ()


def test_a_back_off_that_ends_at_a_flush_already_made_waits_for_the_next():
    queue = SchedulingQueue(QueueRules.for_version("1.20", max_backoff_s=0.0))
    queue.add(0, SPEC, 5.0)
    queue.flush(5.0)
    queue.pop(5.0)
    queue.move_all_to_active_or_backoff(ROOMY, 5.0)
    assert queue.add_unschedulable_if_not_present(0, 5.0, FIT) is Place.BACKOFF
    assert queue.next_wakeup_s() == 6.0
    assert queue.flush(5.5) == 0
    assert queue.flush(6.0) == 1
    # The same where a maximum of 0 switches the back-off off, and the queue still has to hold the pod until a flush.
    queue = SchedulingQueue(QueueRules(max_backoff_s=0.0, requeueing=Requeueing.EVENTS))
    queue.add(0, SPEC, 5.5)
    queue.pop(5.5)
    queue.move_all_to_active_or_backoff(ROOMY, 5.5)
    assert queue.add_unschedulable_if_not_present(0, 5.5, FIT) is Place.BACKOFF
    assert queue.next_wakeup_s() <= 6.0
    assert queue.flush(6.0) == 1


@pytest.mark.parametrize(("rules", "due_s"), [(OLD, 90.0), (NEW, 330.0)])
def test_unschedulable_pods_are_retried_after_a_time(rules, due_s):
    # Failing at 20: longer than 60 s from 80 on, looked at every 30 s: 90. 1.34: longer than 300 s after 320: 330.
    queue = SchedulingQueue(rules)
    queue.add(0, SPEC, 0.0)
    fail(queue, 20.0)
    assert queue.next_wakeup_s() == due_s
    assert queue.flush(due_s - 30.0) == 0
    assert queue.flush(due_s) == 1
    assert queue.get(0).place is Place.ACTIVE
    assert queue.incoming["active", "UnschedulableTimeout"] == 1
    assert queue.next_wakeup_s() == math.inf


def test_a_stay_of_exactly_the_limit_is_not_yet_too_long():
    # Failing at 30: at 330 it has waited 300 s, not longer, so the flush at 360 takes it.
    queue = SchedulingQueue(NEW)
    queue.add(0, SPEC, 0.0)
    fail(queue, 30.0)
    assert queue.next_wakeup_s() == 360.0
    assert queue.flush(330.0) == 0


# --- events and hints -------------------------------------------------------------------------------------------------


def test_only_events_that_a_rejecting_plugin_registered_for_move_a_pod():
    taint = hints.node_updated(node(taints=(Taint("a"),)), node())[0]
    for rules, plugins, event, moved in [
        (NEW, FIT, ROOMY, 1),
        (NEW, FIT, TINY, 0),  # the hint sees that the pod would not fit
        (MIDDLE, FIT, TINY, 1),  # without hints any new node moves it
        (NEW, FIT, taint, 0),
        (MIDDLE, FIT, taint, 1),  # without hints changes of taints stand in for new nodes looked at too early
        (NEW, ["NodeAffinity"], hints.assigned_pod_deleted(9, SPEC), 0),
        (NEW, ["NodeAffinity", *FIT], hints.assigned_pod_deleted(9, SPEC), 1),
        (NEW, ["MyOwnPlugin"], hints.assigned_pod_deleted(9, SPEC), 1),  # registers nothing: every event
    ]:
        queue = SchedulingQueue(rules)
        queue.add(0, SPEC, 0.0)
        fail(queue, 0.0, plugins)
        assert queue.move_all_to_active_or_backoff(event, 60.0) == moved, (plugins, event)


def test_an_event_during_the_cycle_is_not_lost_in_1_34():
    # Pod 0 and 1 are in flight. A useful event comes after 0 was popped and before 1 was: 0 backs off after its
    # failure, 1 (which saw the cluster after the event) waits. The useless event before them counts for nobody.
    queue = SchedulingQueue(NEW)
    queue.add(0, SPEC, 0.0)
    queue.add(1, SPEC, 0.0)
    queue.move_all_to_active_or_backoff(ROOMY, 0.0)
    assert queue.pop(0.0).pod == 0
    queue.move_all_to_active_or_backoff(TINY, 0.0)
    queue.move_all_to_active_or_backoff(ROOMY, 0.0)
    assert queue.pop(0.0).pod == 1
    assert queue.add_unschedulable_if_not_present(1, 0.0, FIT) is Place.UNSCHEDULABLE
    assert queue.add_unschedulable_if_not_present(0, 0.0, FIT) is Place.BACKOFF


def test_events_are_kept_only_while_someone_in_flight_may_need_them():
    queue = SchedulingQueue(NEW)
    for pod in range(3):
        queue.add(pod, SPEC, 0.0)
    queue.pop(0.0)
    for _ in range(200):
        queue.move_all_to_active_or_backoff(TINY, 0.0)
    queue.pop(0.0)
    for _ in range(100):
        queue.move_all_to_active_or_backoff(TINY, 0.0)
    assert len(queue._events) == 300
    queue.done(0)  # pod 1 was popped after the first 200
    assert len(queue._events) == 100
    queue.move_all_to_active_or_backoff(ROOMY, 0.0)
    assert queue.add_unschedulable_if_not_present(1, 0.0, FIT) is Place.BACKOFF
    assert queue._events == []
    assert len(queue) == 2


def test_a_pending_plugin_is_asked_again_without_back_off():
    registrations = {"Gang": (hints.Registration(Resource.NODE, Action.ADD),)}
    queue = SchedulingQueue(NEW, registrations)
    queue.add(0, SPEC, 0.0)
    queue.pop(0.0)
    assert queue.add_unschedulable_if_not_present(0, 0.0, pending=["Gang"]) is Place.UNSCHEDULABLE
    queue.move_all_to_active_or_backoff(TINY, 0.1)
    assert queue.get(0).place is Place.ACTIVE


def test_pods_of_lower_priority_can_be_picked_out():
    queue = SchedulingQueue(NEW)
    for pod, priority in enumerate((0, 10)):
        queue.add(pod, asks(priority=priority), 0.0)
    for _ in range(2):
        fail(queue, 0.0)
    event = hints.assigned_pod_deleted(9, SPEC, assigned=False, nominated=True)
    assert queue.move_all_to_active_or_backoff(event, 60.0, check=lambda spec: spec.priority <= 5) == 1
    assert queue.get(0).place is Place.ACTIVE
    assert queue.get(1).place is Place.UNSCHEDULABLE


ZONE = "topology.kubernetes.io/zone"
APP = LabelSelector((("app", "web"),))
WEB, DB = asks(labels=(("app", "web"),)), asks(labels=(("app", "db"),))
SPREAD = asks(topology_spread_constraints=(TopologySpreadConstraint(1, ZONE, "DoNotSchedule", APP),))
HONOR = asks(
    topology_spread_constraints=(TopologySpreadConstraint(1, ZONE, "DoNotSchedule", APP, node_taints_policy="Honor"),)
)
SEEKS = asks(affinity=Affinity(pod_required=(PodAffinityTerm(ZONE, APP),)))
AVOIDS = asks(affinity=Affinity(anti_required=(PodAffinityTerm(ZONE, APP),)))
SSD = asks(affinity=Affinity(node_required=(NodeSelectorTerm((Requirement("disk", "In", ("ssd",)),)),)))
TOLERANT = asks(tolerations=(Toleration("a", "Exists"),))
PORT = PodSpec(containers=(Container(ports=(ContainerPort(80, 80, "TCP", "10.0.0.1"),)),))
ANY_ADDRESS = PodSpec(containers=(Container(ports=(ContainerPort(80, 80),)),))
OTHER_ADDRESS = PodSpec(containers=(Container(ports=(ContainerPort(80, 80, "TCP", "10.0.0.2"),)),))
ZONED, FAST = node(labels=((ZONE, "a"),)), node(labels=(("disk", "ssd"),))


def changed(old, new):
    return hints.node_updated(old, new)[0]


def own(new, old=SPEC):
    return hints.pod_updated(0, old, new, assigned=False)[0]


@pytest.mark.parametrize(
    ("plugin", "waiting", "event", "helps"),
    [
        ("NodeResourcesFit", SPEC, hints.assigned_pod_deleted(9, DB), True),
        ("NodeResourcesFit", SPEC, hints.assigned_pod_deleted(9, DB, assigned=False), False),
        ("NodeResourcesFit", SPEC, hints.assigned_pod_added(9, DB), False),
        ("NodeResourcesFit", SPEC, changed(node(cpu=500), node(cpu=2000)), True),
        ("NodeResourcesFit", SPEC, changed(node(cpu=3000), node(cpu=2000)), False),
        ("NodeResourcesFit", SPEC, changed(node(cpu=500), node(cpu=800)), False),
        ("NodeResourcesFit", SPEC, hints.pod_updated(9, asks(800), asks(300), assigned=True)[0], True),
        ("NodeResourcesFit", SPEC, own(asks(500)), True),
        ("NodeUnschedulable", SPEC, changed(node(unschedulable=True), node()), True),
        ("NodeUnschedulable", SPEC, hints.node_added(node(unschedulable=True)), False),
        ("NodeName", SPEC, TINY, True),
        ("TaintToleration", SPEC, changed(node(taints=(Taint("a"),)), node()), True),
        ("TaintToleration", SPEC, changed(node(), node(taints=(Taint("a"),))), False),
        ("TaintToleration", TOLERANT, changed(node(taints=(Taint("b"),)), node(taints=(Taint("a"),))), True),
        ("TaintToleration", SPEC, changed(node(), node(taints=(Taint("a", "", "PreferNoSchedule"),))), False),
        ("TaintToleration", SPEC, own(TOLERANT), True),
        ("NodeAffinity", SSD, hints.node_added(FAST), True),
        ("NodeAffinity", SSD, hints.node_added(ZONED), False),
        ("NodeAffinity", SSD, changed(ZONED, FAST), True),
        ("NodeAffinity", SSD, changed(FAST, node(labels=(("disk", "ssd"), ("x", "y")))), False),
        ("NodePorts", PORT, hints.assigned_pod_deleted(9, ANY_ADDRESS), True),
        ("NodePorts", PORT, hints.assigned_pod_deleted(9, OTHER_ADDRESS), False),
        ("NodePorts", PORT, hints.assigned_pod_deleted(9, SPEC), False),
        ("NodePorts", PORT, TINY, True),
        ("PodTopologySpread", SPREAD, hints.assigned_pod_added(9, WEB), True),
        ("PodTopologySpread", SPREAD, hints.assigned_pod_added(9, DB), False),
        ("PodTopologySpread", SPREAD, hints.assigned_pod_deleted(9, WEB), True),
        ("PodTopologySpread", SPREAD, hints.assigned_pod_deleted(9, asks(labels=WEB.labels, namespace="b")), False),
        ("PodTopologySpread", SPREAD, hints.pod_updated(9, DB, WEB, assigned=True)[0], True),
        ("PodTopologySpread", SPREAD, hints.node_added(ZONED), True),
        ("PodTopologySpread", SPREAD, hints.node_added(FAST), False),
        ("PodTopologySpread", SPREAD, hints.node_deleted(ZONED), True),
        ("PodTopologySpread", SPREAD, changed(ZONED, node(labels=((ZONE, "b"),))), True),
        ("PodTopologySpread", SPREAD, changed(ZONED, node(labels=((ZONE, "a"), ("x", "y")))), False),
        ("PodTopologySpread", SPREAD, changed(ZONED, node(labels=((ZONE, "a"),), taints=(Taint("t"),))), True),
        ("PodTopologySpread", SPREAD, changed(node(), node(taints=(Taint("t"),))), False),
        ("InterPodAffinity", SEEKS, hints.assigned_pod_added(9, WEB), True),
        ("InterPodAffinity", SEEKS, hints.assigned_pod_added(9, DB), False),
        ("InterPodAffinity", SEEKS, hints.assigned_pod_deleted(9, WEB), False),
        ("InterPodAffinity", SEEKS, hints.pod_updated(9, DB, WEB, assigned=True)[0], True),
        ("InterPodAffinity", SEEKS, hints.node_added(ZONED), True),
        ("InterPodAffinity", SEEKS, hints.node_added(FAST), False),
        ("InterPodAffinity", AVOIDS, hints.assigned_pod_deleted(9, WEB), True),
        ("InterPodAffinity", AVOIDS, hints.assigned_pod_deleted(9, DB), False),
        ("InterPodAffinity", AVOIDS, hints.pod_updated(9, WEB, DB, assigned=True)[0], True),
    ],
)
def test_each_hint(plugin, waiting, event, helps):
    strategy = hints.HintMap().strategy(event, Waiting(waiting), 0, frozenset([plugin]), frozenset())
    assert (strategy is hints.Strategy.AFTER_BACKOFF) is helps


def test_a_pod_honouring_taints_is_helped_by_its_own_toleration():
    event = hints.pod_updated(0, HONOR, PodSpec(**{**_fields(HONOR), "tolerations": TOLERANT.tolerations}), False)[0]
    for spec, helps in ((HONOR, True), (SPREAD, False)):
        strategy = hints.HintMap().strategy(event, Waiting(spec), 0, frozenset(["PodTopologySpread"]), frozenset())
        assert (strategy is not hints.Strategy.SKIP) is helps


def _fields(spec):
    return {name: getattr(spec, name) for name in PodSpec.__dataclass_fields__}


def test_event_names_and_kinds_of_change():
    many = hints.node_updated(node(unschedulable=True), node(cpu=1, labels=(("a", "b"),), taints=(Taint("t"),)))
    assert [event.label for event in many] == [
        "NodeUpdateNodeTaint",
        "NodeUpdateNodeAllocatable",
        "NodeUpdateNodeLabel",
        "NodeUpdateNodeTaint",
    ]
    assert hints.node_updated(node(), node()) == ()
    assert hints.assigned_pod_deleted(1, SPEC).label == "AssignedPodDelete"
    assert [event.label for event in hints.pod_updated(0, SPEC, SPEC, assigned=False)] == ["UnscheduledPodUpdate"]
    general = ClusterEvent(Resource.NODE, Action.UPDATE, node(), node())
    specific = hints.Registration(Resource.NODE, Action.ADD | Action.UPDATE_NODE_LABEL)
    assert not specific.matches(general)
    assert hints.Registration(Resource.NODE, Action.UPDATE).matches(changed(node(), FAST))


# --- gates, updates, deletion, activation -----------------------------------------------------------------------------


def test_a_gated_pod_waits_for_its_last_gate():
    queue = SchedulingQueue(NEW)
    assert queue.add(0, asks(scheduling_gates=("a", "b")), 0.0) is Place.GATED
    assert queue.move_all_to_active_or_backoff(ROOMY, 1.0) == 0
    assert queue.flush(1000.0) == 0  # gated pods have no time limit
    assert queue.update(0, asks(scheduling_gates=("b",)), 2.0) is Place.GATED
    assert queue.update(0, SPEC, 3.0) is Place.ACTIVE
    assert queue.lengths == {"active": 1, "backoff": 0, "unschedulable": 0, "gated": 0, "in_flight": 0}
    assert queue.pop(3.0).initial_attempt_s == 3.0
    assert queue.incoming == {
        ("gated", "UnscheduledPodAdd"): 1,
        ("active", "UnscheduledPodUpdatePodSchedulingGatesEliminated"): 1,
    }


def test_there_were_no_gates_before_1_27():
    assert SchedulingQueue(OLD).add(0, asks(scheduling_gates=("a",)), 0.0) is Place.ACTIVE
    assert SchedulingQueue(MIDDLE).add(0, asks(scheduling_gates=("a",)), 0.0) is Place.GATED


def test_a_plugin_may_hold_pods_back_and_let_them_go():
    blocked = {0}
    queue = SchedulingQueue(NEW, pre_enqueue={"DefaultPreemption": lambda queued: queued.pod not in blocked})
    assert queue.add(0, SPEC, 0.0) is Place.GATED
    queue.activate([0], 1.0)
    assert queue.get(0).place is Place.GATED
    blocked.clear()
    queue.activate([0], 2.0)
    assert queue.get(0).place is Place.ACTIVE


@pytest.mark.parametrize(
    ("rules", "new", "place"),
    [
        (NEW, asks(500), Place.ACTIVE),  # asks for less: NodeResourcesFit's hint
        (NEW, asks(labels=(("a", "b"),)), Place.UNSCHEDULABLE),
        (MIDDLE, asks(labels=(("a", "b"),)), Place.ACTIVE),  # any change of the pod
        (MIDDLE, SPEC, Place.UNSCHEDULABLE),
        (OLD, asks(labels=(("a", "b"),)), Place.ACTIVE),
    ],
)
def test_an_unschedulable_pod_that_changes(rules, new, place):
    queue = SchedulingQueue(rules)
    queue.add(0, SPEC, 0.0)
    fail(queue, 0.0)
    assert queue.update(0, new, 50.0) is place
    assert queue.get(0).spec == new


def test_a_change_during_the_cycle_counts_when_the_attempt_fails():
    queue = SchedulingQueue(NEW)
    queue.add(0, SPEC, 0.0)
    queue.pop(0.0)
    assert queue.update(0, asks(500), 0.0) is Place.IN_FLIGHT
    assert queue.add_unschedulable_if_not_present(0, 0.0, FIT) is Place.BACKOFF
    assert queue.get(0).spec == asks(500)


def test_a_change_of_priority_reorders_the_active_queue():
    queue = SchedulingQueue(NEW)
    for pod in range(3):
        queue.add(pod, SPEC, 0.0)
    queue.update(2, asks(priority=1), 0.0)
    assert drain(queue) == [2, 0, 1]
    with pytest.raises(ValueError, match="not in the queue"):
        queue.update(7, SPEC, 0.0)


def test_a_pod_deleted_in_its_cycle_does_not_come_back():
    queue = SchedulingQueue(NEW)
    queue.add(0, SPEC, 0.0)
    queue.nominate(0, "n")
    queue.pop(0.0)
    queue.delete(0)
    assert queue.add_unschedulable_if_not_present(0, 0.0, FIT) is None
    assert 0 not in queue
    assert queue.nominated_pods("n") == ()


def test_activating_a_pod_in_its_cycle_retries_it():
    for rules, place in ((NEW, Place.BACKOFF), (MIDDLE, Place.BACKOFF)):
        queue = SchedulingQueue(rules)
        queue.add(0, SPEC, 0.0)
        queue.add(1, SPEC, 0.0)
        queue.pop(0.0)
        queue.activate([0, 99], 0.0)
        assert queue.add_unschedulable_if_not_present(0, 0.0, FIT) is place
    # The activation was for pod 0 alone: in 1.34 pod 1, in flight at the same time, is not retried for it.
    queue = SchedulingQueue(NEW)
    for pod in range(2):
        queue.add(pod, SPEC, 0.0)
        queue.pop(0.0)
    queue.activate([0], 0.0)
    assert queue.add_unschedulable_if_not_present(1, 0.0, FIT) is Place.UNSCHEDULABLE


def test_activation_skips_the_back_off():
    queue = SchedulingQueue(OLD)
    queue.add(0, SPEC, 0.0)
    queue.pop(0.0)
    queue.move_all_to_active_or_backoff(ROOMY, 0.0)
    assert queue.add_unschedulable_if_not_present(0, 0.0, FIT) is Place.BACKOFF
    queue.activate([0], 0.1)
    assert queue.get(0).place is Place.ACTIVE
    assert queue.incoming["active", "ForceActivate"] == 1
    assert queue.next_wakeup_s() == math.inf


def test_nominations():
    queue = SchedulingQueue()
    for pod in range(3):
        queue.add(pod, SPEC, 0.0)
        queue.nominate(pod, "a")
    queue.nominate(1, "b")
    assert queue.nominated_pods("a") == (0, 2)
    assert queue.nominated_node(1) == "b"
    queue.delete(0)
    queue.clear_nomination(1)
    assert queue.nominated_pods("a") == (2,)
    assert queue.nominated_pods("b") == ()
    assert queue.nominated_node(0) is None


def test_counts_of_what_rejects():
    queue = SchedulingQueue()
    for pod, plugins in enumerate((FIT, [*FIT, "NodeAffinity"])):
        queue.add(pod, SPEC, 0.0)
        fail(queue, 0.0, plugins)
    assert queue.unschedulable_by_plugin() == {"NodeResourcesFit": 2, "NodeAffinity": 1}


def test_versions():
    assert (OLD.requeueing, MIDDLE.requeueing, NEW.requeueing) == (Requeueing.ALL, Requeueing.EVENTS, Requeueing.HINTS)
    assert not OLD.pop_from_backoff
    with pytest.raises(InputError, match="not a Kubernetes version"):
        QueueRules.for_version("v2")
    with pytest.raises(InputError, match="did you mean 'max_backoff_s'"):
        QueueRules.for_version("1.34", max_backof_s=3)


# --- size -------------------------------------------------------------------------------------------------------------


def test_an_event_that_helps_nobody_looks_at_rejections_not_at_pods(monkeypatch):
    queue = SchedulingQueue(NEW)
    rejections = [["NodeResourcesFit"], ["NodeAffinity"], ["NodeAffinity", "NodePorts"]]
    for pod in range(3000):
        queue.add(pod, SPEC, 0.0)
        fail(queue, 0.0, rejections[pod % 3])
    looks = []
    real = hints.HintMap.hints
    monkeypatch.setattr(
        hints.HintMap, "hints", lambda self, event, plugins: looks.append(plugins) or real(self, event, plugins)
    )
    for event in (hints.node_deleted(ZONED), hints.pod_updated(5000, WEB, DB, assigned=True)[0]):
        looks.clear()
        assert queue.move_all_to_active_or_backoff(event, 9.0) == 0
        assert len(looks) == len(rejections)


def test_dead_entries_are_swept_out():
    queue = SchedulingQueue(NEW)
    for pod in range(1000):
        queue.add(pod, SPEC, 0.0)
    for pod in range(990):
        queue.delete(pod)
    assert len(queue._active._entries) < 100
    assert drain(queue) == list(range(990, 1000))


# --- a state machine --------------------------------------------------------------------------------------------------

SPECS = [SPEC, asks(priority=5), SSD, asks(scheduling_gates=("g",)), SEEKS, SPREAD]
PLUGIN_SETS = [FIT, ["NodeAffinity"], ["InterPodAffinity", *FIT], ["PodTopologySpread"], ["Mine"], []]
EVENTS = [
    ROOMY,
    TINY,
    hints.node_added(FAST),
    hints.node_deleted(ZONED),
    changed(ZONED, FAST),
    hints.assigned_pod_deleted(-9, WEB),
    hints.assigned_pod_added(-9, WEB),
    hints.pod_updated(-9, DB, WEB, assigned=True)[0],
]


def slow_twin_moves(rules, event, queued):
    """Whether an event moves one unschedulable pod, asked alone as kube-scheduler does, with nothing remembered."""
    waiting, moves_all = Waiting(queued.spec), rules.requeueing is Requeueing.ALL
    if event.resource is Resource.ASSIGNED_POD and event.action is not Action.DELETE:
        same_namespace = event.new.spec.namespace == queued.spec.namespace
        spreads = not moves_all and same_namespace and "PodTopologySpread" in queued.rejecting
        if not spreads and not waiting.wants(event.new.spec):
            return False
    if moves_all:
        return event.resource is not Resource.NODE or event.action is not Action.DELETE
    for plugin in queued.rejecting:
        registered = rules.registrations().get(plugin)
        if registered is None:
            return hints.HintMap(rules.registrations()).is_of_interest(event)
        for each in registered:
            if each.matches(event) and (each.hint is None or each.hint(waiting, queued.pod, event)):
                return True
    return False


class QueueMachine(RuleBasedStateMachine):
    """No pod is lost or doubled, whatever happens; equals leave in the order in which they came."""

    @initialize(version=st.sampled_from(["1.20", "1.28", "1.34"]))
    def start(self, version):
        self.rules = QueueRules.for_version(version)
        self.queue = SchedulingQueue(self.rules)
        self.now_s = 0.0
        self.waiting: set[int] = set()
        self.in_flight: set[int] = set()
        self.next_pod = 0
        for spec in SPECS:
            self.add(spec, 1)

    @rule(spec=st.sampled_from(SPECS), count=st.integers(1, 4))
    def add(self, spec, count):
        for _ in range(count):
            self.queue.add(self.next_pod, spec, self.now_s)
            self.waiting.add(self.next_pod)
            self.next_pod += 1

    @rule()
    def pop(self):
        before = [self.queue.get(pod) for pod in self.waiting]
        active = [queued for queued in before if queued.place is Place.ACTIVE]
        first = min(active, key=lambda queued: (-queued.priority, queued.timestamp_s, queued.sequence), default=None)
        ready = self.queue.ready
        queued = self.queue.pop(self.now_s)
        assert (queued is not None) == ready
        if queued is not None:
            assert first is None or queued is first
            self.waiting.remove(queued.pod)
            self.in_flight.add(queued.pod)

    @rule(plugins=st.sampled_from(PLUGIN_SETS), count=st.integers(1, 4))
    def fail_at_once(self, plugins, count):
        for _ in range(count):
            if (queued := self.queue.pop(self.now_s)) is not None:
                self.queue.add_unschedulable_if_not_present(queued.pod, self.now_s, plugins)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), plugins=st.sampled_from(PLUGIN_SETS))
    def fail(self, data, plugins):
        pod = data.draw(st.sampled_from(sorted(self.in_flight)))
        deleted = self.queue.get(pod).deleted
        place = self.queue.add_unschedulable_if_not_present(pod, self.now_s, plugins)
        self.in_flight.remove(pod)
        assert (place is None) == deleted
        if not deleted:
            self.waiting.add(pod)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def bind(self, data):
        pod = data.draw(st.sampled_from(sorted(self.in_flight)))
        self.queue.done(pod)
        self.in_flight.remove(pod)

    @precondition(lambda self: self.waiting or self.in_flight)
    @rule(data=st.data(), spec=st.sampled_from(SPECS))
    def update(self, data, spec):
        self.queue.update(data.draw(st.sampled_from(sorted(self.waiting | self.in_flight))), spec, self.now_s)

    @precondition(lambda self: self.waiting or self.in_flight)
    @rule(data=st.data())
    def delete(self, data):
        pod = data.draw(st.sampled_from(sorted(self.waiting | self.in_flight)))
        self.queue.delete(pod)
        self.waiting.discard(pod)

    @precondition(lambda self: self.waiting or self.in_flight)
    @rule(data=st.data())
    def activate(self, data):
        pod = data.draw(st.sampled_from(sorted(self.waiting | self.in_flight)))
        self.queue.activate([pod], self.now_s)
        if pod in self.waiting:
            assert self.queue.get(pod).place in (Place.ACTIVE, Place.GATED)

    @rule(event=st.sampled_from(EVENTS))
    def happen(self, event):
        before = {pod: self.queue.get(pod).place for pod in self.waiting}
        waiting = [self.queue.get(pod) for pod, place in before.items() if place is Place.UNSCHEDULABLE]
        expected = {queued.pod for queued in waiting if slow_twin_moves(self.rules, event, queued)}
        assert self.queue.move_all_to_active_or_backoff(event, self.now_s) == len(expected)
        for pod, place in before.items():
            assert (self.queue.get(pod).place is not place) == (pod in expected)

    @rule(step_s=st.sampled_from([0.1, 0.9, 1.0, 3.7, 31.0, 400.0]))
    def wait(self, step_s):
        self.now_s += step_s
        due_s = self.queue.next_wakeup_s()
        moved = self.queue.flush(self.now_s)
        assert (moved > 0) == (due_s <= self.now_s + 1e-9)
        assert self.queue.next_wakeup_s() > self.now_s - 1e-9

    @invariant()
    def every_pod_is_in_one_place(self):
        lengths = self.queue.lengths
        assert lengths["in_flight"] == len(self.in_flight)
        assert len(self.queue) == len(self.waiting)
        places = [self.queue.get(pod).place for pod in self.waiting]
        assert lengths["active"] == places.count(Place.ACTIVE)
        assert lengths["backoff"] == places.count(Place.BACKOFF) + places.count(Place.ERROR_BACKOFF)
        assert lengths["unschedulable"] == places.count(Place.UNSCHEDULABLE)
        assert lengths["gated"] == places.count(Place.GATED)
        assert sum(lengths.values()) == len(self.waiting) + len(self.in_flight)
        groups = self.queue._unschedulable.groups.values()
        grouped = [pod for by_spec in groups for group in by_spec.values() for pod in group.pods]
        assert sorted(grouped) == sorted(p for p in self.waiting if self.queue.get(p).place is Place.UNSCHEDULABLE)


QueueMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestQueueMachine = QueueMachine.TestCase
