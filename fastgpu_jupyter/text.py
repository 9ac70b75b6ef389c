"""Text from users and devices, made safe to show: on one line, with nothing that moves a cursor or reverses letters."""

from __future__ import annotations

import re
from typing import Any
from unicodedata import combining, east_asian_width

#: A blank, a wide letter, or a word; with the punctuation after it, which does not begin a line.
_UNBREAKABLE = re.compile(
    r"\s|[\u2e80-\u9fff][\u3001\u3002\uff00-\uff65]*|[^\s\u2e80-\uff65]+[\u3001\u3002\uff00-\uff65]*|."
)
#: A cell that begins with one of these is a formula for a spreadsheet; the last four are their full-width forms.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def printable(text: str) -> str:
    """Return ``text`` with control characters, line breaks, bidirectional overrides and half characters escaped.

    Letters of all languages stay as they are. What :meth:`str.isprintable` accepts does not change.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def shortened(text: str, chars_max: int) -> str:
    """Return the end of ``text``, which of a path is the name of the file, in at most ``chars_max`` characters."""
    return text if len(text) <= chars_max else f"…{text[1 - chars_max :]}"


def cut(text: str, columns_max: int) -> str:
    """Return the beginning of ``text`` that fits so many columns of a terminal, with ``…`` where it does not end."""
    if display_width(text) <= columns_max:
        return text
    while text and display_width(text) > columns_max - 1:
        text = text[: max(columns_max - 1, 0)] if len(text) > columns_max else text[:-1]
    return f"{text}…" if columns_max > 0 else ""


def display_width(text: str) -> int:
    """Return how many columns of a terminal ``text`` takes: two for a wide letter, none for a combining mark."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def padded(text: str, columns: int) -> str:
    """Return ``text`` with blanks after it, so that it takes at least that many columns of a terminal."""
    return text + " " * max(0, columns - display_width(text))


def wrapped(text: str, columns: int) -> list[str]:
    """Return ``text`` in lines of at most that many columns of a terminal; what has no place to break stays whole."""
    lines, line, width = [], "", 0
    for piece in _UNBREAKABLE.findall(text):
        piece_width = display_width(piece)
        if line and width + piece_width > columns:
            lines.append(line.rstrip())
            line, width = "", 0
        if line or not piece.isspace():
            line, width = line + piece, width + piece_width
    return [*lines, line.rstrip()]


def spreadsheet_cell(value: Any) -> Any:
    """Return a value so that a spreadsheet shows a text as it is: no text becomes a formula."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
