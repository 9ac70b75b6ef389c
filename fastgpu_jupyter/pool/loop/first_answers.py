"""The first answer to each request that changes something: a repeated request gets the same one, for a day."""

from __future__ import annotations

import asyncio
import logging

from ...errors import StoreFault
from ..journal.answers import FirstAnswer
from ..journal.writer import JournalWriter
from .idempotency import AnsweredKeys

log = logging.getLogger("fastgpu.pool")


class _Batch:
    """Answers that share one write."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, FirstAnswer]] = []
        self.written: asyncio.Future[None] | None = None


class FirstAnswers:
    """The first answers in the journal, for use from the event loop."""

    def __init__(self, writer: JournalWriter, keys: AnsweredKeys) -> None:
        self._writer = writer
        self._keys = keys
        self._batch = _Batch()
        self._writing = asyncio.Lock()

    async def find(self, key: str) -> FirstAnswer | None:
        """Return the first answer to the request with ``key``, or ``None`` if there is none."""
        if self._keys.find(key) is None:
            return None
        return await self._writer.run(self._writer.journal.answers.first, key)

    async def keep(self, key: str, answer: FirstAnswer) -> None:
        """Keep the answer to a request that was carried out, before it is sent; an earlier one stays.

        On a full disk it is not kept: a repeated request is then answered with what there is at that time.
        """
        if self._keys.find(key) is None:
            return
        batch = self._batch
        batch.answers.append((key, answer))
        if batch.written is None:
            batch.written = asyncio.ensure_future(self._write(batch))
        await asyncio.shield(batch.written)  # it goes on for the others if one caller disconnects

    async def _write(self, batch: _Batch) -> None:
        """Write ``batch`` behind the one before, while which it grows."""
        async with self._writing:
            self._batch = _Batch()
            try:
                await self._writer.run(self._writer.journal.answers.keep_first, batch.answers)
            except StoreFault as fault:
                log.debug("Answers to requests were not kept: %s", fault)
