"""The board: what is known at present of the job, the agent and the kernel of each lease; in memory only.

It is empty after a start of the pool manager, until the engine and the agents have answered: nothing is known then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from ...core.model.cluster import ClusterJob
from ...core.model.entities import Lease, LeaseRequest
from ...core.model.lifecycle import LeaseState
from ...errors import Message
from .engine import Queued, Running, Status


class HostKernel(NamedTuple):
    """The newest kernel that the agent of a lease started."""

    generation: int  #: 1 for the first one of the agent, one more for each restart
    state: str  #: ``starting``, ``running`` or ``ended``
    pid: int | None
    exit_code: int | None
    started_at: int  #: on the wall clock of this host


class RemoteUsage(NamedTuple):
    """What the agent of a lease measured last; ``None`` where it is not known."""

    utilization_percent: int | None
    memory_used_bytes: int | None


@dataclass(frozen=True, slots=True)
class BoardEntry:
    """What is known of one lease."""

    status: Status | None = None  #: of its job, as the engine said last; ``None``: it has not said anything yet
    kernel: HostKernel | None = None
    agent_host: str | None = None  #: set once its agent has reported to this pool manager
    agent_silent: bool = False  #: its agent has not been heard for a moment
    running_since_s: float | None = None  #: since when the engine says that it runs, on the event loop's clock
    late: bool = False  #: its agent should have reported by now
    ends_soon: bool = False
    usage: RemoteUsage | None = None
    heard_ms: int | None = None  #: when its agent was heard last, or its job first seen to run, on the wall clock

    @property
    def host(self) -> str | None:
        """Return the host on which its job runs, ``None`` where it does not, or that is not known."""
        return self.agent_host or (self.status.host if isinstance(self.status, Running) else None)

    @property
    def is_suspended(self) -> bool:
        """Return whether the engine has stopped the processes of its job for a while."""
        return isinstance(self.status, Running) and self.status.suspended

    @property
    def ends_at_ms(self) -> int | None:
        """Return when the engine ends its job."""
        return self.status.ends_at_ms if isinstance(self.status, Running) else None

    @property
    def position(self) -> int | None:
        """Return its place in the queue of the engine, from 1 on."""
        return self.status.position if isinstance(self.status, Queued) else None

    @property
    def starts_at_ms(self) -> int | None:
        """Return its expected start."""
        return self.status.starts_at_ms if isinstance(self.status, Queued) else None

    @property
    def reason(self) -> Message | None:
        """Return why its job does not run."""
        return None if self.status is None or isinstance(self.status, Running) else self.status.reason


NOTHING = BoardEntry()


class Watched(NamedTuple):
    """What the service needs of a lease that is not over."""

    lease_id: str
    job: ClusterJob
    state: LeaseState
    ends_at_ms: int | None
    request: LeaseRequest

    @classmethod
    def of(cls, lease: Lease | None) -> Watched | None:
        """Return it of a lease that an engine serves and that is not over; else ``None``."""
        if lease is None or lease.cluster_job is None or lease.state is LeaseState.ENDED:
            return None
        allocation = lease.logical_gpu.cluster if lease.logical_gpu else None
        return cls(
            lease.id, lease.cluster_job, lease.state, allocation.ends_at_ms if allocation else None, lease.request
        )


class Board:
    """What is known, by lease. ``notify`` is called with the id of each lease of which users see something new."""

    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify = notify
        self._known: dict[str, BoardEntry] = {}

    def of(self, lease_id: str) -> BoardEntry:
        """Return what is known of a lease."""
        return self._known.get(lease_id, NOTHING)

    def set(self, lease_id: str, **changes: object) -> None:
        """Change what is known of a lease, and notify unless only its usage is, or it was heard."""
        before = self.of(lease_id)
        after = self._known[lease_id] = replace(before, **changes)  # type: ignore[arg-type]
        if replace(after, usage=before.usage, heard_ms=before.heard_ms) != before:
            self._notify(lease_id)

    def forget(self, lease_id: str) -> None:
        """Forget a lease that is over."""
        self._known.pop(lease_id, None)

    def usage(self) -> Mapping[str, RemoteUsage]:
        """Return what agents measured last, by lease."""
        return {lease_id: known.usage for lease_id, known in self._known.items() if known.usage is not None}
