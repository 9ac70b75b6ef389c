"""Publish changes and readings to the subscribers of the event stream.

A message is made once for all subscribers with the same access, and quick changes are merged into one message. Recent
changes are kept by id: a reader that reconnects and names the last ``seq`` it has gets what it missed as one change, or
a snapshot if that is too long ago. A subscriber that does not read is disconnected.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from ...core.model.entities import Instant, State
from ...errors import Message
from ..protocols import Changes
from ..supervisor import RETRY_S
from .backend import Backend
from .limits import READER_RETRY_S, ServiceLimits, reached
from .steps import Steps
from .subscriber import StreamSubscriber, encode_message
from .usage_encoder import UsageEncoder
from .views.context import AccessScope

#: Changes are numbered from the wall-clock time of the start on, so that no number of an earlier pool manager is used.
SEQ_PER_MS = 1000
#: The shortest time between two messages about changes; the first after a pause is sent at once.
INTERVAL_S = 0.05
#: The pause after a delivery that took long, as a multiple of its time: publishing takes a fraction of all time.
PAUSE_FACTOR = 10
#: How many changes are kept for readers that reconnect.
CHANGES_KEPT = 1024

_NO_CHANGES = Changes(frozenset(), frozenset())


class MessageSource(Protocol):
    """The content of the messages."""

    async def changed(
        self, state: State, at: Instant, access: AccessScope, lease_id: str | None, changes: Changes | None
    ) -> dict[str, Any] | None:
        """Return what ``changes`` changed, or everything if they are None; None if there is nothing to send."""

    def usage(self, state: State, at: Instant) -> UsageEncoder:
        """Return the encoder of the last readings."""


class EventPublisher:
    """The publisher of changes and readings to all subscribers."""

    def __init__(self, backend: Backend, source: MessageSource, limits: ServiceLimits, *, started_at: int) -> None:
        self._state = backend.state
        self._supervisor = backend.supervisor
        self._metrics = backend.metrics
        self._source = source
        self._limits = limits
        self._subscribers: set[StreamSubscriber] = set()
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._pending = _NO_CHANGES
        self._sampled = False
        self._delivery: asyncio.Task[None] | None = None
        self._not_before_s = 0.0
        #: The number of the last change.
        self.seq = started_at * SEQ_PER_MS
        self._recent: deque[tuple[int, Changes]] = deque([(self.seq, _NO_CHANGES)], CHANGES_KEPT)
        backend.notifier.subscribe(self._on_changes, partial(self._supervisor.report_failure, "events"))
        backend.telemetry.subscribe(self._on_sample)

    def __len__(self) -> int:
        return len(self._subscribers)

    # -- readers ------------------------------------------------------------------------------------------------------

    async def subscribe(
        self, access: AccessScope, lease_id: str | None, since: int | None, on_end: Any
    ) -> StreamSubscriber:
        """Return a subscriber that begins with a snapshot, or with what changed after ``since``, and misses nothing.

        ``on_end`` is called when it is disconnected. Raises :class:`~fastgpu_jupyter.errors.LimitReached`.
        """
        self._require_room(access)
        subscriber = StreamSubscriber(access, lease_id, on_end)

        async def begin(state: State, at: Instant) -> None:
            seq, missed = self.seq, self._missed(since)
            content = await self._source.changed(state, at, access, lease_id, missed)
            nothing: dict[str, Any] = {"devices": [], "leases": [], "queue": []}
            subscriber.put(_encode("snapshot" if missed is None else "changed", seq, content or nothing))

        # Counted before the state is read, or many concurrent callers would all find room.
        self._subscribers.add(subscriber)
        try:
            await self._state.read_in_steps(begin)
        except BaseException:
            self._subscribers.discard(subscriber)
            raise
        return subscriber

    def _require_room(self, access: AccessScope) -> None:
        if len(self._subscribers) >= self._limits.subscribers_max:
            raise reached(Message.of("limits.subscribers", seconds=READER_RETRY_S))
        tenants = Counter(subscriber.access.tenant for subscriber in self._subscribers)
        if tenants[access.tenant] >= self._limits.subscribers_max_per_tenant:
            raise reached(Message.of("limits.subscribers_of_tenant", seconds=READER_RETRY_S))

    def unsubscribe(self, subscriber: StreamSubscriber, cut: str | None) -> None:
        """Remove a subscriber; ``cut`` is the reason if the pool manager disconnected it."""
        self._subscribers.discard(subscriber)
        if cut:
            self._metrics.cut_subscribers[cut] += 1

    @contextmanager
    def changes_of(self, lease_id: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever the lease changes."""
        changed = asyncio.Event()
        self._waiting[lease_id].add(changed)
        try:
            yield changed
        finally:
            self._waiting[lease_id].discard(changed)
            if not self._waiting[lease_id]:
                del self._waiting[lease_id]

    def _missed(self, since: int | None) -> Changes | None:
        """Return the changes after ``since``, None if only a snapshot has them all."""
        if since is None or not self._recent[0][0] <= since <= self.seq:
            return None
        missed = _NO_CHANGES
        for seq, changes in self._recent:
            if seq > since:
                missed = missed.merged(changes)
        return None if missed.pool else missed

    # -- changes and readings -----------------------------------------------------------------------------------------

    def _on_changes(self, changes: Changes) -> None:
        self.seq += 1
        self._recent.append((self.seq, changes))
        for lease_id in changes.lease_ids & self._waiting.keys():
            for changed in self._waiting[lease_id]:
                changed.set()
        if self._subscribers:
            self._pending = self._pending.merged(changes)
            self._begin_delivery()

    def _on_sample(self) -> None:
        if self._subscribers:
            self._sampled = True
            self._begin_delivery()

    def _begin_delivery(self) -> None:
        if self._delivery is None or self._delivery.done():
            self._delivery = asyncio.get_running_loop().create_task(self._deliver_all())
            self._delivery.add_done_callback(self._delivered)

    def _delivered(self, delivery: asyncio.Task[None]) -> None:
        """After an unexpected error, in which readers may have missed something, send all a snapshot after a pause."""
        if delivery.cancelled() or (bug := delivery.exception()) is None:
            self._supervisor.report_recovery("events")
            return
        self._pending = self._pending._replace(pool=True)
        self._not_before_s = asyncio.get_running_loop().time() + RETRY_S
        self._supervisor.report_failure("events", bug)
        self._begin_delivery()

    async def _deliver_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._sampled or self._pending != _NO_CHANGES:
            await asyncio.sleep(max(0.0, self._not_before_s - loop.time()))
            began_s = loop.time()
            await self._state.read_in_steps(self._deliver)
            ended_s = loop.time()
            self._not_before_s = ended_s + max(INTERVAL_S, PAUSE_FACTOR * (ended_s - began_s))

    async def _deliver(self, state: State, at: Instant) -> None:
        # This state has every change up to ``seq`` and none after it, as the messages say. What is reported meanwhile
        # by others than the command loop comes with the next delivery.
        seq, changes, self._pending = self.seq, self._pending, _NO_CHANGES
        sampled, self._sampled = self._sampled, False
        groups: defaultdict[tuple[AccessScope, str | None], list[StreamSubscriber]] = defaultdict(list)
        for subscriber in self._subscribers:
            groups[subscriber.access, subscriber.lease_id].append(subscriber)
        usage = self._source.usage(state, at) if sampled and groups else None
        steps = Steps()
        for (access, lease_id), subscribers in groups.items():
            messages = []
            if changes != _NO_CHANGES:
                content = await self._source.changed(state, at, access, lease_id, None if changes.pool else changes)
                if content is not None:
                    messages.append(_encode("snapshot" if changes.pool else "changed", seq, content))
            if usage is not None:
                messages.append(usage.message(access, lease_id))
            for message in messages:
                for subscriber in subscribers:
                    subscriber.put(message)
            await steps.pause()


def _encode(kind: str, seq: int, content: dict[str, Any]) -> bytes:
    return encode_message({"type": kind, "seq": seq, **content})
