"""A process that runs commands from its input, line by line: another user, or a program that uses a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


class CommandProcess:
    """``python -m MODULE``: it reads JSON lists of a name and arguments, and answers each with ``[error, value]``.

    An error that is neither ``null`` nor 0 is raised as the exception that ``error`` makes of it.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        env: dict[str, str],
        error: Callable[[Any], Exception],
        by: Sequence[str] = (),
    ) -> None:
        self._error = error
        self._process = subprocess.Popen(
            [*by, sys.executable, "-m", module, *arguments],
            cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.pid = self._process.pid

    def send(self, name: str, *args: Any) -> None:
        """Send a command without waiting for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, *args]) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """What it came to."""
        assert self._process.stdout is not None
        error, value = json.loads(self._process.stdout.readline())
        if error:
            raise self._error(error)
        return value

    def __call__(self, name: str, *args: Any) -> Any:
        """Do it."""
        self.send(name, *args)
        return self.answer()

    def close(self) -> None:
        """End it, and wait for that."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
