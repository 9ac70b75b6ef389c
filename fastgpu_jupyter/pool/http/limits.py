"""What the pool takes at most, of one tenant and in all, and how it says that a limit is reached.

Everything that a caller can make grow has a limit here: at the limit the pool refuses with a sentence that says when
to try again, and does not grow. ``/v1/health`` is refused to nobody. A limit bounds what one program gone wild can
cost its neighbours; it is no quota: who gets how much of the GPUs is a question of the core.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ...core.model.commands import RequestLease
from ...core.model.entities import State, Tenant
from ...errors import LimitReached

#: When to come back for a lease: nobody can know, so often enough and no oftener.
LEASE_RETRY_S = 30
#: When to come back for a connection or a stream.
READER_RETRY_S = 5
#: Tenants whose rate is remembered; one that rests is forgotten, as its bucket is full again.
BUCKETS_MAX = 10_000
_NEWCOMER = Tenant()


class ServiceLimits(NamedTuple):
    """The limits that an administrator can set; the names are those of the settings in section ``Limits``."""

    leases_max: int = 10_000  #: that have not ended
    leases_max_per_tenant: int = 1_000
    waiting_max: int = 5_000  #: requests in the queue
    waiting_max_per_tenant: int = 500
    requests_per_s_per_tenant: float = 500.0
    connections_max: int = 2_000
    connections_max_per_tenant: int = 1_000
    subscribers_max: int = 1_000  #: readers of the event stream
    subscribers_max_per_tenant: int = 500
    body_bytes_max: int = 64 * 2**10
    header_bytes_max: int = 16 * 2**10
    slow_reader_timeout_s: float = 20.0  #: how long an answer may wait for its reader

    def admit(self, state: State, command: RequestLease) -> None:
        """Raise :class:`LimitReached` where the pool, or the tenant, has as many leases or waits as it may."""
        own = state.tenants.get(command.tenant, _NEWCOMER)
        for taken, most, what in (
            (own.leases, self.leases_max_per_tenant, "You have {} leases, as many as one user may have"),
            (len(state.leases) - len(state.ended), self.leases_max, "This pool has {} leases, as many as it keeps"),
            (own.waiting, self.waiting_max_per_tenant, "You wait for {} leases, as many as one user may"),
            (len(state.queue), self.waiting_max, "{} requests wait in this pool, as many as it queues"),
        ):
            if taken >= most:
                raise reached(f"{what.format(taken)}; release one", LEASE_RETRY_S)


def reached(what: str, retry_after_s: float) -> LimitReached:
    """The refusal at a limit: what is reached, and when to try again."""
    seconds = max(1, math.ceil(retry_after_s))
    return LimitReached(f"{what}, or try again in {seconds} second{'s' * (seconds > 1)}.", seconds)


class RateLimiter:
    """Requests per second of each tenant: a bucket that holds one second's worth and fills steadily."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._most = max(1.0, per_s)
        self._buckets: dict[int, tuple[float, float]] = {}  #: by user: what was left, and when

    def take(self, uid: int, now_s: float) -> None:
        """Count one request of ``uid``. Raises :class:`LimitReached` where it has made too many."""
        left = self._left(uid, now_s)
        if left < 1:
            raise reached(f"You make more than {self._per_s:g} requests a second; make fewer", (1 - left) / self._per_s)
        if uid not in self._buckets and len(self._buckets) >= BUCKETS_MAX:
            self._forget_rested(now_s)
        self._buckets[uid] = (left - 1, now_s)

    def __len__(self) -> int:
        return len(self._buckets)

    def _left(self, uid: int, now_s: float) -> float:
        left, since_s = self._buckets.get(uid, (self._most, now_s))
        return min(self._most, left + (now_s - since_s) * self._per_s)

    def _forget_rested(self, now_s: float) -> None:
        self._buckets = {uid: entry for uid, entry in self._buckets.items() if self._left(uid, now_s) < self._most}
        while len(self._buckets) >= BUCKETS_MAX:
            self._buckets.pop(next(iter(self._buckets)))
