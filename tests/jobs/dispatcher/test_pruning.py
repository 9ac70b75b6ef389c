"""Which jobs are removed."""

from __future__ import annotations

from pathlib import Path

from fastgpu_jupyter.jobs.dispatcher.pruning import KEPT_LEAST_MS, SURPLUS_MAX, older_than, surplus
from fastgpu_jupyter.jobs.dispatcher.store import JobStore
from fastgpu_jupyter.jobs.model import JobState
from tests.jobs.dispatcher.records import record


def test_oldest_jobs_that_are_over_are_surplus_once_they_are_settled() -> None:
    jobs = [record(job_id, state=JobState.DONE, ended_at=job_id) for job_id in range(1, 6)]
    jobs += [record(6), record(7)]
    late = 10 + KEPT_LEAST_MS
    assert surplus(jobs, 2, late) == [1, 2, 3]
    assert surplus(jobs, 2, 10) == []
    assert surplus(jobs, 2, 3 + KEPT_LEAST_MS) == [1, 2]
    assert surplus(jobs, 9, late) == []


def test_number_of_jobs_is_bounded_whatever_their_age() -> None:
    jobs = [record(job_id, state=JobState.DONE, ended_at=job_id) for job_id in range(1, SURPLUS_MAX + 8)]
    assert surplus(jobs, 4, 10) == [1, 2, 3]


def test_older_than_takes_only_jobs_that_are_over() -> None:
    jobs = [record(1), record(2, state=JobState.LOST, ended_at=5), record(3, state=JobState.DONE, ended_at=9)]
    assert older_than(jobs, 9) == [2]


def test_entries_of_the_cache_beyond_a_number_go_and_the_last_used_ones_stay(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    for number in range(4):
        store.put_cached(f"key {number}", "cell", f"digest {number}", b"{}", now_ms=number)
    store.use_cached("key 0", 9)
    assert store.forget_cached_beyond(2) == {"digest 1", "digest 2"}
    assert store.forget_cached_beyond(2) == set()
    assert store.cached_digests() == {"digest 0", "digest 3"}
    store.close()
