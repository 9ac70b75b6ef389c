"""What a power cut may leave of a folder, from a log of what was done to its files (see power_cut.c).

What was synced is there. Of what was written since, any part may be: each sector of each write is kept or lost by
itself, a new length is or is not, and of the names that were given or taken since the folder was synced a first part
is. This is as much as POSIX allows, and more than most file systems do.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

CREATE, WRITE, TRUNCATE, SYNC, UNLINK, RENAME, TOLD = range(1, 8)
SECTOR_BYTES = 512
_HEAD = struct.Struct("=IIQQ")


class Done(NamedTuple):
    """One thing that was done, or that somebody was told."""

    kind: int
    name: str
    offset: int
    data: bytes


def done(log: Path) -> Iterator[Done]:
    """What is in the log, in order."""
    content = log.read_bytes()
    at = 0
    while at < len(content):
        kind, name_bytes, offset, data_bytes = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        name = content[at : at + name_bytes].decode()
        yield Done(kind, name, offset, content[at + name_bytes : at + name_bytes + data_bytes])
        at += name_bytes + data_bytes


def tell(log: Path, what: str) -> None:
    """Put into the log that somebody was told ``what``: from here on it must survive."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, _HEAD.pack(TOLD, len(what.encode()), 0, 0) + what.encode())
    os.close(file)


@dataclass(eq=False)
class _File:
    synced: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, bytes | None]] = field(default_factory=list)  #: data at an offset, or a new length


class Disk:
    """The files of one folder as the system shows them, and what of it is safe."""

    def __init__(self) -> None:
        self._shown: dict[str, _File] = {}
        self._safe: dict[str, _File] = {}
        self._named: list[tuple[str, _File | None]] = []  #: since the folder was synced

    def do(self, one: Done) -> None:
        """Go on by one."""
        match one.kind:
            case _ if one.kind == CREATE:
                self._name(one.name, _File())
            case _ if one.kind == WRITE:
                self._shown[one.name].since.append((one.offset, one.data))
            case _ if one.kind == TRUNCATE:
                self._shown[one.name].since.append((one.offset, None))
            case _ if one.kind == UNLINK:
                self._name(one.name, None)
            case _ if one.kind == RENAME:
                file = self._shown[one.name]
                self._name(one.name, None)
                self._name(one.data.decode(), file)
            case _ if one.kind == SYNC and one.name == ".":
                self._safe, self._named = dict(self._shown), []
            case _ if one.kind == SYNC:
                file = self._shown[one.name]
                for offset, data in file.since:
                    _write(file.synced, offset, data)
                file.since = []

    def _name(self, name: str, file: _File | None) -> None:
        _give(self._shown, name, file)
        self._named.append((name, file))

    def cut(self, drawn: random.Random, folder: Path) -> None:
        """Make in ``folder`` what is there after a power cut now; what is lost is drawn."""
        folder.mkdir(mode=0o700)
        names = dict(self._safe)
        for name, file in self._named[: drawn.randint(0, len(self._named))]:
            _give(names, name, file)
        for name, file in names.items():
            content = bytearray(file.synced)
            kept = drawn.choice((0.0, 0.1, 0.5, 0.9, 1.0))
            for offset, data in file.since:
                for start, part in _sectors(offset, data):
                    if drawn.random() < kept:
                        _write(content, start, part)
            (folder / name).write_bytes(content)


def _give(names: dict[str, _File], name: str, file: _File | None) -> None:
    if file is None:
        names.pop(name, None)
    else:
        names[name] = file


def _sectors(offset: int, data: bytes | None) -> Iterator[tuple[int, bytes | None]]:
    if data is None:
        yield offset, None
        return
    start = 0
    while start < len(data):
        end = start + SECTOR_BYTES - (offset + start) % SECTOR_BYTES
        yield offset + start, data[start:end]
        start = end


def _write(content: bytearray, offset: int, data: bytes | None) -> None:
    end = offset + len(data or b"")
    if data is None:
        del content[offset:]
    if end > len(content):
        content.extend(bytes(end - len(content)))
    if data is not None:
        content[offset:end] = data
