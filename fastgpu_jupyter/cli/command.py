"""What the commands have in common: a client of the pool, JSON or a table, one clear line for an error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from jupyter_core.application import base_aliases
from traitlets import Bool, TraitError
from traitlets.config.loader import KVArgParseConfigLoader

from .. import __version__
from ..errors import FastGPUError, InvalidRequest, Message, PoolUnreachable
from ..messages import say, text_of
from ..messages.help import CommandApp
from ..text import display_width, padded, printable, shortened
from ..wire.client import PoolClient
from ..wire.locate import pool_socket
from ..wire.schemas import LeaseView
from .output import write, write_error, write_json

#: Characters of a notebook's path or a job's name that a table shows; JSON and CSV have all of it.
NOTEBOOK_WIDTH = 60


class StrictLoader(KVArgParseConfigLoader):
    """Refuses an option that does not exist, so that a change is not made without what its caller meant."""

    def _handle_unrecognized_alias(self, arg: str) -> None:
        raise TraitError(say("cli.no_option", option=arg))


class ClientApp(CommandApp):
    """A command that talks to the pool and ends with one clear line where it cannot."""

    version = __version__
    as_json = Bool(False, help="Print JSON for programs.").tag(config=True)
    aliases = dict(base_aliases)
    flags = {"json": ({"ClientApp": {"as_json": True}}, "Print JSON for programs.")}

    def start(self) -> None:
        """Run the command; print an error as one line and exit with 1, or with 2 where no pool answers."""
        super().start()
        try:
            self.run(PoolClient(pool_socket()))
        except FastGPUError as error:
            write_error("jupyter fastgpu", text_of(error))
            sys.exit(2 if isinstance(error, PoolUnreachable) else 1)

    def _create_loader(self, argv: Any, aliases: Any, flags: Any, classes: Any) -> KVArgParseConfigLoader:
        return StrictLoader(argv, aliases, flags, classes=classes, log=self.log, subcommands=self.subcommands)

    def run(self, client: PoolClient) -> None:
        """Run the command with a client of the pool."""
        raise NotImplementedError

    def show(self, value: Any, *lines: str, indent: int | None = None) -> None:
        """Print ``value`` as JSON if that was asked for, else the lines."""
        if self.as_json:
            write_json(value, indent)
        else:
            write(*lines)


class LeaseApp(ClientApp):
    """A command that does the same to each named lease."""

    def run(self, client: PoolClient) -> None:
        """Change each lease and print its state."""
        if not self.extra_args:
            raise InvalidRequest(Message.of("cli.name_lease"))
        for lease_id in self.extra_args:
            lease = self.change(client, lease_id)
            self.show(lease, self.outcome(lease))

    def change(self, client: PoolClient, lease_id: str) -> LeaseView:
        """Change one lease and return it."""
        raise NotImplementedError

    def outcome(self, lease: LeaseView) -> str:
        """Return the sentence that the command prints."""
        return say("cli.state", lease=lease["id"], state=lease["state"])


def purpose(job: str | None, notebook: str | None) -> str:
    """Return for a table what a lease is for: the name of its job, else its notebook, else a dash."""
    return shortened(job or notebook or "-", NOTEBOOK_WIDTH)


def table(head: Iterable[str], rows: Iterable[Sequence[str]], none: str) -> list[str]:
    """The lines of a table with columns as wide as they need; the sentence ``none`` where there are no rows."""
    lines = [tuple(head), *(tuple(printable(cell) for cell in row) for row in rows)]
    if len(lines) == 1:
        return [none]
    widths = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in lines]


def format_day_time(wall_ms: int) -> str:
    """In UTC, as months are."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(wall_ms // 1000))
