"""The pool's log: one line for each record, as text for people or as JSON for programs.

What callers put into a record cannot harm the log: it is cut to a limit, and characters that would begin a line, move
the cursor or reverse the text are escaped. No secret is logged. The content of a malformed request is not quoted: a
token could be in it.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from ..text import printable

#: The log file is replaced at this size; one older file is kept.
LOG_BYTES_MAX = 2 * 2**20
#: Limits of the text of a record and of a traceback. The beginning of a traceback is cut: its end says what happened.
TEXT_CHARS_MAX = 2_000
TRACEBACK_CHARS_MAX = 10_000
_CUT = "..."
#: So many records of one kind are written in a period; what fails again and again must not fill the disk.
REPETITIONS_MAX = 20
REPETITION_PERIOD_S = 10.0
KIND_CHARS = 200


def one_line(text: str) -> str:
    """Return ``text`` on one line with invisible characters escaped, cut to :data:`TEXT_CHARS_MAX`."""
    escaped = printable(text[: TEXT_CHARS_MAX + 1])
    return escaped if len(escaped) <= TEXT_CHARS_MAX else escaped[: TEXT_CHARS_MAX - len(_CUT)] + _CUT


def _traceback(record: logging.LogRecord) -> list[str]:
    if not record.exc_info:
        return []
    text = logging.Formatter().formatException(record.exc_info)[-TRACEBACK_CHARS_MAX:]
    return [one_line(line) for line in text.splitlines()]


class HumanFormatter(logging.Formatter):
    """A formatter for people: time, level and text; traceback lines are indented, so that none looks like a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        head = f"{self.formatTime(record)} {record.levelname} {one_line(_text(record))}"
        return "\n".join([head, *(f"    {line}" for line in _traceback(record))])


class JsonFormatter(logging.Formatter):
    """A formatter for programs: one JSON object a line, with time, level, logger, message and traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, object] = {
            "time": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": one_line(_text(record)),
        }
        if lines := _traceback(record):
            fields["traceback"] = lines
        return json.dumps(fields, ensure_ascii=False)


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return str(record.msg)  # a wrong number of arguments must not cost the record


def remove_request_content(record: logging.LogRecord) -> bool:
    """Replace the content of a malformed request in a record of the web server; a filter that keeps all records."""
    if isinstance(record.msg, str) and record.msg.startswith(("Malformed HTTP", "Invalid ")):
        record.msg, record.args = "A client sent a malformed request; it was refused.", ()
    return True


class RepetitionFilter(logging.Filter):
    """A filter that leaves out records of one kind beyond a number in each period, and then says how many.

    Records are of one kind if they come from one logger with one level and one text before its arguments.
    """

    def __init__(self) -> None:
        super().__init__()
        self._began_s = time.monotonic()
        self._counts: Counter[tuple[str, int, str]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is written."""
        if record.levelno <= logging.DEBUG:
            return True
        now_s = time.monotonic()
        kind = record.name, record.levelno, str(record.msg)[:KIND_CHARS]
        if now_s - self._began_s > REPETITION_PERIOD_S:
            left_out = self._counts[kind] - REPETITIONS_MAX
            self._began_s, self._counts = now_s, Counter()
            if left_out > 0:
                record.msg, record.args = f"{_text(record)} ({left_out} more like this were left out)", ()
        self._counts[kind] += 1
        return self._counts[kind] <= REPETITIONS_MAX


def configure_logging(level: int, file: Path | None, *, as_json: bool) -> None:
    """Write the log of FastGPU, asyncio and tornado to ``file``, or to standard error without one."""
    handler: logging.Handler = logging.StreamHandler()
    if file is not None:
        handler = RotatingFileHandler(
            file, maxBytes=LOG_BYTES_MAX, backupCount=1, encoding="utf-8", errors="backslashreplace"
        )
    handler.addFilter(RepetitionFilter())
    handler.setFormatter(JsonFormatter() if as_json else HumanFormatter())
    logger = logging.getLogger("fastgpu")
    logger.setLevel(level)
    logger.addHandler(handler)
    for name in ("asyncio", "tornado"):
        logging.getLogger(name).addHandler(handler)
        if level <= logging.DEBUG:
            logging.getLogger(name).setLevel(level)
    for name in ("tornado.general", "tornado.access", "tornado.application"):
        logging.getLogger(name).addFilter(remove_request_content)
