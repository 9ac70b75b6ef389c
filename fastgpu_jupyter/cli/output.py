"""What the commands print. The other modules of the command line print through this one only.

Names of notebooks, tenants and devices come from others: each line is made printable, and a cell of a table for a
spreadsheet cannot become a formula. Characters that the terminal's encoding lacks are escaped as well. A reader that
closes its end, as ``head`` does, ends a command without a message.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..text import cut, display_width, printable, spreadsheet_cell

#: The exit status where the reader of the output has gone, as of a program that SIGPIPE ends.
READER_GONE = 141


def write(*lines: str) -> None:
    """Print lines of text."""
    for line in lines:
        print(printable(line))


def write_text(text: str) -> None:
    """Print a part of what the user's own program has written, as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def write_json(value: Any, indent: int | None = None) -> None:
    """Print a value as JSON, in ASCII."""
    print(json.dumps(value, indent=indent))


def write_csv(rows: Iterable[Sequence[Any]]) -> None:
    """Print rows as CSV with texts that a spreadsheet shows as they are."""
    csv.writer(sys.stdout).writerows([spreadsheet_cell(value) for value in row] for row in rows)


def write_error(command: str, sentence: str) -> None:
    """Print what went wrong to standard error, with the command in front."""
    print(f"{command}: {printable(sentence)}", file=sys.stderr)


def write_progress(text: str) -> None:
    """Replace the current line of standard error, where that is a terminal; nothing for an empty text ends it."""
    if sys.stderr.isatty():
        print(f"\r{printable(text)} " if text else "", end="" if text else "\n", file=sys.stderr, flush=True)


class StatusLine:
    """A line of standard error with the state of something that goes on; ``name`` is in front of it.

    A terminal shows it in place. Elsewhere, as in the log of a service, a line is written for each change of the state,
    and none for what passes, such as the time.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._state = ""
        self._in_place = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._shown = False

    def show(self, state: str, passing: str = "") -> None:
        """Show a state, and what passes meanwhile."""
        if self._in_place:
            self._write(f"\r\x1b[K{self._fitted(printable(f'{self._name}: {state}'), printable(passing))}")
            self._shown = True
        elif state != self._state:
            self._write(printable(f"{self._name}: {state}") + "\n")
        self._state = state

    @staticmethod
    def _fitted(state: str, passing: str) -> str:
        """Return one line of the terminal: the state is cut where both have no room."""
        columns = shutil.get_terminal_size().columns - 1
        return cut(f"{cut(state, max(columns // 2, columns - display_width(passing) - 1))} {passing}".rstrip(), columns)

    def clear(self) -> None:
        """Remove the line from a terminal."""
        if self._shown:
            self._write("\r\x1b[K")
        self._shown, self._state = False, ""

    def say(self, sentence: str) -> None:
        """Write a sentence that stays, on a line of its own."""
        self.clear()
        self._write(printable(f"{self._name}: {sentence}") + "\n")

    def _write(self, text: str) -> None:
        # The reader may have gone, or the terminal: what is supervised goes on.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(text)
            sys.stderr.flush()


def can_show(encoding: str, text: str) -> bool:
    """Return whether ``text`` has an encoding in what a terminal or a file takes."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def run(command: Callable[[], None]) -> None:
    """Run a command whose output any terminal can show and any reader can leave.

    Raises :class:`SystemExit` with :data:`READER_GONE` where the reader of standard output has gone.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            command()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes the stream once more as it ends, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(READER_GONE)
