"""The options of a job as users write them after ``%%fastgpu job``, ``%%fastgpu compare`` and ``jupyter fastgpu job``.

One table, :data:`OPTIONS`, so that an option means the same everywhere. The options of a request for a lease are those
of :mod:`..wire.options`, without those for a lease that idles: a job ends instead.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import PurePath
from typing import Any, NamedTuple

from ..errors import InvalidRequest, Message
from ..units import parse_duration
from ..wire import options as lease_options

#: The most jobs that one can follow, and the most times that it is run again.
AFTER_MAX, RETRIES_MAX = 64, 100
#: Characters of the name of a job.
NAME_CHARS_MAX = 100


class _JobOption(NamedTuple):
    argument: str  #: the value in the help; empty for a flag
    read: Callable[[str], Any]
    repeated: bool = False  #: it may be given several times
    kinds: frozenset[str] = frozenset({"cell", "notebook", "command"})  #: of jobs that have it


@dataclass
class JobOptions:
    """What the words of a job say; a field that they do not name is None, False or empty."""

    size: str | None = None
    lease: dict[str, Any] = field(default_factory=dict)  #: options of the request, by the names of the wire
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    cache: bool | None = None  #: None: what is configured for the kind
    numeric: bool = False
    refresh: bool = False
    explain: bool = False
    seed: int | None = None
    key: str | None = None
    files: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)
    save: list[str] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    retries: int = 0
    timeout_ms: int | None = None
    name: str | None = None
    variable: str | None = None  #: the name that the cell gives its job


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if not name.isidentifier():
            raise InvalidRequest(Message.of("job_words.no_name", text=repr(name[:40])))
    if not names:
        raise InvalidRequest(Message.of("job_words.no_name", text=repr(text[:40])))
    return names


def _name(text: str) -> str:
    [*more, name] = _names(text)
    if more:
        raise InvalidRequest(Message.of("job_words.no_name", text=repr(text[:40])))
    return name


def _count(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or int(text[:10]) > most:
            raise InvalidRequest(Message.of("job_words.no_count", text=repr(text[:40]), most=most))
        return int(text)

    return read


def _time(text: str) -> int:
    duration_ms = parse_duration(text)
    if not duration_ms:
        raise InvalidRequest(Message.of("job_words.no_time", text=repr(text[:40])))
    return duration_ms


def _pattern(text: str) -> list[str]:
    path = PurePath(text)
    if path.is_absolute() or ".." in path.parts:
        raise InvalidRequest(Message.of("job_words.no_path", text=repr(text[-40:])))
    return [text]


def _jobs(text: str) -> list[int]:
    found = [job_id(word) for word in text.split(",") if word.strip()]
    if not 0 < len(found) <= AFTER_MAX:
        raise InvalidRequest(Message.of("job_words.no_job", text=repr(text[:40])))
    return found


def job_id(text: str) -> int:
    """Return the number of a job that a user wrote. Raises :class:`InvalidRequest` where it is none."""
    word = text.strip().removeprefix("#")
    if not (word.isascii() and word.isdecimal() and len(word) <= 15 and int(word)):
        raise InvalidRequest(Message.of("job_words.no_job", text=repr(text[:40])))
    return int(word)


def _flag(text: str) -> bool:
    return text == "yes"


_CELL = frozenset({"cell"})
#: Option -> how it is read; its field in :class:`JobOptions` is in :data:`_FIELDS`.
OPTIONS: Mapping[str, _JobOption] = {
    "size": _JobOption("half", str),
    "in": _JobOption("x,y", _names, repeated=True, kinds=_CELL),
    "out": _JobOption("model", _names, repeated=True, kinds=_CELL),
    "cache": _JobOption("", _flag),
    "numeric": _JobOption("", _flag),
    "seed": _JobOption("N", _count(2**32 - 1), kinds=_CELL),
    "file": _JobOption("data.csv", lambda text: [text], repeated=True),
    "env": _JobOption("NAME", _names, repeated=True),
    "timeout": _JobOption("1h", _time),
    "retries": _JobOption("N", _count(RETRIES_MAX)),
    "after": _JobOption("17", _jobs, repeated=True),
    "save": _JobOption('"out/*.png"', _pattern, repeated=True),
    "refresh": _JobOption("", _flag),
    "key": _JobOption("NAME", str),
    "explain": _JobOption("", _flag),
    "name": _JobOption("NAME", str),
    "as": _JobOption("NAME", _name, kinds=_CELL),
}
_FIELDS = {
    "in": "inputs", "out": "outputs", "file": "files", "env": "variables", "timeout": "timeout_ms", "as": "variable",
}  # fmt: skip
#: The options of a request that make sense for a job.
LEASE_OPTIONS = {name: option for name, option in lease_options.OPTIONS.items() if not name.startswith("idle-")}


def split(line: str) -> list[str]:
    """Return the words of a line as a shell would; quotes keep blanks, and ``#`` begins a comment.

    Raises :class:`InvalidRequest` where a quote is not closed.
    """
    try:
        return shlex.split(line.rstrip(" ;"), comments=True)
    except ValueError:
        raise InvalidRequest(Message.of("job_words.quote", text=repr(line[-40:]))) from None


def read(words: Sequence[str], kind: str = "cell") -> tuple[JobOptions, list[str]]:
    """Return the options in ``words`` for a job of ``kind``, and the words that are none of them.

    Raises :class:`InvalidRequest` with a sentence that names the option.
    """
    found, plain, given, lease = JobOptions(), list[str](), set[str](), dict[str, str]()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word == "--":
            plain.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        name, negated = _known(name, kind)
        argument = (OPTIONS.get(name) or LEASE_OPTIONS[name]).argument
        if negated or not argument:
            value = value if equals else "no" if negated else "yes"
        elif not equals:
            if not rest or rest[0].startswith("--"):
                raise InvalidRequest(Message.of("option.needs_value", option=name, example=argument))
            value = rest.pop(0)
        if name in given and not (name in OPTIONS and OPTIONS[name].repeated):
            raise InvalidRequest(Message.of("option.given_twice", option=name))
        given.add(name)
        if name in LEASE_OPTIONS:
            lease[name] = value
        else:
            _set(found, name, value)
    found.lease = dict(lease_options.read_mapping(lease))
    return found, plain


def _set(found: JobOptions, name: str, text: str) -> None:
    try:
        value = OPTIONS[name].read(text)
    except InvalidRequest as error:
        raise InvalidRequest(Message.of("option.invalid", option=name, reason=error.message)) from None
    attribute = _FIELDS.get(name, name)
    if OPTIONS[name].repeated:
        earlier = getattr(found, attribute)
        value = [*earlier, *(one for one in value if one not in earlier)]
    setattr(found, attribute, value)


def _known(name: str, kind: str) -> tuple[str, bool]:
    """Return the option's name, and whether ``no-`` stands before it. Raises :class:`InvalidRequest` without one."""
    choices = names(kind)
    if name in choices:
        return name, False
    flag = name.removeprefix("no-")
    if flag != name and flag in choices and not (OPTIONS.get(flag) or LEASE_OPTIONS[flag]).argument:
        return flag, True
    near = get_close_matches(name, choices, n=1)
    if near:
        raise InvalidRequest(Message.of("job_words.unknown_near", option=name[:40], near=near[0]))
    raise InvalidRequest(Message.of("job_words.unknown", option=name[:40], choices=tuple(choices)))


def names(kind: str = "cell") -> tuple[str, ...]:
    """Return the names of the options of a job of ``kind``."""
    return tuple(name for name, option in OPTIONS.items() if kind in option.kinds) + tuple(LEASE_OPTIONS)


def argument_of(name: str) -> str | None:
    """Return the value of an option as the help shows it, empty for a flag; None where there is no such option."""
    option = OPTIONS.get(name) or LEASE_OPTIONS.get(name)
    return None if option is None else option.argument


def usage(kind: str = "cell") -> str:
    """Return the options with their values, for the help of a command."""
    return " ".join(f"[{f'--{name} {argument_of(name)}'.rstrip()}]" for name in names(kind))
