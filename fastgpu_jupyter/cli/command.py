"""What the commands have in common: a client of the pool, JSON or a table, one clear line for an error."""

from __future__ import annotations

import sys
import time
from typing import Any

from jupyter_core.application import JupyterApp, base_aliases
from traitlets import Bool, TraitError
from traitlets.config.loader import KVArgParseConfigLoader

from .. import __version__
from ..errors import FastGPUError, InvalidRequest, PoolUnreachable
from ..messages import text_of
from ..text import printable
from ..wire.client import PoolClient
from ..wire.locate import pool_socket
from ..wire.schemas import LeaseView
from .output import write, write_error, write_json

#: Characters of a notebook's path that a table shows; JSON and CSV have all of it.
NOTEBOOK_WIDTH = 60


class StrictLoader(KVArgParseConfigLoader):
    """Refuses an option that does not exist, so that a change is not made without what its caller meant."""

    def _handle_unrecognized_alias(self, arg: str) -> None:
        raise TraitError(f"There is no option --{arg}, and nothing was done. --help lists the options.")


class ClientApp(JupyterApp):
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
            raise InvalidRequest("Name a lease; `jupyter fastgpu status` lists them.")
        for lease_id in self.extra_args:
            lease = self.change(client, lease_id)
            self.show(lease, f"{lease['id']} {self.outcome(lease)}.")

    def change(self, client: PoolClient, lease_id: str) -> LeaseView:
        """Change one lease and return it."""
        raise NotImplementedError

    def outcome(self, lease: LeaseView) -> str:
        """Return what the command prints after the lease's id."""
        return f"is {lease['state']}"


def table(head: tuple[str, ...], rows: Any) -> list[str]:
    """The lines of a table with columns as wide as they need; a sentence where there are no rows."""
    lines = [head, *(tuple(printable(cell) for cell in row) for row in rows)]
    if len(lines) == 1:
        return [f"{head[0].capitalize()}s: none."] if head[0] != "POSITION" else ["No requests are waiting."]
    widths = [max(len(row[column]) for row in lines) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in lines]


def format_day_time(wall_ms: int) -> str:
    """In UTC, as months are."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(wall_ms // 1000))
