"""Jobs and CronJobs in a tiny cluster."""

from __future__ import annotations

import numpy as np
import pytest

from sim.simulate import simulate
from sim.state.applications import CronJobOptions
from sim.workload import AppKind
from tests.controllers.loads import one_app, run
from tests.worked.scenarios import MS, exact

FAST = {"controllers__qps": 1000, "controllers__burst": 1000}
EACH = {**FAST, "controllers__aggregate_status_writes": False}


def cron(schedule: str, pods: int, duration_s: float, **options: object):
    """A CronJob asked for at 1 s, with rows for `pods` pods."""
    return one_app(
        AppKind.CRON_JOB,
        pods,
        CronJobOptions(schedule, **options),
        parallelism=1,
        duration_s=duration_s,  # type: ignore[arg-type]
    )


def test_a_polled_cron_job_starts_up_to_ten_seconds_late():
    """Every minute; the controller of 1.20 looks every 10 s and the time its own work takes, from 0 s on. The first look after
    60 s comes at 70 s and a little: two LISTs (2 ms, etcd's 3 ms) a look make it later by 10 ms each from the first on."""
    scenario = exact(horizon_s=200, controllers__cron_job_poll_s=10, **FAST)
    pods = simulate(scenario, cron("* * * * *", 3, 5.0), seed=1).pods
    requested = pods["requested_s"].to_numpy()
    assert len(pods) == 3
    assert (pods["phase"] == "Succeeded").all()
    late = requested - np.array([60.0, 120.0, 180.0])
    assert (late > 0).all()
    assert (late < 10.5).all()


def test_a_queued_cron_job_is_on_time():
    """0.1 s after its time, then one sync (0.2 ms), the POST of the Job, its watch event, a sync."""
    scenario = exact(horizon_s=200, controllers__cron_job_poll_s=0, **FAST)
    pods = simulate(scenario, cron("* * * * *", 3, 5.0), seed=1).pods
    heard = 1.5 * MS
    expected = 60 + 0.1 + 0.2 * MS + 13.5 * MS + heard + 0.2 * MS
    assert pods["requested_s"].min() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("concurrency", "started", "alive"), [("Allow", 3, 3), ("Forbid", 1, 1), ("Replace", 3, 1)])
def test_jobs_that_outlive_their_period(concurrency, started, alive):
    """Pods run for 1,000 s, a start is due every minute, the run ends at 215 s: three starts, or what the policy leaves."""
    scenario = exact(horizon_s=215, controllers__cron_job_poll_s=0, **FAST)
    cluster = run(scenario, cron("* * * * *", 3, 1000.0, concurrency=concurrency), 215.0)
    (cron_job,) = cluster.controllers.by_kind[AppKind.CRON_JOB].cron_jobs.values()
    assert cron_job.started == started
    assert len(cron_job.active) == alive
    columns = cluster.pods.columns()
    created = ~np.isnan(columns["created_s"])
    assert int(created.sum()) == started
    assert int((created & np.isnan(columns["delete_requested_s"])).sum()) == alive
    assert cron_job.missed == {"Allow": 0, "Forbid": 2, "Replace": 0}[concurrency]


def test_a_start_that_is_too_late_is_left_out():
    """Looked at every 45 s (45, 90, 135, 180, …): the starts at 60 and 120 are 30 and 15 s late, 180 is on time or just missed."""
    scenario = exact(horizon_s=170, controllers__cron_job_poll_s=45, **FAST)
    cluster = run(scenario, cron("* * * * *", 4, 5.0, starting_deadline_s=20), 170.0)
    (cron_job,) = cluster.controllers.by_kind[AppKind.CRON_JOB].cron_jobs.values()
    assert cron_job.started == 1
    assert cron_job.last_s == 120.0


def test_a_job_starts_slowly_too():
    """7 pods at once: 1, 2, then 4, each batch after the whole one before it."""
    pods = simulate(exact(**FAST), one_app(AppKind.JOB, 7, duration_s=5.0), seed=1).pods
    sent = np.sort(pods["post_sent_s"].to_numpy())
    batches = np.diff(np.flatnonzero(np.concatenate([[True], np.diff(sent) > 1e-9, [True]])))
    assert batches.tolist() == [1, 2, 4]


def test_finalizers_and_batches_of_1_34():
    """Each ended pod is patched once; a second of changes makes one sync."""
    before = {"controllers__job_finalizers": False, "controllers__job_batch_s": 0.0}
    old = simulate(exact(**before, **EACH), one_app(AppKind.JOB, 6, duration_s=5.0), seed=1)
    new = simulate(
        exact(controllers__job_finalizers=True, controllers__job_batch_s=1.0, **FAST),
        one_app(AppKind.JOB, 6, duration_s=5.0),
        seed=1,
    )

    def sent(result, verb: str, resource: str) -> int:
        client = "system:serviceaccount:kube-system:job-controller"
        requests = result.requests
        found = (requests["verb"] == verb) & (requests["resource"] == resource) & (requests["client"] == client)
        return int(requests[found]["count"].sum())

    assert (sent(old, "PATCH", "pods"), sent(new, "PATCH", "pods")) == (0, 6)
    assert (new.pods["phase"] == "Succeeded").all()
    assert sent(new, "PUT", "jobs/status") >= 2
