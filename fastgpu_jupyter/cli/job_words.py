"""The words after ``jupyter fastgpu job run``: a notebook with its parameters, or a command after ``--``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidRequest, Message


@dataclass
class RunWords:
    """What the words say; ``options`` are those of the job and the notebook."""

    options: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    kernel: str | None = None
    follow: bool = False


def split(words: Sequence[str]) -> RunWords:
    """Return the parts of the words. ``-p NAME VALUE`` is a parameter as papermill reads it, ``-r`` one as text.

    Raises :class:`InvalidRequest` for a parameter without a name or a value.
    """
    found, rest = RunWords(), list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            found.command = rest
            if not rest:
                raise InvalidRequest(Message.of("cli.job_run_what"))
            break
        if word in ("-p", "--parameters", "-r", "--raw"):
            if len(rest) < 2 or not rest[0].isidentifier():
                raise InvalidRequest(Message.of("cli.no_parameter", option=word))
            name, value = rest.pop(0), rest.pop(0)
            found.parameters[name] = value if word in ("-r", "--raw") else value_of(value)
        elif word in ("-k", "--kernel"):
            if not rest:
                raise InvalidRequest(Message.of("option.needs_value", option="kernel", example="NAME"))
            found.kernel = rest.pop(0)
        elif word in ("-f", "--follow"):
            found.follow = True
        elif word != "--json":
            found.options.append(word)
    return found


def value_of(text: str) -> Any:
    """Return the value of a parameter: True, False, None, a whole number, a number, or the text as it is."""
    known = {"True": True, "False": False, "None": None, "null": None}
    if text in known:
        return known[text]
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text
