"""The event stream: each subscriber has a bounded queue of its own, and one that does not read is cut.

Messages are made once per tenant, not once per subscriber, and changes that come in quick succession make one message.
A reading is encoded once, whoever reads it: what a tenant sees is put together from the same bytes.
What changed is remembered for a while, by id: a reader that was away and names the last ``seq`` it saw gets what it
missed as one change, or begins anew with a snapshot where that is too long ago.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec

from ...core.model.entities import Instant, Lease, State
from ..devices.driver import DeviceUsage, Sample
from ..protocols import Changes
from ..supervisor import RETRY_S
from .backend import Backend
from .limits import READER_RETRY_S, ServiceLimits, reached
from .views.context import UNKNOWN_USAGE, AccessScope
from .views.device import device_reading
from .views.lease import lease_reading

#: Messages, and bytes of them, that may wait for one subscriber; a reader that is further behind is gone or stuck.
BACKLOG_MAX = 256
BACKLOG_BYTES_MAX = 8 * 2**20
KEEPALIVE_S = 10.0
#: The shortest time between two messages about changes; the first after a pause goes out at once.
INTERVAL_S = 0.05
#: Changes that are remembered for readers who come back.
REMEMBER_CHANGES = 1024

MessageMaker = Callable[[State, Instant, AccessScope, "str | None", "Changes | None"], "dict[str, Any] | None"]
_NOTHING = Changes(frozenset(), frozenset())
_ENCODER = msgspec.json.Encoder()


class UsageEncoder:
    """What was used, as the bytes that each audience is sent."""

    def __init__(self, state: State, at: Instant, sample: Sample) -> None:
        self._state, self._at = state, at
        self._devices = _ENCODER.encode([device_reading(name, usage) for name, usage in sample.devices.items()])
        self._leases = {
            lease_id: self._encode(lease, usage)
            for lease_id, usage in sample.leases.items()
            if (lease := state.leases.get(lease_id)) is not None
        }

    def _encode(self, lease: Lease, usage: DeviceUsage) -> bytes:
        return _ENCODER.encode(lease_reading(lease, self._at, usage))

    def line(self, access: AccessScope, lease_id: str | None) -> bytes:
        """The message for who sees what ``access`` does: of all its leases, or of one."""
        wanted = self._leases if lease_id is None else [lease_id]
        leases = []
        for one in wanted:
            lease = self._state.leases.get(one)
            if lease is not None and access.includes(lease):  # one that waits, or is parked, uses nothing
                leases.append(self._leases.get(one) or self._encode(lease, UNKNOWN_USAGE))
        return b'{"type":"usage","devices":%b,"leases":[%b]}\n' % (self._devices, b",".join(leases))


class StreamSubscriber:
    """One reader of the stream: all of a tenant's messages, or those of one lease."""

    def __init__(self, access: AccessScope, lease_id: str | None, on_end: Callable[[], None]) -> None:
        self.access = access
        self.lease_id = lease_id
        self.ended: str | None = None  #: why nothing more is sent: ``left`` or ``behind``
        self._on_end = on_end
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._news: asyncio.Future[None] | None = None  #: somebody waits

    def put(self, message: bytes) -> None:
        """Queue ``message``; ends the subscriber where it does not keep up."""
        if self.ended:
            return
        full = self._messages and self._bytes + len(message) > BACKLOG_BYTES_MAX
        if full or len(self._messages) >= BACKLOG_MAX:
            self.end("behind")
            return
        self._messages.append(message)
        self._bytes += len(message)
        _wake(self._news)

    def end(self, why: str) -> None:
        """Send nothing more, and let go of what waits."""
        if self.ended is None:
            self.ended = why
            self._messages.clear()
            _wake(self._news)
            self._on_end()

    async def next(self) -> bytes | None:
        """The next message, a keepalive where there is none for a while, ``None`` once it is over."""
        if not self._messages and not self.ended:
            await self._wait()
        if self.ended:
            return None
        if not self._messages:
            return line({"type": "keepalive"})
        message = self._messages.popleft()
        self._bytes -= len(message)
        return message

    async def _wait(self) -> None:
        """For something to say, or long enough; without the task that ``wait_for`` would make each second."""
        loop = asyncio.get_running_loop()
        self._news = loop.create_future()
        silence = loop.call_later(KEEPALIVE_S, _wake, self._news)
        try:
            await self._news
        finally:
            silence.cancel()


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


class EventPublisher:
    """The publisher of changes and readings to all subscribers."""

    def __init__(
        self,
        backend: Backend,
        changed: MessageMaker,
        usage: Callable[[State, Instant], UsageEncoder],
        limits: ServiceLimits,
        *,
        first_seq: int,
    ) -> None:
        self._state = backend.state
        self._supervisor = backend.supervisor
        self._metrics = backend.metrics
        self._changed = changed
        self._usage = usage
        self._limits = limits
        self._subscribers: set[StreamSubscriber] = set()
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._pending = _NOTHING
        self._sampled = False
        self._delivery: asyncio.Task[None] | None = None
        self._not_before_s = 0.0
        #: Counts changes. It begins where no earlier pool manager can have been, so that no number means two things.
        self.seq = first_seq
        self._recent: deque[tuple[int, Changes]] = deque([(first_seq, _NOTHING)], REMEMBER_CHANGES)
        backend.notifier.subscribe(self._on_changes, partial(self._supervisor.report_failure, "events"))
        backend.telemetry.subscribe(self._on_sample)

    def __len__(self) -> int:
        return len(self._subscribers)

    # -- readers ------------------------------------------------------------------------------------------------------

    async def subscribe(
        self, access: AccessScope, lease_id: str | None, since: int | None, on_end: Callable[[], None]
    ) -> StreamSubscriber:
        """A subscriber that begins with a snapshot, or with what changed after ``since``, and misses nothing after.

        ``on_end`` is called when it is cut. Raises :class:`~fastgpu_jupyter.errors.LimitReached`.
        """
        self._require_room(access)
        subscriber = StreamSubscriber(access, lease_id, on_end)

        def begin(state: State, at: Instant) -> None:
            missed = self._missed(since)
            first = self._changed(state, at, access, lease_id, missed)
            kind = "snapshot" if missed is None else "changed"
            nothing = {"seq": self.seq, "devices": [], "leases": [], "queue": []}
            subscriber.put(line({"type": kind, **(first or nothing)}))

        # Counted before the state can be read, or many who come at once would all find room.
        self._subscribers.add(subscriber)
        try:
            await self._state.read(begin)
        except BaseException:
            self._subscribers.discard(subscriber)
            raise
        return subscriber

    def _require_room(self, access: AccessScope) -> None:
        if len(self._subscribers) >= self._limits.subscribers_max:
            raise reached("As many readers follow this pool as it serves; close some", READER_RETRY_S)
        tenants = Counter(subscriber.access.tenant for subscriber in self._subscribers)
        if tenants[access.tenant] >= self._limits.subscribers_max_per_tenant:
            raise reached("You have as many readers of events as one user may have; close some", READER_RETRY_S)

    def unsubscribe(self, subscriber: StreamSubscriber, cut: str | None) -> None:
        """Send it nothing more; ``cut`` says why, where that was not its own wish."""
        self._subscribers.discard(subscriber)
        if cut:
            self._metrics.cut_subscribers[cut] += 1

    @contextmanager
    def changes_of(self, lease_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the lease changes."""
        changed = asyncio.Event()
        self._waiting[lease_id].add(changed)
        try:
            yield changed
        finally:
            self._waiting[lease_id].discard(changed)
            if not self._waiting[lease_id]:
                del self._waiting[lease_id]

    def _missed(self, since: int | None) -> Changes | None:
        """What changed after ``since``, or ``None`` where a snapshot is needed to know."""
        if since is None or not self._recent[0][0] <= since <= self.seq:
            return None
        missed = _NOTHING
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
        """After a bug readers may have missed something: all of them begin anew, after a pause."""
        if delivery.cancelled() or (bug := delivery.exception()) is None:
            self._supervisor.report_recovery("events")
            return
        self._pending = self._pending._replace(pool=True)
        self._not_before_s = asyncio.get_running_loop().time() + RETRY_S
        self._supervisor.report_failure("events", bug)
        self._begin_delivery()

    async def _deliver_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._sampled or self._pending != _NOTHING:
            await asyncio.sleep(max(0.0, self._not_before_s - loop.time()))
            await self._state.read(self._deliver)
            self._not_before_s = loop.time() + INTERVAL_S

    def _deliver(self, state: State, at: Instant) -> None:
        # The state that is read here has every change up to ``seq`` and none beyond: what is sent says so.
        changes, self._pending = self._pending, _NOTHING
        sampled, self._sampled = self._sampled, False
        groups: defaultdict[tuple[AccessScope, str | None], list[StreamSubscriber]] = defaultdict(list)
        for subscriber in self._subscribers:
            groups[subscriber.access, subscriber.lease_id].append(subscriber)
        usage = self._usage(state, at) if sampled and groups else None
        for (access, lease_id), subscribers in groups.items():
            messages = []
            if changes.pool:
                messages.append(("snapshot", self._changed(state, at, access, lease_id, None)))
            elif changes != _NOTHING:
                messages.append(("changed", self._changed(state, at, access, lease_id, changes)))
            lines = [line({"type": kind, **message}) for kind, message in messages if message is not None]
            if usage is not None:
                lines.append(usage.line(access, lease_id))
            for sent in lines:
                for subscriber in subscribers:
                    subscriber.put(sent)


def line(message: dict[str, Any]) -> bytes:
    """One message of the stream as it is sent."""
    return msgspec.json.encode(message) + b"\n"
