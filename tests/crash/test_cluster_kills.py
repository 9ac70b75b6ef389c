"""A pool in engine mode is killed between request, submission, grant and end: one job, none left, an exact bill.

The simulated cluster outlives the pool manager, as Slurm does; its list of jobs has each that was ever submitted.
``FASTGPU_FAILPOINTS=all`` runs every point.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from fastgpu_jupyter.pool.journal.fsck import examine
from fastgpu_jupyter.wire.client import new_token
from fastgpu_jupyter.wire.locate import user_state_dir
from fastgpu_jupyter.wire.process_identity import start_time
from tests.crash.conftest import KillablePool
from tests.crash.test_failpoints import RetryingClient, remove_state
from tests.views import value_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
RATE_MICRO = 2_500_000
#: What is lost at each: nothing, the intent, the answer of the engine, the report of the agent, the end.
ALWAYS = ("after-expect", "after-submit", "after-hello", "after-commit@ClusterGranted", "after-effect@CancelJob")
POINTS = (
    *(f"{when}-{point}" for point in ("expect", "submit", "hello") for when in ("before", "after")),
    *(f"{when}-effect@{effect}" for effect in ("SubmitJob", "CancelJob") for when in ("before", "after")),
    *(
        f"{when}@{command}"
        for command in ("RequestLease", "ClusterJobSubmitted", "ClusterGranted", "ReleaseLease", "ClusterJobEnded")
        for when in ("before-append", "after-commit")
    ),
)


def jobs() -> list[dict[str, Any]]:
    """All jobs that the cluster ever had."""
    return list(json.loads((user_state_dir() / "cluster/fake/jobs.json").read_text())["jobs"])


def lives(job: dict[str, Any]) -> bool:
    """Whether the process of a job lives."""
    return job["pid"] is not None and start_time(job["pid"]) == job["start_time"]


@pytest.fixture
def cluster(killable_pool: KillablePool) -> Iterator[KillablePool]:
    """A pool manager in engine mode that can be killed; not started yet."""
    killable_pool.arguments = ["--FastGPUPool.cluster=fake:2xA100-80GB"]
    yield killable_pool
    if killable_pool.pid:
        killable_pool.kill()
    for job in jobs():
        if lives(job):
            os.kill(job["pid"], 9)


@pytest.mark.timeout(600)
def test_pool_killed_at_a_failpoint_starts_nothing_twice_and_leaves_nothing(cluster: KillablePool) -> None:
    for point in POINTS if os.environ.get("FASTGPU_FAILPOINTS") == "all" else ALWAYS:
        shutil.rmtree(user_state_dir() / "cluster", ignore_errors=True)
        remove_state()
        caller = RetryingClient(cluster)
        if not cluster.start(point):
            caller.restart()
        try:
            _request_and_release(caller)
        except AssertionError as error:
            raise AssertionError(f"{point}: {error}") from error
        assert caller.crashes == 1, f"{point} was not reached"
        cluster.kill()
        assert examine(user_state_dir() / "journal.db").sound, point


def _request_and_release(caller: RetryingClient) -> None:
    client, token, key = caller.pool.client, new_token(), uuid.uuid4().hex
    began_s = time.monotonic()
    lease_id = caller.call(client.request, "a100", token=token, key=key)["id"]
    caller.wait_for(lease_id, "active")
    assert caller.call(client.request, "a100", token=token, key=key)["id"] == lease_id
    caller.call(client.release, lease_id, token)
    caller.wait_for(lease_id, "ended")
    ended = caller.call(client.lease, lease_id)
    assert value_of(ended["end_reason"]) == "released"
    billed_ms, life_ms = ended["usage"]["active_ms"], 1000 * (time.monotonic() - began_s)
    assert 0 < billed_ms <= life_ms
    assert ended["money"]["cost_micro"] == billed_ms * RATE_MICRO // 3_600_000
    assert [job["name"] for job in jobs()] == [ended["cluster"]["job_name"]], "it is submitted once"
    # The pool manager may be killed once more, after the end.
    wait_until(lambda: caller.call(client.health) and all(job["ended"] for job in jobs()), "no job is left")
    wait_until(lambda: not any(map(lives, jobs())), "no agent is left")
