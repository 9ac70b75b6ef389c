"""The file of a Python object: its pickle, then the memory of its arrays as it is, then where each of them begins.

    pickle | padding | buffer | padding | buffer | … | lengths as JSON | length of that, 4 bytes | magic, 8 bytes

Pickle's protocol 5 hands the memory of arrays out instead of copying it, so that an array is written from, and read
into, the memory that it has. A reader hashes the whole file while it reads, and opens the pickle only if the hash is
that of the file's name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import pickle
import struct
from collections.abc import Callable
from typing import Any

from ...errors import InvalidRequest, Message, StoreFault
from .files import CHUNK_BYTES

MAGIC = b"FASTGPU1"
#: Buffers begin at multiples of this, as processors read arrays best.
ALIGNMENT = 64
#: A buffer that is smaller than this is a part of the pickle.
_BUFFER_BYTES_MIN = 4096
#: From this size on, memory comes from the system, which gives it without writing zeros to it first.
_MAPPED_BYTES_MIN = 1 << 20
_END = struct.Struct("<I8s")
#: The lengths of so many buffers fit.
_LENGTHS_BYTES_MAX = 16 << 20


def write_value(value: Any, write: Callable[[Any], Any]) -> None:
    """Pass the file of ``value`` to ``write``, in pieces. Raises :class:`InvalidRequest` for one without pickle."""
    import cloudpickle

    buffers: list[pickle.PickleBuffer] = []

    def is_in_band(buffer: pickle.PickleBuffer) -> bool:
        try:
            if buffer.raw().nbytes < _BUFFER_BYTES_MIN:
                return True
        except BufferError:  # it is not contiguous
            return True
        buffers.append(buffer)
        return False

    sink = _Sink(write)
    try:
        cloudpickle.Pickler(sink, protocol=5, buffer_callback=is_in_band).dump(value)
    except (MemoryError, OSError):  # of the disk, which is no fault of the object
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"[:300]
        raise InvalidRequest(Message.of("results.not_picklable", type=type_name(value), reason=reason)) from error
    lengths = [sink.bytes]
    for buffer in buffers:
        with buffer.raw() as memory:
            sink.pad()
            lengths.append(memory.nbytes)
            for start in range(0, memory.nbytes, CHUNK_BYTES):
                sink.write(memory[start : start + CHUNK_BYTES])
    table = json.dumps(lengths).encode()
    sink.write(table + _END.pack(len(table), MAGIC))


def read_value(descriptor: int, digest: str) -> Any:
    """Return the object in an open file. Raises :class:`StoreFault` where the file does not have that digest."""
    size = os.fstat(descriptor).st_size
    sections = [_memory(length) for length in _lengths(descriptor, size, digest)]
    checksum = hashlib.sha256()
    position = 0
    os.lseek(descriptor, 0, os.SEEK_SET)
    for section in sections:
        padding = -position % ALIGNMENT
        _skip(descriptor, checksum, padding)
        _fill(descriptor, checksum, section)
        position += padding + section.nbytes
    _skip(descriptor, checksum, size - position)
    if checksum.hexdigest() != digest:
        raise damaged(digest, "its checksum differs")
    try:
        return pickle.loads(sections[0], buffers=sections[1:])  # noqa: S301 (the user's own file, verified above)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"[:300]
        raise InvalidRequest(Message.of("results.unreadable", digest=digest[:12], reason=reason)) from error


def damaged(digest: str, reason: str) -> StoreFault:
    """Return the error for an object whose content is not what was stored."""
    return StoreFault(Message.of("results.damaged", digest=digest[:12], reason=reason))


def type_name(value: Any) -> str:
    """Return the name of the type of a value, with its module unless it is a builtin or of the notebook."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"


class _Sink:
    """Counts what is written, and fills up to the next aligned position."""

    def __init__(self, write: Callable[[Any], Any]) -> None:
        self._write = write
        self.bytes = 0

    def write(self, data: Any) -> int:
        with memoryview(data) as view:
            self._write(view)
            self.bytes += view.nbytes
            return view.nbytes

    def pad(self) -> None:
        self.write(bytes(-self.bytes % ALIGNMENT))


def _lengths(descriptor: int, size: int, digest: str) -> list[int]:
    """Return the lengths of pickle and buffers, which together are exactly the file: no more memory is reserved."""
    try:
        table_bytes, magic = _END.unpack(os.pread(descriptor, _END.size, max(0, size - _END.size)))
        table_at = size - _END.size - table_bytes
        lengths = json.loads(os.pread(descriptor, min(table_bytes, _LENGTHS_BYTES_MAX), max(0, table_at)))
    except (OSError, ValueError, struct.error) as error:
        raise damaged(digest, str(error)) from None
    if magic != MAGIC or not isinstance(lengths, list) or not lengths:
        raise damaged(digest, "it is no object of this store")
    position = 0
    for length in lengths:
        if not isinstance(length, int) or length < 0:
            raise damaged(digest, "a part has no length")
        position += -position % ALIGNMENT + length
    if position != table_at:
        raise damaged(digest, "its parts are not as long as the file")
    return lengths


def _memory(length: int) -> memoryview:
    """Return writable memory of that size, of which nothing has been touched yet where it is large."""
    if length < _MAPPED_BYTES_MIN:
        return memoryview(bytearray(length))
    mapped = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # the kernel was built without it
            mapped.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(mapped)


def _fill(descriptor: int, checksum: Any, section: memoryview) -> None:
    """Read ``section`` and hash it, a chunk at a time while it is in the processor's cache."""
    done = 0
    while done < section.nbytes:
        count = os.readv(descriptor, [section[done : done + CHUNK_BYTES]])
        if not count:
            return  # the checksum will differ
        checksum.update(section[done : done + count])
        done += count


def _skip(descriptor: int, checksum: Any, count: int) -> None:
    while count > 0 and (data := os.read(descriptor, min(count, CHUNK_BYTES))):
        checksum.update(data)
        count -= len(data)
