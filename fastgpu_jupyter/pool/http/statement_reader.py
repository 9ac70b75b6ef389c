"""Requests for statements: each is made by a process of its own, one at a time, and streamed to its reader."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from ...errors import FastGPUError, HostFault, Message, by_code
from ..protocols import StateReader
from . import statement_process
from .limits import reached
from .statement_process import StatementOutcome, StatementRequest
from .statements import month_of
from .views.context import AccessScope, NameOf

#: Requests that wait while one is answered; more are refused.
WAITING_MAX = 8
RETRY_S = 10
#: How long one request may take, from its start to the end of its answer.
TIMEOUT_S = 110.0
CHUNK_BYTES = 2**16
_PACKAGE = Path(__file__).parents[3]


class StatementReader:
    """Statements from the journal in ``path``."""

    def __init__(self, path: Path, state: StateReader) -> None:
        self._path = path
        self._state = state
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def stream(self, month: str, access: AccessScope, currency: str, name_of: NameOf) -> AsyncIterator[bytes]:
        """Yield the JSON of the statements of a month within ``access``, in pieces.

        Before the first piece raises :class:`~fastgpu_jupyter.errors.InvalidRequest`,
        :class:`~fastgpu_jupyter.errors.LimitReached` if too many are requested, and what the process raised.
        """
        month_of(month)
        if self._waiting >= WAITING_MAX:
            raise reached(Message.of("statements.busy", seconds=RETRY_S))
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            names = await self._state.read(lambda state, _: {key: name_of(key) for key in state.tenants})
            now = self._state.now()
            request = StatementRequest(
                str(self._path),
                month,
                now.ms,
                now.wall_ms,
                access.tenant,
                access.uid,
                access.all_tenants,
                currency,
                names,
            )
            async with _process(request) as output, asyncio.timeout(TIMEOUT_S):
                _raise_error(await output.readline())
                while chunk := await output.read(CHUNK_BYTES):
                    yield chunk
        except TimeoutError:
            raise HostFault(Message.of("statements.timeout")) from None
        finally:
            self._turn.release()


@asynccontextmanager
async def _process(request: StatementRequest) -> AsyncIterator[asyncio.StreamReader]:
    """Start the process with its request; yield its output; end it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FASTGPU_LEASE")}
    # The package of this process, whatever is installed.
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_PACKAGE), environment.get("PYTHONPATH"))))
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            statement_process.__name__,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise HostFault(Message.of("statements.not_started", reason=error.strerror or str(error))) from error
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with suppress(OSError):
            process.stdin.write(msgspec.json.encode(request))
            await process.stdin.drain()
            process.stdin.close()
        yield process.stdout
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _raise_error(line: bytes) -> None:
    """Raise the error that the first line of the answer names, or :class:`HostFault` if there is no such line."""
    try:
        outcome = msgspec.json.decode(line, type=StatementOutcome)
    except msgspec.MsgspecError:
        raise HostFault(Message.of("statements.ended")) from None
    if outcome.code is not None:
        raise by_code().get(outcome.code, FastGPUError)(outcome.text)
