"""The pool's log: a line for each record, for people or as JSON for programs.

Whatever callers can put into a record cannot harm the log: it is cut to a limit, and characters that would begin a
line, move the cursor or reverse the text are escaped. No secret is logged; what a client sent in a malformed head is
not quoted either, because a token could be in it.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

#: Of the text of a record and of a traceback; a traceback's beginning is cut, its end says what happened.
TEXT_CHARS_MAX = 2_000
TRACEBACK_CHARS_MAX = 10_000
_CUT = "..."


def printable(text: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    """``text`` on one line, at most that long, with everything escaped that is not plainly visible."""
    cut = text if len(text) <= chars_max else text[: chars_max - len(_CUT)] + _CUT
    if cut.isprintable():
        return cut
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in cut)
    return escaped if len(escaped) <= chars_max else escaped[: chars_max - len(_CUT)] + _CUT


def _traceback(record: logging.LogRecord) -> list[str]:
    if not record.exc_info:
        return []
    text = logging.Formatter().formatException(record.exc_info)[-TRACEBACK_CHARS_MAX:]
    return [printable(line) for line in text.splitlines()]


class HumanFormatter(logging.Formatter):
    """Time, level and text; the lines of a traceback are indented, so that none passes for a record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as it is written."""
        head = f"{self.formatTime(record)} {record.levelname} {printable(_text(record))}"
        return "\n".join([head, *(f"    {line}" for line in _traceback(record))])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as it is written."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, object] = {
            "time": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": printable(_text(record)),
        }
        if lines := _traceback(record):
            fields["traceback"] = lines
        return json.dumps(fields, ensure_ascii=False)


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return str(record.msg)  # a wrong number of arguments must not cost the record


def without_what_clients_sent(record: logging.LogRecord) -> bool:
    """For the web server's loggers: say that a request was malformed, not what was in it. A filter; keeps all."""
    if isinstance(record.msg, str) and record.msg.startswith(("Malformed HTTP", "Invalid ")):
        record.msg, record.args = "A client sent a malformed request; it was refused.", ()
    return True
