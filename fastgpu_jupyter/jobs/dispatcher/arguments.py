"""What each call of the dispatcher's socket takes. A field that a client's call does not have is refused."""

from __future__ import annotations

from typing import Any

import msgspec

from ...wire.schemas.common import MessageView
from ...wire.schemas.jobs import JobProgressView, RunnerLease


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """The arguments of a call that takes none."""


class OfJob(msgspec.Struct, forbid_unknown_fields=True):
    """The arguments of a call about one job."""

    id: int


class Submit(msgspec.Struct, forbid_unknown_fields=True):
    """The arguments of ``submit``; the body is checked by itself."""

    body: dict[str, Any]


class List(msgspec.Struct, forbid_unknown_fields=True):
    """The arguments of ``jobs``: only those in ``states``, and with a lower id than ``before``."""

    states: list[str] | None = None
    limit: int = 1000
    before: int | None = None


class Wait(msgspec.Struct, forbid_unknown_fields=True):
    """The arguments of ``wait``."""

    id: int
    wait_s: float


class Cancel(msgspec.Struct, forbid_unknown_fields=True):
    """The arguments of ``cancel``."""

    id: int
    queued_only: bool = False


class Rerun(msgspec.Struct, forbid_unknown_fields=True):
    """The arguments of ``rerun``."""

    id: int
    refresh: bool = False
    submission: str | None = None


class Log(msgspec.Struct, forbid_unknown_fields=True):
    """The arguments of ``log``; a negative offset counts from the end."""

    id: int
    offset: int = 0
    limit: int = 65_536


class Prune(msgspec.Struct, forbid_unknown_fields=True):
    """The arguments of ``prune``."""

    older_ms: int | None = None
    bytes_max: int | None = None


class Follow(msgspec.Struct, forbid_unknown_fields=True):
    """The arguments of ``follow``."""

    executor: str | None = None


class Hello(msgspec.Struct):
    """The arguments of a runner's ``hello``; which process it is, the system tells."""

    job_id: int
    attempt: int


class Report(msgspec.Struct):
    """The arguments of a runner's ``report``: a field that is absent is unchanged."""

    job_id: int
    lease: RunnerLease | None = None
    progress: JobProgressView | msgspec.UnsetType | None = msgspec.UNSET
    log_tail: list[str] | None = None
    log_bytes: int | None = None
    notes: list[MessageView] | None = None


class EndedCall(msgspec.Struct):
    """The arguments of a runner's ``ended``: the outcome is in its file."""

    job_id: int


class IdleWorker(msgspec.Struct):
    """The arguments of a runner's ``idle``: it keeps the worker of its last job."""

    job_id: int
    worker: str
