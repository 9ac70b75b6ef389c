"""The cache of results and what is removed, with a real pool manager and real processes."""

from __future__ import annotations

from typing import Any

import pytest

from fastgpu_jupyter.jobs import places
from fastgpu_jupyter.jobs.client import JobsClient
from fastgpu_jupyter.jobs.results import ResultStore
from fastgpu_jupyter.wire.schemas.jobs import JobBody
from tests.jobs.bodies import command
from tests.jobs.conftest import kill_dispatcher
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def cached(name: str = "value", key: str = "a", lr: str = "0.1", **fields: Any) -> JobBody:
    """Return a job whose result is to be cached."""
    refresh = fields.pop("refresh", False)
    ingredients = [
        {"category": "code", "name": "", "digest": "c", "shown": None},
        {"category": "parameter", "name": "lr", "digest": lr, "shown": lr},
    ]
    cache = {"key": key * 64, "ingredients": ingredients, "refresh": refresh, "reason": None}
    return command(name=name, cache=cache, **fields)


def test_two_submissions_of_one_key_compute_once_and_a_third_is_a_hit_at_once(running: JobsClient) -> None:
    held = running.submit(command(name="hold"))["id"]
    wait_until(lambda: running.job(held)["log_tail"], "It works.")
    first, second = (running.submit(cached())["id"] for _ in range(2))
    view = running.job(second)
    assert view["cache"] is not None
    assert view["cache"]["outcome"] == "waiting"
    assert view["reason"] is not None
    assert (view["reason"]["code"], view["reason"]["params"]) == ("jobs.waits_for_result", {"number": first})
    running.cancel(held)
    computed, taken = running.wait(first, 30), running.wait(second, 30)
    assert [(view["state"], view["attempt"]) for view in (computed, taken)] == [("done", 1), ("done", 0)]
    assert computed["result"] is not None
    assert computed["result"]["values"] == ["return"]
    assert taken["result"] == computed["result"]
    kill_dispatcher(running)
    hit = running.submit(cached())
    assert (hit["state"], hit["attempt"], hit["cost_micro"], hit["gpu"]) == ("done", 0, 0, computed["gpu"])
    assert hit["cache"] is not None
    assert (hit["cache"]["outcome"], hit["cache"]["computed_at"]) == ("hit", computed["ended_at"])
    assert (hit["cache"]["saved_micro"] or 0) > 0
    again = running.wait(running.submit(cached(refresh=True))["id"], 30)
    assert (again["state"], again["attempt"]) == ("done", 1)


def test_miss_says_what_changed_and_a_forced_collision_is_a_miss(running: JobsClient) -> None:
    running.wait(running.submit(cached())["id"], 30)
    missed = running.submit(cached(key="b", lr="0.2"))
    assert missed["cache"] is not None
    assert missed["cache"]["outcome"] == "miss"
    assert missed["cache"]["message"] is not None
    assert "0.1" in missed["cache"]["message"]["text"]
    assert "0.2" in missed["cache"]["message"]["text"]
    assert running.explain(missed["id"])["messages"] == [missed["cache"]["message"]]
    forced = running.submit(cached(lr="0.3"))
    assert forced["cache"] is not None
    assert forced["cache"]["message"] is not None
    assert (forced["cache"]["outcome"], forced["cache"]["message"]["code"]) == ("miss", "cache.collision")
    assert [running.wait(one["id"], 30)["attempt"] for one in (missed, forced)] == [1, 1]


def test_result_of_a_job_that_read_an_undeclared_file_is_kept_and_not_cached(running: JobsClient) -> None:
    for _ in range(2):
        view = running.wait(running.submit(cached("reads"))["id"], 30)
        assert view["attempt"] == 1
        assert view["result"] is not None
        assert view["cache"] is not None
        assert view["cache"]["outcome"] == "not_cached"
        assert view["cache"]["message"] is not None
        assert "/data/x.csv" in view["cache"]["message"]["text"]


def test_prune_removes_jobs_with_their_files_and_results(running: JobsClient) -> None:
    kept, gone = (running.wait(running.submit(cached(key=key))["id"], 30) for key in "ab")
    usage = running.usage()
    assert (usage["jobs"], usage["results"], usage["cached"]) == (2, 2, 2)
    assert (usage["job_bytes"] or 0) > 0
    assert gone["result"] is not None
    ResultStore(places.results_folder()).remove([gone["result"]["digest"]])
    report = running.prune(bytes_max=0)
    assert (report["jobs"], report["results"]) == (0, 1)
    view = running.job(kept["id"])
    assert (view["state"], view["result"], view["notes"][-1]["code"]) == ("done", None, "jobs.result_removed")
    assert running.prune(older_ms=0)["jobs"] == 2
    assert running.jobs() == []
    assert not places.job_folder(kept["id"]).exists()
    assert running.usage()["cached"] == 0
    assert running.submit(command(name="done"))["id"] == gone["id"] + 1
