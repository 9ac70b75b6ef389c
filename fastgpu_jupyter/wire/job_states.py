"""The kinds and the states of a job, as they are on the wire.

This module imports nothing of the package, so that every process can import it; :mod:`fastgpu_jupyter.jobs.model` has
the transitions between the states.
"""

from __future__ import annotations

from enum import StrEnum


class JobKind(StrEnum):
    """What a job runs."""

    COMMAND = "command"
    FUNCTION = "function"
    CELL = "cell"
    NOTEBOOK = "notebook"


class JobState(StrEnum):
    """The state of a job; a job is in exactly one."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


#: The job is over, and its state never changes again.
ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.LOST})
#: The job is not over.
UNFINISHED = frozenset(JobState) - ENDED


class CacheOutcome(StrEnum):
    """What the cache of results did for a job."""

    HIT = "hit"
    MISS = "miss"
    NOT_CACHED = "not_cached"
    WAITING = "waiting"
