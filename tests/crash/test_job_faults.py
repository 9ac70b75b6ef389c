"""Jobs on a full disk, cancelled in every state, and beside a pool manager that is started again."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator

import pytest

from fastgpu_jupyter.errors import FastGPUError, StoreFault
from fastgpu_jupyter.jobs import places
from fastgpu_jupyter.messages import text_of
from fastgpu_jupyter.wire.job_states import JobState
from tests.crash.job_world import JobsWorld, Submitted, jobs_world
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

_S = JobState
#: With runners that stand for the real ones, the same is in ``tests/jobs`` for every run.
long = pytest.mark.skipif(os.environ.get("FASTGPU_JOB_KILLS") != "all", reason="a part of make test-long")
#: Queued jobs beside a pool manager that is killed.
COUNT = 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsWorld]:
    """Yield a pool manager with one simulated device, and a user of it."""
    with jobs_world(tmp_path_factory.mktemp("jobs")) as made:
        yield made


@contextlib.contextmanager
def full_disk(pid: int, file_bytes_max: int = 0) -> Iterator[None]:
    """Let every write of a process fail that would make a file longer than that, as on a full disk."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (file_bytes_max, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def folders() -> set[str]:
    return {path.name for path in places.jobs_dir().iterdir() if path.name.isdecimal()}


@long
def test_submission_on_a_full_disk_is_refused_and_leaves_nothing(world: JobsWorld) -> None:
    world.block()
    kept = world.submit(world.new_job())
    before = folders()
    draft = world.client.new_draft()
    (draft / "nb.ipynb").write_text("{}")
    job = world.new_job(
        draft=draft.name, kind="notebook", program={"notebook": "nb.ipynb", "parameters": {}, "kernel": None}
    )
    with full_disk(world.client.ping()["pid"]):
        with pytest.raises(StoreFault) as caught:
            world.submit(job)
        assert str(places.jobs_dir()) in text_of(caught.value)
        assert [one["id"] for one in world.client.jobs(["queued"])] == [kept.id], "reading goes on"
        assert folders() == before
        assert (draft / "nb.ipynb").exists(), "the draft stays, so that it can be submitted again"
    again = world.submit(job)
    assert again.id == kept.id + 1, "no number is lost"
    world.client.cancel(again.id)
    world.unblock()
    assert world.wait_over(kept)["state"] == _S.DONE
    world.check(kept)


def test_result_that_cannot_be_written_is_said_and_leaves_no_part(world: JobsWorld) -> None:
    job = world.submit(world.new_job(hold=True))
    world.wait_begun(job)
    with full_disk(world.pid_of("runner"), 8192):
        world.let_go(job)
        view = world.wait_over(job)
    assert view["state"] == _S.FAILED, world.describe(job)
    assert view["result"] is None
    assert view["error"] is not None
    assert "disk" in view["error"]["text"] or "space" in view["error"]["text"] or "large" in view["error"]["text"], view
    assert "end" in world.client.log(job.id)["text"], "what it has printed is kept"
    assert not [path for path in places.results_folder().rglob("*") if path.is_file() and path.parent.name == "new"]
    world.check(job)
    done = world.submit(world.new_job())
    assert world.wait_over(done)["state"] == _S.DONE, "jobs go on once there is room"
    world.check(done)


def cancel_and_check(world: JobsWorld, job: Submitted, *states: JobState) -> None:
    world.client.cancel(job.id)
    world.client.cancel(job.id)
    assert JobState(world.wait_over(job)["state"]) in states, world.describe(job)
    world.check(job)


@long
def test_job_is_cancelled_in_every_state(world: JobsWorld) -> None:
    world.block()
    queued = world.submit(world.new_job())
    follower = world.submit(world.new_job(after=[queued.id]))
    cancel_and_check(world, queued, _S.CANCELLED)
    assert world.wait_over(follower)["state"] == _S.CANCELLED
    assert queued.witness == follower.witness == []
    world.unblock()
    running = world.submit(world.new_job(hold=True))
    world.wait_begun(running)
    cancel_and_check(world, running, _S.CANCELLED)
    assert running.witness == ["begin"]
    for point in ("before-spawn", "after-spawn"):
        starting = world.new_job(hold=True)
        world.arm("dispatcher", point, 2**22)  # no process has that number: only the place is waited for
        world.submit(starting)
        world.wait_reached()
        cancel_and_check(world, starting, _S.CANCELLED)
    writing_points = ("before-rename-in:objects", "before-rename:outcome.json", "after-rename:outcome.json")
    for point in writing_points:
        writing = world.new_job()
        world.arm("runner", point, 2**22)
        world.submit(writing)
        world.wait_reached()
        cancel_and_check(world, writing, _S.CANCELLED, _S.DONE)
    over = world.submit(world.new_job())
    world.wait_over(over)
    cancel_and_check(world, over, _S.DONE)


@long
def test_queued_jobs_outlive_a_killed_pool_manager_in_their_order(world: JobsWorld) -> None:
    world.block()
    jobs = [world.submit(world.new_job()) for _ in range(COUNT)]
    wait_until(world.pool.client.queue, "the pool manager has requests of jobs")
    world.kill("pool")
    world.restart_what_was_killed()
    assert [world.state(job) for job in jobs] == [_S.QUEUED] * COUNT
    world.unblock()
    ended = [world.wait_over(job) for job in jobs]
    assert {view["state"] for view in ended} == {_S.DONE}
    started = [view["started_at"] for view in ended]
    assert started == sorted(started), "they start in the order of their submission"
    assert [job.witness for job in jobs] == [["begin", "end"]] * COUNT
    world.check(*jobs)


def cached(world: JobsWorld, digest: str, ingredient: str, **more: object) -> Submitted:
    ingredients = [{"category": "input", "name": "lr", "digest": ingredient, "shown": ingredient}]
    return world.new_job(cache={"key": digest, "ingredients": ingredients, "refresh": False, "reason": None}, **more)  # type: ignore[arg-type]


def test_two_submissions_of_one_key_compute_once(world: JobsWorld) -> None:
    first = world.submit(cached(world, "a" * 64, "0.1", hold=True))
    world.wait_begun(first)
    second = world.submit(cached(world, "a" * 64, "0.1"))
    assert world.state(second) is _S.QUEUED, "it waits for the one that computes"
    world.let_go(first)
    views = [world.wait_over(one) for one in (first, second)]
    assert [view["state"] for view in views] == [_S.DONE, _S.DONE]
    assert second.witness == []
    assert views[0]["result"] == views[1]["result"]
    assert [(view["cache"] or {}).get("outcome") for view in views] == ["miss", "hit"], views
    world.check(first)


def test_forced_collision_of_keys_is_computed_and_said(world: JobsWorld) -> None:
    first = world.submit(cached(world, "b" * 64, "0.1"))
    world.wait_over(first)
    other = world.submit(cached(world, "b" * 64, "0.2"))
    view = world.wait_over(other)
    assert view["state"] == _S.DONE
    assert other.witness == ["begin", "end"], "another input is another result"
    assert view["cache"] is not None
    assert view["cache"]["outcome"] != "hit"
    assert view["cache"]["message"] is not None
    assert view["cache"]["message"]["code"] == "cache.collision", view
    world.check(first, other)


@pytest.mark.parametrize(
    "sizes", [["full"], ["half", "quarter", "eighth"]], ids=["a size that it knows", "sizes that it tries first"]
)
def test_lease_whose_answer_was_lost_is_used_or_given_back(world: JobsWorld, sizes: list[str]) -> None:
    """Where the dispatcher itself starts the next pool manager, it has the answer before it has to give up."""
    before = world.submit(world.new_job())
    world.wait_over(before)
    for size in sizes:
        world.pool.kill()
        world.start_pool("after-commit@RequestLease")
        job = world.submit(world.new_job(size=size))
        assert world.pool.wait() == -signal.SIGKILL, "it committed a request and did not answer"
        world.start_pool()
        assert world.wait_over(job)["state"] == _S.DONE
        world.check(job)


def test_size_that_no_device_has_is_refused_at_once_and_not_queued(world: JobsWorld) -> None:
    with pytest.raises(FastGPUError) as caught:
        world.submit(world.new_job(size="8xh100"))
    assert "h100" in text_of(caught.value).lower()
    assert not world.client.jobs(["queued", "running"])
