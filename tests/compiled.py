"""Compile the C libraries of the tests once for all workers of a session."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest


class Compiler:
    """Compile shared libraries into ``folder``, which several processes may use at once."""

    def __init__(self, command: str, folder: Path) -> None:
        self._command, self._folder = command, folder

    def library(self, folder: str, name: str, sources: Iterable[Path], *flags: str) -> Path:
        """Return the folder of the library ``name``, compiled unless it is there."""
        target = self._folder / folder
        target.mkdir(parents=True, exist_ok=True)
        with (target / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (target / name).exists():
                command = [self._command, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-fvisibility=hidden"]
                unfinished = target / f"{name}.unfinished"
                subprocess.run(
                    [*command, *map(str, sources), "-o", str(unfinished), f"-Wl,-soname,{name}", *flags], check=True
                )
                unfinished.rename(target / name)
        return target


def session_compiler(factory: pytest.TempPathFactory) -> Compiler:
    """Return the compiler of this session; skip the test where there is none."""
    command = shutil.which("cc") or shutil.which("gcc")
    if command is None:
        pytest.skip("a C compiler is needed to build a library for the tests")
    base = factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return Compiler(command, folder / "libraries")
