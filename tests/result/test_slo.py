"""Service levels on records whose quantiles are known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from sim.result import slo
from sim.result.record import RequestKind
from sim.state.pods import Phase
from tests.result.synthetic import bare_record, empty_pods, log_of, started_pods

POST = RequestKind("POST", "pods", "resource", "user", 201)


def pod_verdict(
    startup_s: np.ndarray, created_s: np.ndarray | None = None, end_s: float = 600.0, pull_s: float = 0.0
) -> dict[str, object]:
    created = np.linspace(0, end_s / 2, len(startup_s)) if created_s is None else created_s
    record = bare_record(started_pods(created, startup_s, pull_s), end_s=end_s)
    return slo.verdicts(record).iloc[0].to_dict()


def call_verdict(kind: RequestKind, latencies: list[float], counts: list[int] | None = None) -> dict[str, object]:
    rows = [
        (float(i) / len(latencies) * 59, latency, 0, (counts or [1] * len(latencies))[i])
        for i, latency in enumerate(latencies)
    ]
    record = bare_record(requests=log_of(rows), request_kinds=[kind], end_s=60.0)
    table = slo.verdicts(record)
    return table.iloc[1].to_dict() if len(table) > 1 else {}


def test_pod_start_up_flips_exactly_at_the_limit() -> None:
    zero = np.zeros(50)
    at, above = np.full(50, 5.0), np.full(50, np.nextafter(5.0, 6.0))
    assert pod_verdict(at, created_s=zero)["verdict"] == "met"
    assert pod_verdict(above, created_s=zero)["verdict"] == "missed"


def test_one_slow_pod_in_101_is_within_the_p99_two_are_not() -> None:
    """p99 of 101 values is the 100th of them in order: one slow pod is beyond it, two are not."""
    created = np.full(101, 1.0)
    startup = np.full(101, 2.0)
    startup[0] = 50.0
    assert pod_verdict(startup, created)["verdict"] == "met"
    startup[1] = 50.0
    verdict = pod_verdict(startup, created)
    assert verdict["verdict"] == "missed"
    assert verdict["p99_s"] == 50.0


def test_the_image_pull_is_left_out() -> None:
    assert pod_verdict(np.full(20, 30.0), pull_s=26.0)["p99_s"] == pytest.approx(4.0)


def test_api_calls_flip_exactly_at_the_limit() -> None:
    assert call_verdict(POST, [1.0] * 10)["verdict"] == "met"
    assert call_verdict(POST, [float(np.nextafter(np.float32(1), np.float32(2)))] * 10)["verdict"] == "missed"


@pytest.mark.parametrize(
    ("verb", "scope", "objective", "limit_s"),
    [
        ("POST", "namespace", "mutating API call", 1.0),
        ("PATCH", "resource", "mutating API call", 1.0),
        ("PUT", "resource", "mutating API call", 1.0),
        ("DELETE", "resource", "mutating API call", 1.0),
        ("GET", "resource", "read of one object", 1.0),
        ("LIST", "namespace", "read of many objects", 30.0),
        ("LIST", "cluster", "read of many objects", 30.0),
    ],
)
def test_verbs_and_scopes_have_their_limits(verb: str, scope: str, objective: str, limit_s: float) -> None:
    verdict = call_verdict(RequestKind(verb, "pods", scope, "user", 200), [limit_s])
    assert (verdict["objective"], verdict["limit_s"], verdict["verdict"]) == (objective, limit_s, "met")
    assert call_verdict(RequestKind(verb, "pods", scope, "user", 200), [limit_s * 1.01])["verdict"] == "missed"


def test_watches_are_not_judged() -> None:
    assert call_verdict(RequestKind("WATCH", "pods", "cluster", "user", 200), [500.0]) == {}


def test_a_tick_weighs_as_its_requests() -> None:
    """One slow request beside 1,000 aggregated fast ones is no p99; beside 50 it is."""
    assert call_verdict(POST, [9.0, 0.1], [1, 1000])["verdict"] == "met"
    assert call_verdict(POST, [9.0, 0.1], [1, 50])["verdict"] == "missed"


def test_windows_look_back_five_minutes_and_minutes_are_counted() -> None:
    """One pod a second, all fast but those seen in (600, 660]: minutes 11 to 15 see them, minute 16 does not."""
    seen = np.arange(1.0, 1201.0)
    startup = np.where((seen > 600) & (seen <= 660), 20.0, 1.0)
    record = bare_record(started_pods(seen - startup, startup), end_s=1200.0)
    moments, p99 = slo.window_p99(slo.pod_startup_samples(record), 0.0, 1200.0)
    assert moments.tolist() == [60.0 * i for i in range(1, 21)]
    assert [int(m / 60) for m in moments[p99 > 5]] == [11, 12, 13, 14, 15]
    verdict = slo.verdicts(record).iloc[0]
    assert (verdict.minutes, verdict.good_minutes, verdict.verdict) == (20, 15, "missed")


@pytest.mark.parametrize(("bad_minutes", "expected"), [(1, "met"), (2, "missed")])
def test_99_good_minutes_of_100_are_enough(bad_minutes: int, expected: str) -> None:
    """A tick of calls a minute for 500 minutes; a slow one spoils the five minutes that look back on it, 1 %."""
    total = 500 * 60.0
    rows = [(30.0 + 60 * i, 0.1, 0, 1000) for i in range(500)]
    rows += [(30.0 + 3000 * i, 9.0, 0, 1000) for i in range(bad_minutes)]
    record = bare_record(requests=log_of(sorted(rows)), request_kinds=[POST], end_s=total)
    verdict = slo.verdicts(record).iloc[1]
    assert verdict.minutes - verdict.good_minutes == 5 * bad_minutes
    assert verdict.verdict == expected


def test_a_last_minute_that_the_run_cut_is_judged() -> None:
    record = bare_record(requests=log_of([(10.0, 0.1, 0, 1), (85.0, 9.0, 0, 1)]), request_kinds=[POST], end_s=90.0)
    verdict = slo.verdicts(record).iloc[1]
    assert (verdict.minutes, verdict.good_minutes) == (2, 1)


def test_only_schedulable_pods_count() -> None:
    """One pod waited for room (two attempts), one never found any, one was still queued and has not been tried."""
    pods = started_pods(np.array([0.0, 0.0]), np.array([2.0, 300.0]))
    pods["attempts"][1] = 2
    pods = {name: np.concatenate([column, empty_pods(2)[name]]) for name, column in pods.items()}
    for name in ("requested_s", "created_s"):
        pods[name][2:] = (10.0, 598.0)
    pods["phase"][2:] = Phase.PENDING
    pods["attempts"][2] = 1
    verdict = slo.verdicts(bare_record(pods)).iloc[0]
    assert (verdict["count"], verdict.left_out, verdict.verdict) == (1, 2, "met")


def test_a_pod_that_is_late_already_counts_before_it_is_seen() -> None:
    pods = started_pods(np.array([0.0, 100.0]), np.array([2.0, 2.0]))
    pods["watched_s"][1] = np.nan
    pods["phase"][1] = Phase.SCHEDULED
    verdict = slo.verdicts(bare_record(pods)).iloc[0]
    assert (verdict["count"], verdict.worst_window_p99_s, verdict.verdict) == (2, 500.0, "missed")


def test_the_warm_up_is_left_out() -> None:
    created = np.array([10.0, 200.0])
    record = bare_record(started_pods(created, np.array([90.0, 1.0])), warm_up_s=100.0)
    verdict = slo.verdicts(record).iloc[0]
    assert (verdict["count"], verdict.p99_s) == (1, 1.0)


def test_nothing_is_no_verdict() -> None:
    assert slo.verdicts(bare_record()).iloc[0].verdict == "no data"


def test_churn_counts_changes_and_users_requests_by_the_second() -> None:
    """20 pods created in second 0, 21 in second 2; a user's GET in second 4; the scheduler's do not count."""
    pods = empty_pods(41)
    pods["requested_s"][:] = pods["created_s"][:] = np.concatenate([np.full(20, 0.5), np.full(21, 2.5)])
    kinds = [
        RequestKind("GET", "services", "resource", "tenant-1", 200),
        RequestKind("GET", "nodes", "resource", "system:kube-scheduler", 200),
    ]
    record = bare_record(pods, end_s=10.0, requests=log_of([(4.5, 0.1, 0, 3), (5.5, 0.1, 1, 100)]), request_kinds=kinds)
    churn = slo.churn(record)
    assert (churn.mean_per_s, churn.max_per_s, churn.good_share) == (4.4, 21.0, 0.9)
    assert not churn.steady
    assert "yardstick" in str(churn)
