"""``jupyter fastgpu kernels``: the user's kernels that run on without a Jupyter server."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..errors import InvalidRequest, Message
from ..messages import say, word
from ..units import format_memory
from ..wire.client import PoolClient
from ..wire.kept_list import end, found_by, listed
from .command import ClientApp, format_day_time, purpose, table
from .output import write_error

if TYPE_CHECKING:
    from ..wire.schemas import KeptKernelView

#: Characters of a kernel's id that the table shows, and that name it.
ID_WIDTH = 8


class KernelsApp(ClientApp):
    """The command that lists, attaches to and ends kernels without a server."""

    name = "jupyter-fastgpu-kernels"
    description = (
        "List your kernels that run on without a Jupyter server. `jupyter fastgpu kernels attach KERNEL` opens a "
        "console for one, and `kernels end KERNEL` ends it and releases its GPU; KERNEL is the begin of its id, or "
        "its notebook. A server of the same root folder adopts them when it starts."
    )

    def run(self, client: PoolClient) -> None:  # noqa: ARG002 (also where no pool manager answers)
        """List the kernels, after ending those that are named."""
        verb, *names = self.extra_args or [""]
        if (verb, bool(names)) not in {("", False), ("attach", True), ("end", True)}:
            raise InvalidRequest(Message.of("cli.kernels_usage"))
        if verb == "attach":
            _attach(names)
            return
        for name in names:
            found = found_by(name)
            end(found)
            if not self.as_json:
                self.show(None, say("cli.kernel_ended", kernel=found.record.kernel_id))
        kernels = listed()
        if self.as_json or not names:
            self.show({"kernels": kernels}, *kernel_lines(kernels), indent=2)


def kernel_lines(kernels: list[KeptKernelView]) -> list[str]:
    """Return the lines of the table."""
    head = (
        say("column.kernel"),
        say("column.notebook"),
        say("column.since"),
        say("column.state"),
        say("column.lease"),
        say("column.host_memory"),
    )
    rows = [
        (
            view["kernel_id"][:ID_WIDTH],
            purpose(None, _in_root(view)),
            word("kept_state", "unknown") if view["since"] is None else format_day_time(view["since"]),
            word("kept_state", view["state"]),
            view["lease_id"] or "-",
            word("kept_state", "unknown") if view["memory_bytes"] is None else format_memory(view["memory_bytes"]),
        )
        for view in kernels
    ]
    return table(head, rows, say("cli.no_kept_kernels"))


def _in_root(view: KeptKernelView) -> str | None:
    """Return the notebook as Jupyter shows it: below the server's root folder."""
    notebook = view["notebook"]
    return notebook and notebook.removeprefix(view["root"].rstrip("/") + "/")


def _attach(names: list[str]) -> None:
    """Become a console of the kernel. The key of its messages stays in the connection file."""
    if len(names) != 1:
        raise InvalidRequest(Message.of("cli.kernels_usage"))
    found = found_by(names[0])
    if find_spec("jupyter_console") is None:
        raise InvalidRequest(Message.of("cli.no_console", file=found.record.connection_file))
    write_error("jupyter fastgpu", say("cli.attached"))
    command = [sys.executable, "-P", "-m", "jupyter_console", "--existing", found.record.connection_file]
    os.execv(command[0], command)  # noqa: S606 (no shell)
