"""What the commands print. The other modules of the command line print through this one only.

Names of notebooks, tenants and devices come from others: each line is made printable, and a cell of a table for a
spreadsheet cannot become a formula. Characters that the terminal's encoding lacks are escaped as well. A reader that
closes its end, as ``head`` does, ends a command without a message.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..text import printable, spreadsheet_cell

#: The exit status where the reader of the output has gone, as of a program that SIGPIPE ends.
READER_GONE = 141


def write(*lines: str) -> None:
    """Print lines of text."""
    for line in lines:
        print(printable(line))


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
