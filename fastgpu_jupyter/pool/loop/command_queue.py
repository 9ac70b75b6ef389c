"""The queue of commands: every caller and every service submits its commands here, and the command loop takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

from ...core.model.commands import Command
from ...core.model.entities import Instant, State
from ...errors import FastGPUError, LimitReached, StoreFault
from ..journal.answers import FirstAnswer
from ..protocols import Settling

T = TypeVar("T")

#: Commands that may be queued; beyond it callers are refused and may try again.
COMMANDS_MAX = 10_000
#: Commands that share one write.
BATCH_MAX = 256
#: The pause of :meth:`CommandQueue.submit_until_durable` between two tries.
RETRY_S = 1.0

#: Makes a caller's answer from the durable state and the id of the lease that its command was about.
View = Callable[[State, Instant, str], Any]


class QueuedCommand(NamedTuple):
    """A command with the future of its caller. ``key`` makes a repeated command find the first one's answer."""

    command: Command
    key: str | None
    done: asyncio.Future[Any]
    #: Raises if the caller may not submit the command.
    allowed: Callable[[State], object] | None = None
    #: Makes the answer; without it the answer is the id of the lease.
    view: View | None = None
    settling: Settling | None = None

    def require_allowed(self, state: State) -> None:
        """Raise what ``allowed`` raises."""
        if self.allowed is not None:
            self.allowed(state)

    def waits(self, state: State, lease_id: str | None) -> bool:
        """Return whether the answer waits for the effect of the command."""
        return self.settling is not None and lease_id is not None and not self.settling.is_settled(state, lease_id)

    def make_answer(self, state: State, at: Instant, lease_id: str | None) -> Answer:
        """Return the answer to the caller from ``state``, the one after the command."""
        if self.view is None or lease_id is None:
            return Answer(self, lease_id, lease_id)
        try:
            return Answer(self, lease_id, self.view(state, at, lease_id))
        except Exception as error:  # noqa: BLE001 (an error of a view concerns its caller only)
            return Answer(self, lease_id, error=error)

    def answer(self, state: State, at: Instant, lease_id: str | None) -> None:
        """Answer the caller from ``state``, the one after the command."""
        self.make_answer(state, at, lease_id).send()

    def refuse(self, why: FastGPUError) -> None:
        """Answer the caller with an error."""
        if not self.done.done():
            self.done.set_exception(why)


class Answer(NamedTuple):
    """What a caller gets: a value, or an error of its view."""

    call: QueuedCommand
    lease_id: str | None
    value: Any = None
    error: Exception | None = None

    @property
    def first(self) -> FirstAnswer | None:
        """The answer, if it is one that is kept for the call's key."""
        return self.value if self.call.key is not None and isinstance(self.value, FirstAnswer) else None

    def send(self) -> None:
        """Answer the caller. One that gave up gets nothing."""
        if self.call.done.done():
            return
        if self.error is not None:
            self.call.done.set_exception(self.error)
        else:
            self.call.done.set_result(self.value)


class CommandQueue:
    """A bounded queue of commands, for the event loop's thread."""

    def __init__(self) -> None:
        self._calls: asyncio.Queue[QueuedCommand] = asyncio.Queue(COMMANDS_MAX)

    async def submit(self, command: Command, key: str | None = None) -> str | None:
        """Return the id of the lease that ``command`` was about, once its events are durable.

        A ``key`` that was answered before gives the same answer and does nothing. Raises the refusal of ``decide``,
        :class:`StoreFault` if the disk failed, and :class:`LimitReached` if the queue is full.
        """
        done: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        return cast("str | None", await self._put(QueuedCommand(command, key, done)))

    async def submit_and_read(
        self,
        command: Command,
        key: str | None,
        view: Callable[[State, Instant, str], T],
        allowed: Callable[[State], object] | None = None,
    ) -> T:
        """Return what ``view`` makes of the durable state after ``command``; otherwise like :meth:`submit`.

        A :class:`FirstAnswer` is kept for ``key`` in the same write. Raises what ``allowed`` raises, before anything is
        decided.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        return cast(T, await self._put(QueuedCommand(command, key, done, allowed, view)))

    async def submit_and_settle(
        self, command: Command, key: str | None, view: Callable[[State, Instant, str], T], settling: Settling
    ) -> T | str:
        """Return what ``view`` makes of the durable state in which the effect of ``command`` is settled.

        The id of the lease is returned if that takes too long; otherwise like :meth:`submit_and_read`.
        """
        done: asyncio.Future[T | str] = asyncio.get_running_loop().create_future()
        return cast("T | str", await self._put(QueuedCommand(command, key, done, None, view, settling)))

    async def submit_until_durable(self, command: Command) -> None:
        """Submit ``command`` again and again while the disk or the queue is full."""
        while True:
            try:
                await self.submit(command)
                return
            except (StoreFault, LimitReached):
                await asyncio.sleep(RETRY_S)

    async def next_batch(self) -> list[QueuedCommand]:
        """Return the calls that are queued, at least one and at most :data:`BATCH_MAX`; waits for the first."""
        batch = [await self._calls.get()]
        while len(batch) < BATCH_MAX and not self._calls.empty():
            batch.append(self._calls.get_nowait())
        return batch

    async def _put(self, call: QueuedCommand) -> Any:
        try:
            self._calls.put_nowait(call)
        except asyncio.QueueFull:
            raise LimitReached("The pool has more to do than it can queue; try again in a few seconds.") from None
        return await call.done
