"""The part of a job on a host of a cluster: ``python -P -m fastgpu_jupyter.jobs.work.on_host FOLDER CWD COMMAND…``.

It runs as a step of the lease's job, with the environment of the work, starts the work process under a guard, and is
linked with the runner by its standard streams (:mod:`~fastgpu_jupyter.jobs.host_link`). When the link is lost, or this
process is killed, everything that the work process has started is ended.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import Message
from ...messages import view_of
from ..host_link import CHANNEL, OUTPUT_BYTES_MAX, LineReader, write_line
from ..places import MARK_VARIABLE
from ..progress import PROGRESS_VARIABLE
from ..runner.guard import Channel, Guard
from ..runner.pipes import Pipes

_PROGRESS_BYTES_MAX = 4096


class HostWork:
    """The work process on this host, between its guard and the link to the runner."""

    def __init__(self, guard: Guard, pipes: Pipes, sockets: Path) -> None:
        self._guard, self._pipes = guard, pipes
        self._channel = Channel(pipes.channel)
        self._link = LineReader(0)
        self._progress = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._progress_path = sockets / "progress.sock"
        self._progress.bind(str(self._progress_path))
        self._progress.settimeout(0)

    def run(self, cwd: str, argv: Sequence[str]) -> None:
        """Run the command in the folder ``cwd`` until nothing of it is left, or the link is lost."""
        theirs = self._pipes.channel_of_work
        has_channel = CHANNEL in argv
        environment = {**os.environ, PROGRESS_VARIABLE: str(self._progress_path)}
        self._guard.start(
            [str(theirs.fileno()) if word == CHANNEL else word for word in argv],
            environment,
            cwd,
            own_session=True,
            descriptors={0: self._pipes.nothing, 1: self._pipes.output_writer, 2: self._pipes.output_writer},
            pass_descriptors=[theirs.fileno()] if has_channel else [],
            marker=(MARK_VARIABLE, environment.get(MARK_VARIABLE, "")),
        )
        os.close(self._pipes.output_writer)
        theirs.close()
        sources: list[Any] = [self._link, self._guard.channel, self._pipes.output, self._progress]
        sources += [self._channel] if has_channel else []
        status: int | None = None
        while not self._link.ended:
            readable, _, _ = select.select(sources, [], [])
            if self._pipes.output in readable and not self._pass_output():
                sources.remove(self._pipes.output)
            if self._progress in readable:
                self._pass_progress()
            if self._channel in readable:
                for message in self._channel.receive():
                    write_line(1, {"channel": message})
                if self._channel.closed:
                    sources.remove(self._channel)
            if self._link in readable:
                for message in self._link.read():
                    self._do(message)
            for message in self._guard.messages() if self._guard.channel in readable else ():
                if "failed" in message:
                    write_line(1, {"not_started": message["reason"]})
                    return
                status = message.get("ended", status)
                if "left" in message:
                    self._end(status or 0)
                    return

    def _end(self, status: int) -> None:
        """Pass on what is still there, and then the status."""
        while self._pass_output():
            pass
        self._pass_progress()
        while not self._channel.closed and select.select([self._channel], [], [], 0)[0]:
            for message in self._channel.receive():
                write_line(1, {"channel": message})
        write_line(1, {"ended": status})

    def _pass_output(self) -> bool:
        """Pass on some output; return False where there is none now."""
        try:
            data = os.read(self._pipes.output, OUTPUT_BYTES_MAX)
        except BlockingIOError:
            return False
        if data:
            write_line(1, {"output": base64.b64encode(data).decode()})
        return bool(data)

    def _pass_progress(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self._progress.recv(_PROGRESS_BYTES_MAX)
                with contextlib.suppress(ValueError):
                    write_line(1, {"progress": json.loads(data)})

    def _do(self, message: dict[str, Any]) -> None:
        if "signal" in message:
            self._guard.signal(int(message["signal"]), group=True)
        elif "channel" in message:
            given = message["channel"]
            if "run" in given:  # the socket that it names is on the runner's host
                given = {**given, "run": {**given["run"], "progress": str(self._progress_path)}}
            self._channel.send(**given)


def main(folder: str, cwd: str, argv: Sequence[str]) -> int:
    """Run the work of the job in ``folder``; return the exit status of this process."""
    for name in (folder, cwd):
        if not Path(name).is_dir():
            reason = view_of(Message.of("jobs.not_on_host", folder=name, host=socket.gethostname()))["text"]
            write_line(1, {"not_started": reason})
            return 1
    pipes = Pipes.make()
    guard = Guard(close=[pipes.output, pipes.channel.fileno()])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)  # the runner says by the link what is to be done
    try:
        with tempfile.TemporaryDirectory(prefix="fastgpu-") as sockets, contextlib.suppress(BrokenPipeError):
            HostWork(guard, pipes, Path(sockets)).run(cwd, argv)
    finally:
        guard.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
