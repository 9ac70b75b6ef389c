"""The work of a job on a host of a cluster, as a process here.

    python -P -m fastgpu_jupyter.jobs.runner.remote_work DESCRIPTOR LAUNCHER FOLDER CWD COMMAND...

It starts :mod:`~fastgpu_jupyter.jobs.work.on_host` by ``LAUNCHER`` (JSON), a command that runs what follows it in the
job of the lease, and stands for the work process there: what that one writes, this one writes; signals to this one go
there; it ends as that one ends. ``DESCRIPTOR`` is the channel for the work process, empty where it has none. If this
process is killed, the link is lost, and the work on the host is ended.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import HostFault, Message
from ...wire import unixsocket
from ..host_link import CHANNEL, LineReader, write_line
from ..progress import PROGRESS_VARIABLE
from .guard import Channel
from .signals import BY_SIGNAL, SignalInbox, shell_status

if TYPE_CHECKING:
    from ...wire.schemas import LeaseView
    from .work import WorkCommand

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_PR_SET_PDEATHSIG = 1
#: The exit status where the work ended without a word: it did not begin, or the link to its host was lost.
LINK_LOST = 69
#: How long to wait for the end of a lease where its work may have ended with the allocation: an engine ends the
#: processes first, and says so when it is asked next.
ALLOCATION_END_S = 10.0


def command_here(command: WorkCommand, channel: int, view: LeaseView, folder: Path, cwd: str) -> list[str]:
    """Return the command that this host runs for a work process: that of :func:`main` for a lease of a cluster.

    Raises :class:`HostFault` where the work cannot run on the host of the lease.
    """
    launcher = launcher_of(view)
    if launcher is None:
        return [str(channel) if word == CHANNEL else word for word in command.argv]
    descriptor = str(channel) if command.has_channel else ""
    begin = [sys.executable, "-P", "-m", "fastgpu_jupyter.jobs.runner.remote_work", descriptor, json.dumps(launcher)]
    return [*begin, str(folder), cwd, *command.argv]


def launcher_of(view: LeaseView) -> list[str] | None:
    """Return the beginning of a command that runs on the host of a lease; ``None`` where that is this host.

    Raises :class:`HostFault` where it is not known how to run a program there: nothing must run here instead.
    """
    cluster = view.get("cluster")
    if cluster is None:
        return None
    launcher = cluster.get("launcher")
    if not launcher:
        raise HostFault(Message.of("jobs.no_launcher", host=cluster["host"] or "-"))
    return launcher


def may_have_lost_allocation(view: LeaseView, status: int) -> bool:
    """Return whether work that ended with that status, or by that negative signal, may have lost its host."""
    return view.get("cluster") is not None and (status < 0 or status == LINK_LOST or status > BY_SIGNAL)


class RemoteWork:
    """The link to the work process; ``channel`` is the one of the runner."""

    def __init__(self, command: Sequence[str], channel: Channel | None) -> None:
        self._signals = SignalInbox()
        self._signals.listen(_PASSED_ON)
        self._progress_path = os.environ.get(PROGRESS_VARIABLE)
        libc, parent = ctypes.CDLL(None), os.getpid()

        def end_with_parent() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
            if os.getppid() != parent:
                os._exit(1)

        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # signals to the group of this process go by the link
            preexec_fn=end_with_parent,  # noqa: PLW1509 (this process has one thread)
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._writer = self._process.stdin.fileno()
        self._link = LineReader(self._process.stdout.fileno())
        self._channel = channel
        self._status: int | None = None

    def run(self) -> int:
        """Return the status of the work process when it has ended: that of the launcher where there was none."""
        sources: list[Any] = [self._link, self._signals, *([self._channel] if self._channel else [])]
        while not self._link.ended:
            readable, _, _ = select.select(sources, [], [])
            if self._link in readable:
                for message in self._link.read():
                    self._take(message)
            for number in self._signals.received() if self._signals in readable else ():
                self._send({"signal": number})
            if self._channel in readable and self._channel is not None:
                for message in self._channel.receive():
                    self._note_run(message)
                    self._send({"channel": message})
                if self._channel.closed:
                    break  # the work process is not needed any more: it ends with the link
        with contextlib.suppress(OSError):
            os.close(self._writer)
        self._process.wait()
        return LINK_LOST if self._status is None else self._status

    def _take(self, message: dict[str, Any]) -> None:
        if "output" in message:
            _write(1, base64.b64decode(message["output"]))
        elif "channel" in message and self._channel is not None:
            self._channel.send(**message["channel"])
        elif "progress" in message:
            self._report(message["progress"])
        elif "not_started" in message:
            _write(2, f"{message['not_started']}\n".encode())
        elif "ended" in message:
            self._status = int(message["ended"])

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it has ended: the link says so
            write_line(self._writer, message)

    def _note_run(self, message: dict[str, Any]) -> None:
        if "run" in message:
            self._progress_path = message["run"]["progress"]

    def _report(self, progress: dict[str, Any]) -> None:
        if self._progress_path is None:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
            sender.settimeout(0)
            with unixsocket.short_address(Path(self._progress_path)) as address:
                sender.sendto(json.dumps(progress).encode(), address)


def _write(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(descriptor, data) :]


def end_as(status: int) -> int:
    """Return the exit status of this process, or end it by the signal that ended the work process."""
    if status < 0:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return shell_status(status)


def main(descriptor: str, launcher: str, rest: Sequence[str]) -> int:
    """Run the work; return the exit status of this process."""
    channel = Channel(socket.socket(fileno=int(descriptor))) if descriptor else None
    program = [sys.executable, "-P", "-m", "fastgpu_jupyter.jobs.work.on_host"]
    return end_as(RemoteWork([*json.loads(launcher), *program, *rest], channel).run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
