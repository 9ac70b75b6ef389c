"""What the two ends of a job's work on a host of a cluster say to each other: JSON objects, one a line.

To the host: ``{"channel": {...}}`` for the work process, ``{"signal": number}``.

From the host: ``{"output": base64}``, ``{"channel": {...}}``, ``{"progress": {...}}``, ``{"not_started": reason}``, and
at last ``{"ended": status}`` with the exit status of the work process, or the negative number of a signal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

#: Stands in a command for the number of the descriptor of the work process's channel.
CHANNEL = "{channel}"
#: The output that one line has at most. A line is passed on whole; it must have room in the buffers in between.
OUTPUT_BYTES_MAX = 3 * 2**10
_READ_BYTES = 2**16
_LINE_BYTES_MAX = 16 * 2**20


class LineReader:
    """Reads lines of JSON from a descriptor, without blocking longer than one read."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.ended = False
        self._received = b""

    def fileno(self) -> int:
        """Return the descriptor, which is readable when there is something, or the other end has gone."""
        return self.descriptor

    def read(self) -> list[dict[str, Any]]:
        """Return the objects that are there now, waiting for a part of one; what is none is left out."""
        try:
            data = os.read(self.descriptor, _READ_BYTES)
        except OSError:
            data = b""
        self.ended = not data or len(self._received) > _LINE_BYTES_MAX
        *lines, self._received = (self._received + data).split(b"\n")
        return [found for line in lines if (found := _object(line)) is not None]


def write_line(descriptor: int, message: Mapping[str, Any]) -> None:
    """Write an object as a line. Raises :class:`OSError` where the other end has gone."""
    data = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
    while data:
        data = data[os.write(descriptor, data) :]


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
