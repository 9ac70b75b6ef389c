"""The limits of what callers can make grow, for one tenant and for the pool, and the refusals at a limit.

A refusal says when to try again. ``/v1/health`` is never refused. The limits bound what one faulty program costs other
tenants; how much of the GPUs a tenant gets is decided by quotas, in the core.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from ...core.accounting import changes
from ...core.model.commands import Command, RequestLease
from ...core.model.entities import Instant, State, Tenant
from ...errors import LimitReached, Message

#: When to try again to get a lease; the time at which one ends is not known.
LEASE_RETRY_S = 30
#: When to try again to connect or to read events.
READER_RETRY_S = 5
#: How many tenants the rate limiter has; one without requests is removed, because its bucket is full again.
BUCKETS_MAX = 10_000
_NEWCOMER = Tenant()


class ServiceLimits(NamedTuple):
    """The limits that an administrator can set; the names are those of the settings in section ``Limits``."""

    leases_max: int = 10_000  #: that have not ended
    leases_max_per_tenant: int = 1_000
    waiting_max: int = 5_000  #: requests in the queue
    waiting_max_per_tenant: int = 500
    changes_per_day_per_tenant: int = 50_000  #: days are in UTC; see :mod:`core.accounting.changes`
    requests_per_s_per_tenant: float = 500.0
    connections_max: int = 2_000
    connections_max_per_tenant: int = 1_000
    subscribers_max: int = 1_000  #: readers of the event stream
    subscribers_max_per_tenant: int = 500
    body_bytes_max: int = 64 * 2**10
    header_bytes_max: int = 16 * 2**10
    slow_reader_timeout_s: float = 20.0  #: how long an answer may wait for its reader

    def admit(self, state: State, command: Command, at: Instant) -> None:
        """Raise :class:`LimitReached` if a limit of the pool or of the tenant refuses ``command``."""
        self._admit_change(state, command, at)
        if isinstance(command, RequestLease):
            self._admit_request(state, command)

    def _admit_change(self, state: State, command: Command, at: Instant) -> None:
        tenant = changes.counted_tenant(state, command)
        if tenant is None or changes.made_today(state, tenant, at) < self.changes_per_day_per_tenant:
            return
        resets_s = changes.reset_wall_ms(at) // 1000
        raise reached(
            Message.of(
                "limits.changes_of_tenant",
                count=self.changes_per_day_per_tenant,
                resets_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(resets_s)),
                seconds=resets_s - at.wall_ms // 1000,
            )
        )

    def _admit_request(self, state: State, command: RequestLease) -> None:
        own = state.tenants.get(command.tenant, _NEWCOMER)
        live, seconds = len(state.leases) - len(state.ended), LEASE_RETRY_S
        if own.leases >= self.leases_max_per_tenant:
            raise reached(Message.of("limits.leases_of_tenant", count=own.leases, seconds=seconds))
        if live >= self.leases_max:
            raise reached(Message.of("limits.leases", count=live, seconds=seconds))
        # In a pool of an engine all requests are of one user.
        own_waiting, waiting = own.waiting + len(state.cluster_waiting), len(state.queue) + len(state.cluster_waiting)
        if own_waiting >= self.waiting_max_per_tenant:
            raise reached(Message.of("limits.waiting_of_tenant", count=own_waiting, seconds=seconds))
        if waiting >= self.waiting_max:
            raise reached(Message.of("limits.waiting", count=waiting, seconds=seconds))


def reached(message: Message) -> LimitReached:
    """Return the refusal at a limit; the parameter ``seconds`` of its message says when to try again."""
    seconds = message.params["seconds"]
    assert isinstance(seconds, int)
    return LimitReached(message, seconds)


class RateLimiter:
    """A token bucket for each user, which holds the requests of one second and fills steadily."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._most = max(1.0, per_s)
        self._buckets: dict[int, tuple[float, float]] = {}  #: by user: what was left, and at which time

    def take(self, uid: int, now_s: float) -> None:
        """Count one request of the user ``uid``. Raises :class:`LimitReached` if it made too many."""
        left = self._left(uid, now_s)
        if left < 1:
            seconds = max(1, math.ceil((1 - left) / self._per_s))
            raise reached(Message.of("limits.requests", per_second=f"{self._per_s:g}", seconds=seconds))
        if uid not in self._buckets and len(self._buckets) >= BUCKETS_MAX:
            self._remove_idle(now_s)
        self._buckets[uid] = (left - 1, now_s)

    def __len__(self) -> int:
        return len(self._buckets)

    def _left(self, uid: int, now_s: float) -> float:
        left, since_s = self._buckets.get(uid, (self._most, now_s))
        return min(self._most, left + (now_s - since_s) * self._per_s)

    def _remove_idle(self, now_s: float) -> None:
        self._buckets = {uid: entry for uid, entry in self._buckets.items() if self._left(uid, now_s) < self._most}
        while len(self._buckets) >= BUCKETS_MAX:
            self._buckets.pop(next(iter(self._buckets)))
