"""What each Jupyter server of this user says of its standby kernels, for ``jupyter fastgpu doctor``: one file a server.

A file counts as long as its server lives. It holds names of kernelspecs, variables, modules and paths, and no values.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import Message
from .locate import user_runtime_dir
from .preload import Refusal, RefusalReason
from .private_files import write_private
from .process_identity import ProcessIdentity, identify

#: More servers of one user are not read, and more rows are not written.
SERVERS_MAX, ROWS_MAX = 64, 100
_BYTES_MAX = 2**18


class ColdStarts(NamedTuple):
    """Cold starts of one kernelspec with one reason, and what differed the last time."""

    kernelspec: str
    reason: str
    times: int
    what: str


class StandbyStatus(NamedTuple):
    """The standby kernels of one Jupyter server."""

    pid: int
    waiting: int
    hits: int
    cold: tuple[ColdStarts, ...]
    refused: tuple[tuple[str, Refusal], ...]  #: with the kernelspec


def refused_sentence(kernelspec: str, refusal: Refusal) -> Message:
    """Return why a module is not imported ahead, for the log and for ``doctor``."""
    reason = Message(f"preload.{refusal.reason}")
    return Message.of(
        "standby.preload", kernelspec=kernelspec, module=refusal.module, reason=reason, detail=refusal.detail
    )


def folder() -> Path:
    """Return the folder of the files, whether or not it exists."""
    return user_runtime_dir() / "standby"


def write(status: StandbyStatus) -> None:
    """Replace what this process, the server, has said before. Raises :class:`OSError` if that fails."""
    own = identify(os.getpid())
    if own is None:
        return
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    content = {
        "server": list(own),
        "waiting": status.waiting,
        "hits": status.hits,
        "cold": status.cold[-ROWS_MAX:],
        "refused": [[kernelspec, *refusal] for kernelspec, refusal in status.refused[-ROWS_MAX:]],
    }
    write_private(folder() / f"{own.pid}.json", json.dumps(content).encode())


def remove() -> None:
    """Remove the file of this process, and those of servers that have ended."""
    for path, server, _ in _files():
        if server is None or server.pid == os.getpid() or _has_ended(server):
            with suppress(OSError):
                path.unlink()


def read() -> list[StandbyStatus]:
    """Return what the servers that live say; a server that cannot be observed counts as one that lives."""
    return [
        status for _, server, status in _files() if status is not None and server is not None and not _has_ended(server)
    ]


def _has_ended(server: ProcessIdentity) -> bool:
    try:
        return server.has_ended()
    except OSError:
        return False


def _files() -> Iterator[tuple[Path, ProcessIdentity | None, StandbyStatus | None]]:
    for path in sorted(folder().glob("*.json"))[:SERVERS_MAX]:
        try:
            with path.open("rb") as file:
                found = json.loads(file.read(_BYTES_MAX))
            server = ProcessIdentity(str(found["server"][0]), int(found["server"][1]), int(found["server"][2]))
            yield path, server, _status(server.pid, found)
        except OSError:
            continue
        except (ValueError, TypeError, LookupError):
            yield path, None, None


def _status(pid: int, found: Any) -> StandbyStatus:
    return StandbyStatus(
        pid,
        int(found["waiting"]),
        int(found["hits"]),
        tuple(ColdStarts(str(name), str(why), int(times), str(what)) for name, why, times, what in found["cold"]),
        tuple(
            (str(name), Refusal(str(module), RefusalReason(reason), str(detail)))
            for name, module, reason, detail in found["refused"]
        ),
    )
