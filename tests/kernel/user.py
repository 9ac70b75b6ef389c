"""A user with notebooks, as a process of that user: ``python -m tests.kernel.user FOLDER``.

Each line of standard input is a JSON list, a method of :class:`User` and its arguments; each line of output is
``[error, value]``, one of which is ``null``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.wire.client import PoolClient
from fastgpu_jupyter.wire.locate import pool_socket
from tests.command_process import CommandProcess
from tests.helpers import Kernel, KernelHelper


class User:
    """What a user does."""

    def __init__(self, folder: Path) -> None:
        self._kernels = KernelHelper(folder)
        self._opened: dict[str, Kernel] = {}
        self._cells: dict[str, str] = {}

    def open(self, notebook: str) -> tuple[str, int]:
        """Start the kernel of a notebook: its lease, and its process."""
        kernel = self._opened[notebook] = self._kernels.start(notebook=notebook)
        return kernel.lease_id, kernel.pid

    def send(self, notebook: str, code: str) -> None:
        """Run a cell, and do not wait for it."""
        self._cells[notebook] = self._opened[notebook].send(code)

    def output(self, notebook: str) -> str:
        """What that cell wrote, once it is done."""
        return self._opened[notebook].collect(self._cells.pop(notebook)).stream().strip()

    def run(self, notebook: str, code: str) -> str:
        """Run a cell to its end: what it wrote."""
        self.send(notebook, code)
        return self.output(notebook)

    def shut(self, notebook: str) -> None:
        """Shut the kernel of a notebook down."""
        self._kernels.stop(self._opened.pop(notebook))

    def pool(self, operation: str, *args: Any) -> Any:
        """Ask the pool itself."""
        return getattr(PoolClient(pool_socket()), operation)(*args)

    def read(self, path: str) -> str:
        """A file's text."""
        return Path(path).read_text()

    def end(self) -> None:
        """Shut everything down."""
        self._kernels.end()


class UserProcess(CommandProcess):
    """That process. Its methods are those of :class:`User`; one whose answer is an error raises it."""

    def __init__(self, uid: int, folder: Path, environment: dict[str, str]) -> None:
        # Wherever the interpreter is installed, also in the home of root, this user may read it.
        rights = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
        become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *rights]
        env = os.environ | environment
        super().__init__("tests.kernel.user", str(folder), env=env, error=RuntimeError, by=become)


def main() -> None:
    """Do what the lines say."""
    user = User(Path(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what kernels say is no answer
    for line in sys.stdin:
        name, *args = json.loads(line)
        try:
            answer = [None, getattr(user, name)(*args)]
        except (FastGPUError, AssertionError, OSError) as error:
            answer = [f"{type(error).__name__}: {error}", None]
        answers.write(json.dumps(answer) + "\n")
    user.end()


if __name__ == "__main__":
    main()
