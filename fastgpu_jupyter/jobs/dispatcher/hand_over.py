"""What passes between dispatcher and runner on the disk: what to do, that the work has begun, and the outcome."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ...wire.locate import pool_socket
from ...wire.schemas.jobs import JobOutcome
from .. import places
from ..model import ENDED
from .engine import JobEngine
from .record import JobRecord

if TYPE_CHECKING:
    from ...wire.schemas.jobs import HandOver, JobBody

HAND_OVER_VERSION = 1


def hand_over(engine: JobEngine, job: JobRecord, token: str | None, body: JobBody) -> HandOver:
    """Return what a runner must know to run a job."""
    settings, store, last = engine.settings, engine.store, job.last_attempt
    assert last is not None
    return {
        "version": HAND_OVER_VERSION,
        "id": job.id,
        "attempt": job.attempt,
        "store": store.id,
        "mark": places.mark_of(store.id, job.id),
        "body": body,
        "lease": {"id": last.lease_id, "token": token},
        "socket": str(pool_socket()),
        "limits": {
            "log_bytes_max": settings.log_bytes_max,
            "result_bytes_max": settings.result_bytes_max,
            "worker_idle_ms": round(1000 * settings.worker_idle_s),
        },
    }


def write_hand_over(engine: JobEngine, job: JobRecord, token: str) -> None:
    """Write the file that a new runner reads, which only its user can read. Raises :class:`OSError`."""
    path = places.start_file(job.id, engine.folder)
    whole = path.with_suffix(".new")
    whole.unlink(missing_ok=True)
    descriptor = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    body = cast("JobBody", engine.store.body(job.id))
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(hand_over(engine, job, token, body)))
    whole.replace(path)


def work_has_begun(job: JobRecord, folder: Path) -> bool:
    """Return whether the work of the last attempt of a job has begun; a call of a kept worker begins at once."""
    assert job.last_attempt is not None
    work = _read_json(places.work_file(job.id, folder))
    return job.last_attempt.kept_by is not None or (isinstance(work, dict) and work.get("attempt") == job.attempt)


def read_outcome(job: JobRecord, folder: Path) -> JobOutcome | None:
    """Return the outcome of the last attempt of a job, None where it has none, or one that cannot be read."""
    path = places.outcome_file(job.id, folder)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=JobOutcome)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found["attempt"] == job.attempt and found["state"] in set(ENDED) else None


def _read_json(path: Path) -> Any:
    with suppress(OSError, ValueError):
        return json.loads(path.read_bytes())
    return None
