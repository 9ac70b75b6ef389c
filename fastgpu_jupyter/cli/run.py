"""``jupyter fastgpu run``: a command on a leased GPU, for the shell and for cron."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from traitlets.config.loader import Config

from ..errors import FastGPUError, InvalidRequest, Message
from ..messages import say, text_of
from ..wire.client import LeaseOptions
from ..wire.options import OPTIONS, read_words
from ..wire.options import usage as options_usage
from .command import ClientApp
from .output import StatusLine, write, write_error

NAME = "jupyter fastgpu run"
#: Characters of the command that the pool manager shows.
_NAME_CHARS_MAX = 80


class Words(NamedTuple):
    """The command line: the options of the request, and the command with its arguments."""

    size: str | None
    options: LeaseOptions
    command: list[str]
    quiet: bool
    wants_help: bool


class RunApp(ClientApp):
    """The command that runs another one on a leased GPU."""

    name = "jupyter-fastgpu-run"
    description = "Run a command on a leased GPU: jupyter fastgpu run --size half -- python train.py"

    def parse_command_line(self, argv: Any = None) -> None:
        """Keep the words: those of the command are not options of this one."""
        self.words = list(sys.argv[1:] if argv is None else argv)
        self.update_config(Config())

    def start(self) -> None:
        """Run the command, and exit with its status as a shell gives it: 128 and the number of a signal that ended it.

        The status is 125 without a lease, 126 for a command that cannot be executed, and 127 for one that is not found.
        """
        # Late: the other commands of the command line do not need it.
        from ..jobs.runner.foreground import FAILED, CannotRun, CommandRequest, run_command

        terminal = StatusLine(NAME)
        try:
            words = split(self.words)
            if words.wants_help:
                write(usage())
                sys.exit(0)
            if not words.command:
                raise InvalidRequest(Message.of("run.no_command"))
            wanted = CommandRequest(words.size or "full", words.options, shlex.join(words.command)[:_NAME_CHARS_MAX])
            status = run_command(words.command, wanted, terminal, quiet=words.quiet)
        except CannotRun as error:
            terminal.clear()
            write_error(NAME, str(error))
            status = error.status
        except FastGPUError as error:
            terminal.clear()
            write_error(NAME, text_of(error))
            status = FAILED
        sys.exit(status)


def split(words: Sequence[str]) -> Words:
    """Return the options and the command of a command line; the command begins with its first word, or after ``--``.

    Raises :class:`InvalidRequest` with a sentence that names the option.
    """
    rest, request = list(words), []
    size: str | None = None
    quiet = wants_help = False
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if word == "--":
            break
        if word in ("-h", "--help", "--help-all"):
            wants_help = True
        elif word in ("-q", "--quiet"):
            quiet = True
        elif name == "size" and word.startswith("--"):
            size = value if equals else _value("size", rest)
        elif word.startswith("--") and (name in OPTIONS or name.removeprefix("no-") in OPTIONS):
            request.append(word)
            if not equals and name in OPTIONS and OPTIONS[name].argument:
                request.append(_value(name, rest))
        else:
            raise InvalidRequest(Message.of("run.no_such_option", option=word))
    return Words(size, read_words(request).options, rest, quiet, wants_help)


def _value(name: str, rest: list[str]) -> str:
    if not rest or rest[0].startswith("--"):
        example = OPTIONS[name].argument if name in OPTIONS else "half"
        raise InvalidRequest(Message.of("option.needs_value", option=name, example=example))
    return rest.pop(0)


def usage() -> str:
    """Return the help of the command."""
    return say("run.usage", options=f"[--size half] {options_usage()} [--quiet]")
