"""A standby kernel: a process that has imported all that a kernel needs, and waits to become one.

It is a process of its own from the beginning, started with the command and the environment of the kernels that it may
become. Before the hand-over it runs nothing of the user's: no configuration, no startup file, no extension, and it has
neither a shell nor a history session nor sockets. All of that is made after it, by the code of every other start, in
the environment and the folder of the kernel. What is saved is the time of the imports.

This module imports the standard library only, until :func:`wait` has noted what a start depends on.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import socket
import struct
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from ..wire.standby_link import Link
from ..wire.variables import STANDBY, STANDBY_PRELOAD
from . import observed
from .later_streams import recorded_streams

#: What a kernel imports between its start and the end of its first cell, beside :mod:`.app`. A module that does not
#: exist in a version of its library is left out.
AHEAD = (
    "pdb",
    "psutil",
    "sqlite3",
    "encodings.idna",
    "tornado.locks",
    "tornado.queues",
    "tornado.platform.asyncio",
    "IPython.core.debugger",
    "IPython.core.oinspect",
    "IPython.core.logger",
    "IPython.core.completerlib",
    "IPython.extensions.storemagic",
    "ipykernel.debugger",
    "fastgpu_jupyter.kernel.lease_follower",
    "fastgpu_jupyter.kernel.preload",
)


def wait() -> None:
    """Prepare this process, wait for the hand-over, and return in the folder of a kernel, whose start can begin.

    Ends the process if the server ends before that, or does not hand this process over.
    """
    start_files = observed.begin()
    link = _link_of(os.environ.pop(STANDBY))
    preload = os.environ.pop(STANDBY_PRELOAD, None)
    before = dict(os.environ)
    _prepare()
    try:
        read_by_imports = () if preload is None else _preload(json.loads(preload), link)
        set_by_imports = {name: value for name, value in os.environ.items() if before.get(name) != value}
        link.send({"ready": start_files.report(read_by_imports)})
        _wait_for_message(link)
        refused = _become(link.receive()["hand_over"])
        link.send({"accepted": True} if refused is None else {"refused": refused})
    except (OSError, EOFError, ValueError, LookupError, TypeError):
        _end()
    if refused is not None:
        _end()
    from .app import IPKernelApp

    IPKernelApp.launch = PendingStart(link, set_by_imports)


def _link_of(descriptor: str) -> Link:
    """Return the connection that the server left to this process; end if a program between them has closed it."""
    try:
        connection = socket.socket(fileno=int(descriptor))
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", peer)[0] != int(os.environ["JPY_PARENT_PID"]):
            _end()
        connection.set_inheritable(False)
    except (OSError, ValueError, LookupError):
        _end()
    return Link(connection)


def _prepare() -> None:
    """Import what the kernel will need, and leave no garbage for its first cell to collect."""
    # In a cold start these imports come after ipykernel has replaced the streams, which some modules keep.
    with recorded_streams():
        for name in ("fastgpu_jupyter.kernel.app", *AHEAD):
            with contextlib.suppress(ImportError):
                import_module(name)
    from .app import IPKernelApp

    IPKernelApp.parse_ahead()
    gc.collect()


def _preload(wanted: dict[str, list[str]], link: Link) -> set[str]:
    """Import the modules that are wanted ahead; return the variables that they have read, or end."""
    from . import preload_modules, preload_questions

    refusal = preload_modules.run(wanted["modules"], wanted["variables"], lambda name: link.send({"preload": name}))
    if refusal is not None:
        link.send({"refused_preload": refusal})
        _end()
    gc.collect()
    return preload_questions.variables_read


def _wait_for_message(link: Link) -> None:
    """Block until the server has sent something; end if the server has ended."""
    poll = select.poll()
    poll.register(link, select.POLLIN)
    # A process that the server has forked may hold the other end of the connection open.
    server = os.pidfd_open(int(os.environ["JPY_PARENT_PID"]))
    poll.register(server, select.POLLIN)
    ready = [descriptor for descriptor, _ in poll.poll()]
    os.close(server)
    if link.fileno() not in ready:
        _end()


def _become(given: dict[str, Any]) -> dict[str, str] | None:
    """Take the folder and the command of a kernel; return why that would not be a cold start."""
    # The interpreter was started in another folder, and has looked for modules there.
    sys.path_importer_cache.pop(os.getcwd(), None)  # noqa: PTH109
    try:
        os.chdir(given["folder"])
    except OSError as error:
        return {"reason": "folder", "what": error.strerror or ""}
    if (started_in := sys.modules.get("multiprocessing.process")) is not None:
        vars(started_in)["ORIGINAL_DIR"] = os.getcwd()  # noqa: PTH109 (where processes that it spawns begin)
    from .app import IPKernelApp

    _replace_in_command(given["placeholder"], given["connection_file"])
    IPKernelApp.name_connection_file(given["placeholder"], given["connection_file"])
    return None


class PendingStart:
    """The rest of the launch: the kernel's environment, which the lease completes, and word that clients can connect.

    The application calls :meth:`go` before the first thing that needs the environment.
    """

    def __init__(self, link: Link, set_by_imports: dict[str, str]) -> None:
        self.is_waiting = True
        self._link = link
        self._set_by_imports = set_by_imports
        self._is_bound = False

    def go(self) -> None:
        """Wait for the environment and take it. Ends the process if the server ends before, or gives the launch up."""
        if not self.is_waiting:
            return
        try:
            environment = self._link.receive()["go"]
            os.environ.clear()
            os.environ.update(environment)
            os.environ.update(self._set_by_imports)
        except (OSError, EOFError, ValueError, LookupError, TypeError):
            _end()
        self.is_waiting = False
        self._close_when_done()

    def bound(self) -> None:
        """Let the server know that clients can connect."""
        with contextlib.suppress(OSError, ValueError):
            self._link.send({"bound": True}, within_s=0)
        self._is_bound = True
        self._close_when_done()

    def _close_when_done(self) -> None:
        if self._is_bound and not self.is_waiting:
            self._link.close()


def _replace_in_command(placeholder: str, connection_file: str) -> None:
    """Name the kernel's connection file where the command names that of no kernel, also for other processes."""
    for words in (sys.argv, sys.orig_argv):
        words[:] = [word.replace(placeholder, connection_file) for word in words]
    with contextlib.suppress(OSError, ValueError, LookupError):
        _rewrite_command_line(os.fsencode(placeholder), os.fsencode(connection_file))


def _rewrite_command_line(placeholder: bytes, connection_file: bytes) -> None:
    """Replace the text in the memory in which other processes read the command line, where it fits."""
    command = Path("/proc/self/cmdline").read_bytes()
    changed = command.replace(placeholder, connection_file)
    # The fields are counted from the last parenthesis: the name of the program may hold spaces.
    begin, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])
    if changed != command and len(changed) <= len(command) == end - begin:
        with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
            memory.seek(begin)
            memory.write(changed.ljust(len(command), b"\0"))


def _end() -> NoReturn:
    """End at once: nothing was begun that would have to be finished."""
    os._exit(0)
