"""Processes that are forked from one that has imported what they run: each of them starts in milliseconds.

A module of tests that is run with ``--fork`` calls :func:`serve_forks`; a :class:`Forker` is the other end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.helpers import alive
from tests.waiting import DEADLINE_S, wait_until


def serve_forks(run: Callable[[dict[str, Any]], None]) -> None:
    """Fork a process that does ``run`` for each line of standard input; print its number, and its status if asked."""
    for line in sys.stdin:
        wanted = json.loads(line)
        if "wait" in wanted:
            _, status = os.waitpid(wanted["wait"], 0)
            print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)  # noqa: T201 (the reply)
            continue
        pid = os.fork()
        if pid:
            print(pid, flush=True)  # noqa: T201 (the reply)
            continue
        os.setsid()
        output = os.open(wanted["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(wanted.get("environment", {}))
        status = 0
        try:
            run(wanted)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        finally:
            os._exit(status)


class Forker:
    """The process of ``module`` from which others are forked."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, "--fork"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def send(self, **message: Any) -> Any:
        """Return the answer to a message of :func:`serve_forks`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the process; those that were forked from it go on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


class ForkedProcess:
    """A process that a :class:`Forker` has forked, with the methods of :class:`subprocess.Popen` that tests use."""

    def __init__(self, forker: Forker, **message: Any) -> None:
        self._forker = forker
        self._status: int | None = None
        self.pid = int(forker.send(**message))

    def poll(self) -> int | None:
        """Return the exit status; None while the process runs."""
        if self._status is None and not alive(self.pid):
            self._status = int(self._forker.send(wait=self.pid))
        return self._status

    def wait(self, timeout_s: float | None = None, /) -> int:
        """Return the exit status once the process has ended."""
        within_s = DEADLINE_S if timeout_s is None else timeout_s
        wait_until(lambda: self.poll() is not None, f"process {self.pid} ends", within_s)
        assert self._status is not None
        return self._status

    def send_signal(self, number: int) -> None:
        """Send a signal unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)
