"""The first answer to each request that changes something: a repeated request gets the same one, for a day."""

from __future__ import annotations

import logging

from ...errors import StoreFault
from ..journal.answers import FirstAnswer
from ..journal.writer import JournalWriter
from .idempotency import AnsweredKeys

log = logging.getLogger("fastgpu.pool")


class FirstAnswers:
    """The first answers in the journal, for use from the event loop."""

    def __init__(self, writer: JournalWriter, keys: AnsweredKeys) -> None:
        self._writer = writer
        self._keys = keys

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
        try:
            await self._writer.run(self._writer.journal.answers.keep_first, key, answer)
        except StoreFault as fault:
            log.debug("The answer to a request was not kept: %s", fault)
