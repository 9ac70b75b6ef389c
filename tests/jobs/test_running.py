"""Jobs with a real pool manager and real processes: leases, runners, and the kill of each process."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from fastgpu_jupyter.errors import NoSuchDevice, PoolUnreachable
from fastgpu_jupyter.jobs import places
from fastgpu_jupyter.jobs.client import JobsClient
from fastgpu_jupyter.messages import text_of
from tests.helpers import PoolProcess
from tests.jobs.bodies import command, function
from tests.jobs.conftest import kill, kill_dispatcher, runner_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def wait_for(jobs: JobsClient, job_id: int, state: str) -> None:
    wait_until(lambda: jobs.job(job_id)["state"] == state, lambda: f"{state}, but {jobs.job(job_id)}")


def leases_of(pool: PoolProcess, *states: str) -> dict[str, str]:
    """Return the names of the jobs with leases in some states, with the state."""
    found = ((view["holder"]["job"], view["state"]) for view in pool.client.leases())
    return {str(job): state for job, state in found if state in states}


def test_jobs_run_one_after_the_other_and_the_pool_names_them(running: JobsClient, shared_pool: PoolProcess) -> None:
    first = running.submit(command(name="hold"))["id"]
    wait_for(running, first, "running")
    second = running.submit(command(name="done"))["id"]
    wait_until(lambda: running.job(second)["position"] == 1, "The second job waits in the pool's queue.")
    assert leases_of(shared_pool, "active", "waiting") == {
        f"job {first} · hold": "active",
        f"job {second} · done": "waiting",
    }
    view = wait_until(lambda: (view := running.job(first))["progress"] and view, "The runner reports.")
    assert view["progress"] == {"done": 1, "total": 2, "unit": "epochs", "text": None}
    assert view["log_tail"] == ["begun"]
    assert view["gpu"] is not None
    assert view["gpu"]["simulated"]
    assert view["currency"] == "USD"
    assert running.cancel(first)["cancelling"]
    assert running.wait(first, 30)["state"] == "cancelled"
    done = running.wait(second, 30)
    assert (done["state"], done["attempt"], done["exit_status"]) == ("done", 1, 0)
    assert (done["cost_micro"] or 0) > 0
    assert json.loads(places.outcome_file(second).read_bytes())["attempt"] == 1
    assert running.log(second)["text"].startswith("attempt 1")
    wait_until(lambda: not leases_of(shared_pool, "active", "waiting"), "All leases have ended.")


def test_size_that_no_device_has_is_refused_before_anything_is_kept(
    running: JobsClient, shared_pool: PoolProcess
) -> None:
    with pytest.raises(NoSuchDevice) as refused:
        running.submit(command(size="2xh100"))
    assert "h100" in text_of(refused.value).lower()
    assert running.jobs() == []
    assert running.wait(running.submit(command(name="done"))["id"], 30)["state"] == "done"


def test_killed_dispatcher_leaves_running_jobs_and_its_successor_takes_them_over(
    running: JobsClient, shared_pool: PoolProcess
) -> None:
    held = running.submit(command(name="hold"))["id"]
    wait_until(lambda: running.job(held)["log_tail"], "It works.")
    queued = [running.submit(command(name="done"))["id"] for _ in range(3)]
    runner = runner_of(held)
    kill_dispatcher(running)
    wait_until(lambda: list(leases_of(shared_pool, "waiting")) == [], "Leases that wait end with the dispatcher.")
    assert running.job(held)["state"] == "running"
    wait_until(lambda: len(leases_of(shared_pool, "waiting")) == 3, "They are requested again.")
    assert runner_of(held) == runner
    assert (running.job(held)["cost_micro"] or 0) > 0
    running.cancel(held)
    assert running.wait(held, 30)["state"] == "cancelled"
    ends = [running.wait(job_id, 30) for job_id in queued]
    assert [view["state"] for view in ends] == ["done"] * 3
    starts = [view["started_at"] or 0 for view in ends]
    assert starts == sorted(starts)


def test_outcome_of_a_job_that_ended_without_a_dispatcher_is_recorded(running: JobsClient) -> None:
    held = running.submit(command(name="hold"))["id"]
    wait_for(running, held, "running")
    wait_until(lambda: places.work_file(held).exists(), "The work begins.")
    kill_dispatcher(running)
    kill(runner_of(held))
    outcome = {"state": "failed", "attempt": 1, "error": {"name": "ValueError", "text": "no", "traceback": []}}
    places.outcome_file(held).write_text(json.dumps(outcome))
    view = running.wait(held, 30)
    assert (view["state"], view["error"]) == ("failed", {"name": "ValueError", "text": "no"})


def test_killed_runner_loses_its_job_or_uses_a_retry(running: JobsClient) -> None:
    lost = running.submit(command(name="hold"))["id"]
    wait_until(lambda: running.job(lost)["log_tail"], "It works.")
    kill(runner_of(lost))
    view = running.wait(lost, 30)
    assert (view["state"], view["notes"][-1]["code"]) == ("lost", "jobs.lost")
    again = running.submit(command(name="hold", retries=1))["id"]
    wait_until(lambda: running.job(again)["log_tail"], "It works.")
    kill(runner_of(again))
    wait_until(lambda: (view := running.job(again))["attempt"] == 2 and view["log_tail"], "It works again.")
    assert running.job(again)["notes"][-1]["code"] == "jobs.lost_retry"
    kill(runner_of(again))
    assert running.wait(again, 30)["state"] == "lost"


def test_runner_that_ends_before_the_work_costs_no_retry_and_fails_in_the_end(running: JobsClient) -> None:
    job_id = running.submit(command(name="false"))["id"]
    view = running.wait(job_id, 30)
    assert (view["state"], view["attempt"]) == ("failed", 3)
    assert view["error"] is not None
    assert "3 times" in view["error"]["text"]


def test_killed_and_restarted_pool_keeps_twenty_queued_jobs(running: JobsClient, shared_pool: PoolProcess) -> None:
    held = running.submit(command(name="hold"))["id"]
    wait_for(running, held, "running")
    queued = [running.submit(command(name="done"))["id"] for _ in range(20)]
    wait_until(lambda: len(leases_of(shared_pool, "waiting")) == 16, "The first ones are requested.")
    shared_pool.kill()  # the dispatcher, or the runner, starts another one

    def requests() -> int:
        with suppress(PoolUnreachable):
            return len(leases_of(shared_pool, "waiting"))
        return 0

    wait_until(lambda: requests() == 16, "The next pool manager knows the requests.")
    assert [running.job(job_id)["state"] for job_id in queued] == ["queued"] * 20
    running.cancel(held)
    assert [running.wait(job_id, 60)["state"] for job_id in queued[:3]] == ["done"] * 3


def test_after_a_reboot_running_jobs_are_lost_or_run_again(
    running: JobsClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = tmp_path / "boot_id"
    boot.write_text("first")
    monkeypatch.setenv("FASTGPU_TEST_BOOT_ID", str(boot))
    running.stop()
    lost = running.submit(command(name="hold"))["id"]
    queued = running.submit(command(name="done"))["id"]
    wait_until(lambda: running.job(lost)["log_tail"], "It works.")
    runner = runner_of(lost)
    kill_dispatcher(running)
    kill(runner)
    boot.write_text("second")
    view = running.wait(lost, 30)
    assert (view["state"], view["notes"][-1]["code"]) == ("lost", "jobs.lost_reboot")
    assert running.wait(queued, 30)["state"] == "done"
    running.stop()  # the next one has the machine's own boot id


def test_kept_worker_runs_the_next_calls_on_its_lease(running: JobsClient) -> None:
    views = []
    for _ in range(3):
        draft = running.new_draft()
        (draft / "call.pickle").write_bytes(b"call")
        views.append(running.wait(running.submit(function(draft.name, name="worker"))["id"], 30))
    assert [view["state"] for view in views] == ["done"] * 3
    assert len({view["lease_id"] for view in views}) == 1
    logs = {running.log(view["id"])["text"].split()[-1] for view in views}
    assert len(logs) == 1  # one process
    kill(runner_of(views[0]["id"]))  # which would be kept for ten seconds


def test_cancel_of_a_waiting_lease_in_the_pool_cancels_its_job(running: JobsClient, shared_pool: PoolProcess) -> None:
    held = running.submit(command(name="hold"))["id"]
    wait_for(running, held, "running")
    queued = running.submit(command(name="done"))["id"]
    lease = wait_until(lambda: running.job(queued)["lease_id"], "It has a request.")
    shared_pool.client.release(lease)
    view = running.wait(queued, 30)
    assert (view["state"], view["notes"][-1]["code"]) == ("cancelled", "jobs.request_released")
    running.cancel(held)
    running.wait(held, 30)
