"""The work process of calls, driven as its runner does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastgpu_jupyter.jobs.call_file import FunctionCall, write_call
from fastgpu_jupyter.jobs.call_result import EXCEPTION, VALUE
from fastgpu_jupyter.jobs.results import ResultStore
from tests.waiting import DEADLINE_S

ROOT = Path(__file__).parent.parent.parent


class WorkProcess:
    """A work process, and the store in which it puts what its calls return."""

    def __init__(self, folder: Path, cwd: Path | None = None) -> None:
        self.folder = folder
        self.store = ResultStore(folder / "results")
        self._count = 0
        self.declared: list[str] | None = None  #: the files that the next calls may read and be cached
        here, there = socket.socketpair()
        here.settimeout(DEADLINE_S)
        self._channel, self._lines = here, here.makefile("rb")
        command = [sys.executable, "-P", "-m", "fastgpu_jupyter.jobs.work.function", str(there.fileno())]
        with there, (folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=cwd or folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                pass_fds=[there.fileno()],
                stdout=output,
                stderr=output,
            )
        assert self.receive() == {"event": "ready"}

    def receive(self) -> dict[str, Any] | None:
        """What it says next, None at its end."""
        line = self._lines.readline()
        return json.loads(line) if line else None

    def begin(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Path:
        """Send a call; returns its file."""
        self._count += 1
        path = self.folder / f"call-{self._count}"
        self.send(path, write_call(path, FunctionCall(function, args, kwargs)))
        return path

    def send(self, path: Path, sha256: str) -> None:
        """Send a call that is written."""
        run = {
            "job": self._count,
            "mark": f"{self._count}@test",
            "folder": str(path.parent),
            "payload": str(path.parent),
            "program": {"call": path.name, "sha256": sha256},
            "store": str(self.folder / "results"),
            "progress": str(self.folder / "no-progress.sock"),
            "declared": self.declared,
        }
        self._channel.sendall(json.dumps({"run": run}).encode() + b"\n")

    def end_of_call(self) -> dict[str, Any]:
        """What it says when the call has ended."""
        while (message := self.receive()) is not None:
            if message["event"] == "ended":
                assert message["job"] == self._count
                return message
        raise AssertionError(f"It ended; its output: {self.output}")

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Run a call to its end."""
        self.begin(function, *args, **kwargs)
        return self.end_of_call()

    def value(self, ended: dict[str, Any]) -> Any:
        """What the call returned."""
        assert ended["state"] == "done", ended["error"]
        return self.store.value(ended["values"][VALUE]["digest"])

    def exception(self, ended: dict[str, Any]) -> tuple[BaseException, str]:
        """What the call raised, and its traceback."""
        assert ended["state"] == "failed"
        exception, text = self.store.value(ended["values"][EXCEPTION]["digest"])
        return exception, text

    @property
    def output(self) -> str:
        """What it has printed."""
        return (self.folder / "output").read_text()

    def interrupt(self) -> None:
        """Send SIGINT."""
        self.process.send_signal(signal.SIGINT)

    def close(self) -> int:
        """Close the channel, and wait for the end."""
        self._lines.close()
        self._channel.close()
        try:
            return self.process.wait(DEADLINE_S)
        finally:
            self.process.kill()
            self.process.wait()


@contextmanager
def work_process(folder: Path, cwd: Path | None = None) -> Iterator[WorkProcess]:
    """A work process, ended after the block."""
    process = WorkProcess(folder, cwd)
    try:
        yield process
    finally:
        process.close()
