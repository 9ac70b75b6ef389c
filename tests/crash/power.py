"""What a power cut may leave of a folder, from a log of the operations on its files (see power_cut.c).

What was synced is kept. Of what was written since, any part may be lost: each sector of each write, each new length,
and all changes of names after a random one. POSIX allows this; most file systems lose less.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

CREATE, WRITE, TRUNCATE, SYNC, UNLINK, RENAME, ACKNOWLEDGED = range(1, 8)
SECTOR_BYTES = 512
_HEAD = struct.Struct("=IIQQ")


class FileOperation(NamedTuple):
    """One operation on a file, or an acknowledgement to a client."""

    kind: int
    name: str
    offset: int
    data: bytes


def read_log(log: Path) -> Iterator[FileOperation]:
    """Yield the operations in the log in order."""
    content = log.read_bytes()
    at = 0
    while at < len(content):
        kind, name_bytes, offset, data_bytes = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        name = content[at : at + name_bytes].decode()
        yield FileOperation(kind, name, offset, content[at + name_bytes : at + name_bytes + data_bytes])
        at += name_bytes + data_bytes


def acknowledge(log: Path, what: str) -> None:
    """Note in the log that ``what`` was acknowledged: a later power cut must not lose it."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, _HEAD.pack(ACKNOWLEDGED, len(what.encode()), 0, 0) + what.encode())
    os.close(file)


@dataclass(eq=False)
class _File:
    synced: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, bytes | None]] = field(default_factory=list)  #: data at an offset, or a new length


class Disk:
    """The files of one folder as the system shows them, and as they are after a power cut."""

    def __init__(self) -> None:
        self._shown: dict[str, _File] = {}
        self._safe: dict[str, _File] = {}
        self._named: list[tuple[str, _File | None]] = []  #: changes of names since the folder was synced

    def apply(self, operation: FileOperation) -> None:
        """Apply one operation."""
        match operation.kind:
            case _ if operation.kind == CREATE:
                self._name(operation.name, _File())
            case _ if operation.kind == WRITE:
                self._shown[operation.name].since.append((operation.offset, operation.data))
            case _ if operation.kind == TRUNCATE:
                self._shown[operation.name].since.append((operation.offset, None))
            case _ if operation.kind == UNLINK:
                self._name(operation.name, None)
            case _ if operation.kind == RENAME:
                file = self._shown[operation.name]
                self._name(operation.name, None)
                self._name(operation.data.decode(), file)
            case _ if operation.kind == SYNC and operation.name == ".":
                self._safe, self._named = dict(self._shown), []
            case _ if operation.kind == SYNC:
                file = self._shown[operation.name]
                for offset, data in file.since:
                    _write(file.synced, offset, data)
                file.since = []

    def _name(self, name: str, file: _File | None) -> None:
        _give(self._shown, name, file)
        self._named.append((name, file))

    def cut_power(self, rng: random.Random, folder: Path) -> None:
        """Create in ``folder`` what a power cut now leaves; ``rng`` chooses what is lost."""
        folder.mkdir(mode=0o700)
        names = dict(self._safe)
        for name, file in self._named[: rng.randint(0, len(self._named))]:
            _give(names, name, file)
        for name, file in names.items():
            content = bytearray(file.synced)
            kept = rng.choice((0.0, 0.1, 0.5, 0.9, 1.0))
            for offset, data in file.since:
                for start, part in _sectors(offset, data):
                    if rng.random() < kept:
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
