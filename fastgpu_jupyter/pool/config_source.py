"""Where a setting comes from: the file and the line, or the command line. For refusals of its value."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from traitlets.config import Config

from ..errors import Message


class ConfigSource:
    """The files that were read, in the order in which they were, and what the command line sets over them."""

    def __init__(self, files: Iterable[str], command_line: Config) -> None:
        self._files = tuple(Path(file) for file in files)
        self._command_line = command_line

    def place_of(self, section: str, setting: str, key: str) -> Message:
        """Return the place of ``key`` in a setting that is a dictionary: that of its last mention, which counts."""
        if setting in self._command_line.get(section, {}):
            return Message.of("config.command_line", setting=f"{section}.{setting}")
        for pattern in (rf"""["']{re.escape(key)}["']""", rf"\b{re.escape(setting)}\b"):
            for file in reversed(self._files):
                lines = file.read_text(errors="replace").splitlines() if file.is_file() else []
                found = [number for number, line in enumerate(lines, start=1) if re.search(pattern, line)]
                if found:
                    return Message.of("config.file", file=str(file), line=found[-1])
        return Message.of("config.setting", setting=f"{section}.{setting}")


def error_in_file(error: Exception, names: Iterable[str]) -> Message:
    """Return what is wrong with a configuration file that raised ``error`` when it was read, and in which line.

    ``names`` are the names of configuration files, of which one raised it.
    """
    said = str(error) or type(error).__name__
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return _unreadable(error.filename, error.lineno, f"SyntaxError: {error.msg}")
    traced = error.__traceback__
    place: tuple[str, int] | None = None
    while traced is not None:
        if Path(traced.tb_frame.f_code.co_filename).name in names:
            place = traced.tb_frame.f_code.co_filename, traced.tb_lineno
        traced = traced.tb_next
    if place is None:  # JSON, whose errors have the line in their text
        return Message.of("config.unreadable", place=Message.of("config.some_file"), reason=said)
    return _unreadable(*place, f"{type(error).__name__}: {said}")


def _unreadable(file: str, line: int, reason: str) -> Message:
    return Message.of("config.unreadable", place=Message.of("config.file", file=file, line=line), reason=reason)
