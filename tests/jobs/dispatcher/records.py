"""Records of jobs for tests of what the dispatcher decides."""

from __future__ import annotations

from typing import Any

from fastgpu_jupyter.jobs.dispatcher.record import Attempt, JobRecord
from fastgpu_jupyter.jobs.dispatcher.table import JobTable
from fastgpu_jupyter.jobs.model import JobKind, JobState


def record(job_id: int, priority: str = "low", **fields: Any) -> JobRecord:
    """Return a queued job."""
    known: dict[str, Any] = {
        "kind": JobKind.COMMAND,
        "name": f"job-{job_id}",
        "state": JobState.QUEUED,
        "submission": f"{job_id:016x}",
        "size": "full",
        "options": {"priority": priority, "retention": "yield"},
        "interpreter": "python",
        "cwd": "/",
        "variables": [],
        "submitted_at": job_id,
    }
    return JobRecord(id=job_id, **known | fields)


def running(job_id: int, **fields: Any) -> JobRecord:
    """Return a running job."""
    attempt = Attempt(boot_id="boot", lease_id=f"lease-{job_id}")
    known: dict[str, Any] = {"state": JobState.RUNNING, "attempt": 1, "last_attempt": attempt}
    return record(job_id, **known | fields)


def table(*jobs: JobRecord) -> JobTable:
    """Return a table of jobs."""
    return JobTable(jobs)
