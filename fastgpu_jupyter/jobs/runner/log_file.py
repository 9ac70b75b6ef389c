"""The log of a job: what its processes print, bounded, with its beginning and its end.

A line that a progress bar draws again and again counts once: what a carriage return replaces is left out.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from ...messages import say
from ...text import printable

#: An unfinished line that is longer is written as it is.
_LINE_BYTES_MAX = 16 * 1024
TAIL_LINES, TAIL_CHARS_MAX = 3, 400
#: Sequences that move the cursor or set colours (ECMA-48), which a tail does not show.
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_])")
#: A bar of tqdm: description, percentage, bar, done/total.
_TQDM = re.compile(
    r"^(?:(?P<text>.*?): +)?\s*\d+%\|[^|]*\| *(?P<done>[\d.]+)(?P<dk>[kMGT]?)/(?P<total>[\d.]+)(?P<tk>[kMGT]?) \["
)
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_SCALE = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class BoundedLog:
    """A log file of at most ``bytes_max``; the first half of it, and at least the last quarter, are kept.

    Nothing is raised where the disk is full: :attr:`fault` says why the file is not complete, and the tail goes on.
    """

    def __init__(self, path: Path, bytes_max: int) -> None:
        self._path = path
        self._bytes_max = max(bytes_max, 4096)
        self._head_bytes = self._bytes_max // 2
        self._dropped_bytes = 0
        self._unfinished = b""
        self._redrawn = False  #: the unfinished line was drawn after a carriage return
        self._written = b""  #: of the unfinished line
        self._lines: list[str] = []
        self.fault: OSError | None = None
        self._descriptor = os.open(path, _FLAGS, 0o600)
        self.size = os.fstat(self._descriptor).st_size

    def write(self, data: bytes) -> None:
        """Add what a process has printed."""
        *lines, rest = (self._unfinished + data).split(b"\n")
        whole = [_last_drawn(line) for line in lines]
        if whole:
            ends = [self._written + whole[0], *whole[1:]][-TAIL_LINES:]
            self._redrawn, self._written = False, b""
            self._lines = [*self._lines, *map(_shown, ends)][-TAIL_LINES:]
        out = b"".join(line + b"\n" for line in whole)
        drawn = rest.rstrip(b"\r")
        if b"\r" in drawn:
            rest, self._redrawn = _last_drawn(rest) + rest[len(drawn) :], True
        if len(rest) > _LINE_BYTES_MAX:
            out, rest = out + rest, b""
        self._unfinished = rest
        self._append(out)

    def flush(self) -> None:
        """Write a line that is not finished, unless it is one that is drawn again and again."""
        if self._unfinished and not self._redrawn:
            self._append(self._unfinished)
            self._written = (self._written + self._unfinished)[-_LINE_BYTES_MAX:]
            self._unfinished = b""

    @property
    def tail(self) -> list[str]:
        """The last lines, without colours, each cut to what a list of jobs shows."""
        unfinished = _shown(self._written + _last_drawn(self._unfinished))
        return [*self._lines, *([unfinished] if unfinished else [])][-TAIL_LINES:]

    @property
    def progress(self) -> dict[str, object] | None:
        """How far a bar of tqdm in the last lines is, None where there is none."""
        for line in reversed(self.tail):
            match = _TQDM.match(line)
            if match:
                done = int(float(match["done"]) * _SCALE[match["dk"]])
                total = int(float(match["total"]) * _SCALE[match["tk"]])
                return {"done": done, "total": total, "unit": None, "text": match["text"]}
        return None

    def close(self) -> None:
        """Write the line that has no end, and close the file."""
        if self._unfinished:
            self._append(self._unfinished)
            self._unfinished = b""
        os.close(self._descriptor)

    def _append(self, data: bytes) -> None:
        if not data:
            return
        try:
            written = 0
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            self.fault = error
        self.size = os.fstat(self._descriptor).st_size
        if self.size > self._bytes_max:
            with contextlib.suppress(OSError):  # it is tried again with the next line
                self._drop_middle()

    def _drop_middle(self) -> None:
        """Write the file again with its beginning, a line that says what was left out, and its last quarter."""
        head = os.pread(self._descriptor, self._head_bytes, 0)
        if not self._dropped_bytes:
            head = head[: head.rfind(b"\n") + 1] or head
            self._head_bytes = len(head)
        tail_bytes = self._bytes_max // 4
        tail = os.pread(self._descriptor, tail_bytes, self.size - tail_bytes)
        tail = tail[tail.find(b"\n") + 1 :]
        marker_before = self._marker() if self._dropped_bytes else b""
        self._dropped_bytes += self.size - len(head) - len(marker_before) - len(tail)
        new = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(new, _FLAGS | os.O_TRUNC, 0o600)
        try:
            for part in (head, self._marker(), tail):
                os.write(descriptor, part)
            new.replace(self._path)
        except OSError:
            os.close(descriptor)
            raise
        os.close(self._descriptor)
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def _marker(self) -> bytes:
        return f"\n{say('jobs.log_shortened', left_out_bytes=self._dropped_bytes)}\n\n".encode()


def _last_drawn(line: bytes) -> bytes:
    """Return what a terminal shows of a line after carriage returns."""
    line = line.rstrip(b"\r")
    return line.rpartition(b"\r")[2]


def without_escapes(text: str) -> str:
    """Return ``text`` without the sequences that set colours or move the cursor."""
    return _ESCAPES.sub("", text)


def _shown(line: bytes) -> str:
    return printable(without_escapes(line.decode(errors="replace")))[:TAIL_CHARS_MAX]
