"""Jobs as they are on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import Message
from ...messages import view_of
from ..model import JobState
from .live import Live
from .record import JobRecord
from .table import JobTable

if TYPE_CHECKING:
    from ...wire.schemas.jobs import JobView

_NOTHING = Live()


def view_of_job(job: JobRecord, live: Live | None, table: JobTable, version: int) -> JobView:
    """Return the view of a job."""
    live = live or _NOTHING
    queued, running = job.state is JobState.QUEUED, job.state is JobState.RUNNING
    before = table.jobs_before(job) if queued else None
    reason = _reason(job, live, table, before) if queued else live.reason if running else None
    last = job.last_attempt
    return {
        "id": job.id,
        "version": version,
        "kind": job.kind.value,
        "name": job.name,
        "state": job.state.value,
        "cancelling": job.cancelling,
        "size": job.size,
        "priority": job.priority,
        "retention": str(job.options["retention"]),
        "after": job.after,
        "timeout_ms": job.timeout_ms,
        "retries": job.retries,
        "attempt": job.attempt,
        "submitted_at": job.submitted_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "lease_id": live.lease_id or (last.lease_id if last and not queued else None),
        "lease_state": live.lease_state if queued or running else None,
        "position": live.position if queued or running else None,
        "jobs_before": before,
        "estimate_ms": live.estimate_ms if queued or running else None,
        "reason": reason,  # type: ignore[typeddict-item]
        "notes": [*job.notes, *live.notes] if running else job.notes,  # type: ignore[typeddict-item, list-item]
        "gpu": job.gpu,  # type: ignore[typeddict-item]
        "cost_micro": live.cost_of(job) if running else job.cost_micro,
        "rate_micro": live.rate_micro if queued or running else None,
        "currency": job.currency or live.currency,
        "progress": live.progress or job.progress,  # type: ignore[typeddict-item]
        "log_tail": live.log_tail if running else job.log_tail,
        "log_bytes": live.log_bytes if running else job.log_bytes,
        "notebook": job.notebook,
        "kernel_id": job.kernel_id,
        "environment": {"interpreter": job.interpreter, "cwd": job.cwd, "variables": job.variables},
        "exit_status": job.exit_status,
        "error": job.error,  # type: ignore[typeddict-item]
        "result": job.result,  # type: ignore[typeddict-item]
        "cache": job.cache,  # type: ignore[typeddict-item]
    }


def _reason(job: JobRecord, live: Live, table: JobTable, before: int | None) -> Mapping[str, Any] | None:
    """Return why a queued job waits."""
    if predecessors := table.unfinished_predecessors(job):
        return view_of(
            Message.of("jobs.waits_for_jobs", count=len(predecessors), numbers=tuple(map(str, predecessors)))
        )
    if job.key is not None and (other := table.computes_key_of(job)) is not None:
        return view_of(Message.of("jobs.waits_for_result", number=other))
    if live.obstacle is not None:
        return view_of(live.obstacle)
    if live.reason is not None:
        return live.reason
    return view_of(Message.of("jobs.jobs_before", jobs_before=before)) if before else None
