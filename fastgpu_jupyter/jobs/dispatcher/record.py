"""What the dispatcher stores of a job."""

from __future__ import annotations

from typing import Any

import msgspec

from ..model import ENDED, JobKind, JobState


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """The last start of a job: the boot of the machine, and the lease."""

    boot_id: str
    lease_id: str
    cost_before_micro: int = 0  #: what the lease had cost when the job began, by jobs before it
    kept_by: int | None = None  #: the job whose runner, with its worker, runs this one


class JobRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job. Fields that later versions add have a default, so that this store stays readable.

    Views, messages and reports are kept as they are on the wire.
    """

    id: int
    kind: JobKind
    name: str
    state: JobState
    submission: str
    size: str
    options: dict[str, Any]  #: of the request for its lease, with priority and retention
    interpreter: str
    cwd: str
    variables: list[str]
    submitted_at: int
    after: list[int] = []
    timeout_ms: int | None = None
    retries: int = 0
    notebook: str | None = None
    kernel_id: str | None = None
    #: Starts so far, and how many of them were lost after the work had begun.
    attempt: int = 0
    losses: int = 0
    #: Starts in a row whose runner ended before the work began.
    false_starts: int = 0
    started_at: int | None = None
    ended_at: int | None = None
    cancelling: bool = False
    last_attempt: Attempt | None = None
    notes: list[dict[str, Any]] = []
    gpu: dict[str, Any] | None = None
    cost_micro: int | None = None
    currency: str | None = None
    exit_status: int | None = None
    error: dict[str, str] | None = None
    result: dict[str, Any] | None = None
    log_bytes: int = 0
    log_tail: list[str] = []
    progress: dict[str, Any] | None = None
    cache: dict[str, Any] | None = None
    #: The cache key, and whether a result in the cache does not count.
    key: str | None = None
    refresh: bool = False
    #: Calls with an equal text may run in one kept worker process.
    worker: str | None = None
    #: The executor of a call, and how many of its calls may run or request a lease at a time.
    executor: str | None = None
    workers_max: int | None = None

    @property
    def over(self) -> bool:
        """Return whether the job is over."""
        return self.state in ENDED

    @property
    def priority(self) -> str:
        """Return the priority of the job's request."""
        return str(self.options["priority"])
