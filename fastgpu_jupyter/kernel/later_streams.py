"""Standard streams for imports that come before the kernel's own streams exist, and whose modules may keep them.

A logging handler that a module creates while it is imported writes to the stream that was ``sys.stderr`` then. In a
kernel that is the stream which sends to the notebook. Until there is one, what is written is recorded.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class LaterStream(io.TextIOBase):
    """A stream that records what is written to it, and is the kernel's own from :meth:`become` on."""

    encoding = "UTF-8"

    def __init__(self) -> None:
        self._stream: Any = io.StringIO()
        self._is_recording = True

    def become(self, stream: Any) -> None:
        """Pass everything on to ``stream`` from now on."""
        self._stream, self._is_recording = stream, False

    @property
    def recorded(self) -> str:
        """Return what was written before :meth:`become`."""
        return str(self._stream.getvalue()) if self._is_recording else ""

    def write(self, text: str) -> int:
        """Write or record ``text``."""
        return int(self._stream.write(text) or 0)

    def flush(self) -> None:
        """Flush the kernel's stream."""
        self._stream.flush()

    def fileno(self) -> int:
        """Return the descriptor of the kernel's stream; raises :class:`io.UnsupportedOperation` if it has none."""
        return int(self._stream.fileno())

    def isatty(self) -> bool:
        """Return that it is no terminal."""
        return False

    def writable(self) -> bool:
        """Return that it can be written to."""
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_later: dict[str, LaterStream] = {}


@contextmanager
def recorded_streams() -> Iterator[tuple[LaterStream, LaterStream]]:
    """Let ``sys.stdout`` and ``sys.stderr`` be streams that record, inside the context; always the same two."""
    streams = _later.setdefault("stdout", LaterStream()), _later.setdefault("stderr", LaterStream())
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = streams
    try:
        yield streams
    finally:
        sys.stdout, sys.stderr = before


def become_the_kernels() -> None:
    """Let the streams that modules have kept be those which the kernel has now."""
    while _later:
        name, stream = _later.popitem()
        stream.become(getattr(sys, name))
