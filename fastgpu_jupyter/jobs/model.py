"""The states of a job, and the transitions between them.

    QUEUED ──started──> RUNNING ──ended──> DONE, FAILED, CANCELLED or LOST
      │  ▲                 │
      │  └──queued again───┘   (the runner was killed, or the machine restarted, and a retry is left)
      ├──found──────────> DONE        (the result is in the cache)
      ├──refused────────> FAILED      (the pool can never grant its size)
      └──cancelled──────> CANCELLED   (by the user, or because a job before it was not done)

A running job whose lease was parked, or waits again, is still running: its ``lease_state`` says so.
"""

from __future__ import annotations

from ..errors import InternalError
from ..wire.job_states import ENDED, UNFINISHED, CacheOutcome, JobKind, JobState

__all__ = ["ENDED", "TRANSITIONS", "UNFINISHED", "CacheOutcome", "JobKind", "JobState", "require_transition"]

_S = JobState
#: The states that may follow a state; a job may also change and stay in its state unless it is over.
TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    _S.QUEUED: frozenset({_S.QUEUED, _S.RUNNING, _S.DONE, _S.FAILED, _S.CANCELLED}),
    _S.RUNNING: frozenset({_S.RUNNING, _S.QUEUED}) | ENDED,
    # Notes may be added to a job that is over, and its result may be removed; the state stays.
    **{state: frozenset({state}) for state in sorted(ENDED)},
}


def require_transition(before: JobState, after: JobState) -> None:
    """Raise :class:`InternalError` unless ``after`` may follow ``before``."""
    if after not in TRANSITIONS[before]:
        raise InternalError(f"A job that is {before} cannot become {after}.")
