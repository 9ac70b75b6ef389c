"""Leases of an engine, such as Slurm: what is asked of it, its job for a lease, and what that job was allocated.

The engine decides placement and order. The pool keeps the lease, and no list of the engine's devices.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from ...errors import InvalidRequest, Message
from .enforcement import Enforcement

#: The longest time limit that a request may name, and the longest time that a lease may be kept without a holder.
TIME_LIMIT_MS_MAX = 366 * 86_400_000
#: What begins the names of all jobs of all pools.
JOB_PREFIX = "fgpu-"
#: A name or an expression in the engine's own words: it is one word of a command, whatever it contains.
_WORD = re.compile(r"[!-~]{0,256}")
_POOL_DIGITS = 8


def job_prefix(pool_id: str) -> str:
    """Return what begins the names of all jobs of one pool."""
    return f"{JOB_PREFIX}{pool_id[:_POOL_DIGITS]}-"


def job_name(pool_id: str, lease_id: str, attempt: int = 1) -> str:
    """Return the name of the job for an attempt to serve a lease; an engine gets at most one job with it."""
    return f"{job_prefix(pool_id)}{lease_id}-{attempt}"


@dataclass(frozen=True, slots=True)
class ClusterRequest:
    """What a request says to the engine, in the engine's own words; an empty text is the engine's default."""

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    time_limit_ms: int | None = None  #: for how long the allocation is wanted; ``None``: the engine's default

    def validate(self) -> None:
        """Check that the texts are single words. Raises :class:`InvalidRequest` otherwise."""
        for name in ("partition", "account", "qos", "constraint"):
            if _WORD.fullmatch(getattr(self, name)) is None:
                raise InvalidRequest(Message.of("cluster.not_a_word", field=name))
        if self.time_limit_ms is not None and not 0 < self.time_limit_ms <= TIME_LIMIT_MS_MAX:
            raise InvalidRequest(Message.of("cluster.time_out_of_range", longest_ms=TIME_LIMIT_MS_MAX))


class ClusterDevice(NamedTuple):
    """What a lease has of one device of the engine."""

    name: str  #: its UUID, or the host and the number where that is unknown
    model: str
    memory_bytes: int | None  #: that the lease has there; ``None``: unknown
    rate_micro_per_hour: int = 0  #: of what the lease has there


@dataclass(frozen=True, slots=True)
class ClusterAllocation:
    """What the engine allocated for a lease."""

    host: str
    devices: tuple[ClusterDevice, ...]
    milli: int  #: thousandths of devices
    enforcement: Enforcement
    ends_at_ms: int | None = None  #: when the engine ends it at the latest, on the wall clock; ``None``: no limit


@dataclass(frozen=True, slots=True)
class ClusterJob:
    """The engine's job for a lease."""

    name: str
    attempt: int = 1
    job_id: str | None = None  #: ``None`` until the engine has answered
    submitted_at_ms: int | None = None  #: when it had, on the wall clock
