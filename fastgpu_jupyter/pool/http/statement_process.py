"""The process that makes statements: ``python -m fastgpu_jupyter.pool.http.statement_process``.

It reads one request as JSON from standard input, opens the journal for reading, and writes the answer to standard
output: a line that says whether there are statements, and then these, piece by piece. It runs beside the pool manager,
with a lower priority and a limit of memory, so that a long history delays no one and can be ended at any instant.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from ...core.model.entities import Instant
from ...errors import FastGPUError, HostFault, Message, NotFound
from ...messages import text_of
from ...wire.schemas import StatementView
from ..journal.store import Journal
from .statements import statements
from .views.context import AccessScope

NICENESS = 10
MEMORY_BYTES_MAX = 4 * 2**30
#: So many lines of a statement are encoded at a time.
LINES_AT_A_TIME = 500


class StatementRequest(msgspec.Struct):
    """What the process is to make."""

    journal: str
    month: str
    until_ms: int
    until_wall_ms: int
    tenant: str
    uid: int
    all_tenants: bool
    currency: str
    names: dict[str, str]  #: display names by tenant, for those that have none in the journal


class StatementOutcome(msgspec.Struct):
    """The first line of the answer: no code if statements follow, else the code and the text of the error."""

    code: str | None = None
    text: str = ""


def answer(request: StatementRequest, out: BinaryIO) -> None:
    """Write the statements that are requested, or why there are none."""
    try:
        made = _make(request)
    except FastGPUError as error:
        out.write(msgspec.json.encode(StatementOutcome(error.code, text_of(error))) + b"\n")
        return
    except MemoryError:
        text = text_of(HostFault(Message.of("statements.too_large")))
        out.write(msgspec.json.encode(StatementOutcome(HostFault.code, text)) + b"\n")
        return
    out.write(msgspec.json.encode(StatementOutcome()) + b"\n")
    out.writelines(encoded(made))


def _make(request: StatementRequest) -> list[StatementView]:
    path = Path(request.journal)
    if not path.exists():
        raise NotFound(Message.of("statements.no_journal"))  # opening it would create it
    journal = Journal(path)
    until = Instant(request.until_ms, request.until_wall_ms)
    access = AccessScope(request.tenant, request.uid, request.all_tenants)

    def name_of(key: str) -> str:
        return request.names.get(key, key)

    try:
        return statements(journal, request.month, until, access, currency=request.currency, name_of=name_of)
    finally:
        journal.close()


def encoded(made: list[StatementView]) -> Iterator[bytes]:
    """Yield the JSON of the answer in pieces of bounded size."""
    yield b'{"statements":['
    for number, statement in enumerate(made):
        lines = statement["lines"]
        head = msgspec.json.encode({**statement, "lines": []})
        yield (b"," if number else b"") + head.removesuffix(b"]}")
        for first in range(0, len(lines), LINES_AT_A_TIME):
            piece = msgspec.json.encode(lines[first : first + LINES_AT_A_TIME])
            yield (b"," if first else b"") + piece[1:-1]
        yield b"]}"
    yield b"]}"


def main() -> None:
    """Answer the one request that comes by standard input."""
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=StatementRequest)
    try:
        answer(request, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os._exit(1)  # the pool manager wants no answer any more


if __name__ == "__main__":
    main()
