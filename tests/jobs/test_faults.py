"""A full disk, a spent budget, cancels in every state: each is a sentence, and nothing is lost."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fastgpu_jupyter.errors import StoreFault
from fastgpu_jupyter.jobs import places
from fastgpu_jupyter.jobs.client import JobsClient
from fastgpu_jupyter.messages import text_of
from tests.helpers import PoolProcess, stopped
from tests.jobs.bodies import command, function
from tests.jobs.conftest import kill_dispatcher
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """Let every write of a process beyond the beginning of a file fail, as on a full disk."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def test_job_is_kept_or_refused_where_the_disk_is_full(jobs: JobsClient) -> None:
    kept = jobs.submit(command())["id"]
    draft = jobs.new_draft()
    (draft / "call.pickle").write_bytes(b"call")
    with full_disk(jobs.ping()["pid"]):
        for body in (command(), function(draft.name)):
            with pytest.raises(StoreFault) as refused:
                jobs.submit(body)
            assert "disk" in text_of(refused.value)
        with pytest.raises(StoreFault):
            jobs.cancel(kept)
        assert (draft / "call.pickle").exists()
        assert [view["id"] for view in jobs.jobs()] == [kept]
        assert jobs.job(kept)["state"] == "queued"
    accepted = jobs.submit(function(draft.name))["id"]
    assert accepted == kept + 1
    kill_dispatcher(jobs)
    assert [view["id"] for view in jobs.jobs()] == [accepted, kept]
    assert jobs.cancel(kept)["state"] == "cancelled"


def test_full_disk_delays_the_start_and_the_end_of_a_job_and_loses_neither(running: JobsClient) -> None:
    held = running.submit(command(name="file"))["id"]
    wait_until(lambda: places.work_file(held).exists(), "It works.")
    queued = running.submit(command(name="done"))["id"]
    with full_disk(running.ping()["pid"]):
        (places.job_folder(held) / "go").touch()
        wait_until(lambda: places.outcome_file(held).exists(), "The runner has written the outcome.")
        assert [running.job(job_id)["state"] for job_id in (held, queued)] == ["running", "queued"]
    assert running.wait(held, 30)["state"] == "done"
    assert running.wait(queued, 30)["state"] == "done"


def test_only_the_first_submission_waits_for_a_stopped_pool(running: JobsClient, shared_pool: PoolProcess) -> None:
    took_s = []
    with stopped(shared_pool.pid):
        for size in ("1GiB", "2GiB", "3GiB"):  # which the pool has not accepted before
            began_s = time.monotonic()
            assert running.submit(command(size=size))["state"] == "queued"
            took_s.append(time.monotonic() - began_s)
    assert max(took_s[1:]) < took_s[0] / 2


def test_cancel_in_every_state_is_harmless_the_second_time(running: JobsClient, shared_pool: PoolProcess) -> None:
    starting = running.submit(command(name="hold"))["id"]
    wait_until(lambda: running.job(starting)["state"] == "running", "It starts.")
    assert running.cancel(starting)["cancelling"]  # its runner has perhaps not said hello
    assert running.wait(starting, 30)["state"] == "cancelled"
    held = running.submit(command(name="hold"))["id"]
    wait_until(lambda: running.job(held)["log_tail"], "It works.")
    waiting = running.submit(command(name="done"))["id"]
    wait_until(lambda: running.job(waiting)["position"], "It waits in the pool's queue.")
    follower = running.submit(command(name="done", after=[held]))["id"]
    assert running.cancel(held, queued_only=True)["cancelling"] is False
    for job_id in (waiting, follower):
        assert [running.cancel(job_id)["state"] for _ in range(2)] == ["cancelled", "cancelled"]
    wait_until(lambda: not [one for one in shared_pool.client.queue() if one["lease_id"]], "Its request is withdrawn.")
    assert running.cancel(held)["cancelling"]
    again = running.cancel(held)
    assert again["cancelling"] or again["state"] == "cancelled"
    assert running.wait(held, 30)["state"] == "cancelled"
    for job_id in (starting, held, waiting):
        view = running.job(job_id)
        assert running.cancel(job_id) == view


def test_job_beyond_a_spent_budget_stays_queued_and_says_so(running: JobsClient, shared_pool: PoolProcess) -> None:
    running.wait(running.submit(command(name="done"))["id"], 30)
    [tenant] = {view["tenant"]["key"] for view in shared_pool.client.leases()}
    shared_pool.client.set_budget(tenant, 0, "stop")
    job_id = running.submit(command(name="done"))["id"]
    view = wait_until(lambda: (view := running.job(job_id))["reason"] and view, "It says why it waits.")
    assert view["reason"] is not None
    assert (view["state"], view["reason"]["code"]) == ("queued", "pending.budget")
    shared_pool.client.set_budget(tenant, None, None)
    assert running.wait(job_id, 30)["state"] == "done"
