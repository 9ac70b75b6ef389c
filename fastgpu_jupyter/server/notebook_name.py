"""The name of what a kernel is for: its notebook, or the program that starts it without one.

A Jupyter server passes the path of the notebook in ``JPY_SESSION_NAME``. Programs such as papermill, nbconvert and
``jupyter console`` pass nothing; their command line says what they run.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path, PurePath
from typing import NamedTuple

SESSION_VARIABLE = "JPY_SESSION_NAME"
#: The pool manager accepts no longer names; of a longer path the end is kept, which has the file's name.
NAME_MAX = 1024
#: VS Code gives the session of each notebook a path of its own.
_VS_CODE = re.compile(r"-jvsc-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=\.|$)")
#: The first notebook in a command of papermill is what it runs, the second what it writes.
_FIRST_OF_MANY = ("papermill",)
_OPTIONS_OF_OUTPUT = ("--output", "-o")
#: Folders whose modules are programs with documents of their own.
_INSTALLED = {"site-packages", "dist-packages"}


class Program(NamedTuple):
    """The process that starts a kernel: what its command line and its environment say."""

    argv: Sequence[str]
    cwd: str
    inherited: str | None  #: ``JPY_SESSION_NAME`` of the kernel that this process descends from
    is_kernel: bool  #: it is that kernel itself


def this_program() -> Program:
    """Return what is known of this process."""
    parent = os.environ.get("JPY_PARENT_PID")  # set in a kernel, and inherited by the processes that it starts
    inherited = os.environ.get(SESSION_VARIABLE) if parent else None
    try:
        cwd = str(Path.cwd())
    except OSError:  # the folder was removed
        cwd = ""
    return Program(sys.argv, cwd, inherited, is_kernel=parent == str(os.getppid()))


def name_of_session(session_name: str) -> str:
    """Return the name of a lease from the path of a session: without what front ends add, and not too long."""
    name = _VS_CODE.sub("", session_name).encode(errors="replace").decode()
    return name if len(name) <= NAME_MAX else "…" + name[-(NAME_MAX - 1) :]


def name_of_kernel(env: Mapping[str, str], program: Program, *, has_sessions: bool) -> str | None:
    """Return the name of what a kernel with the environment ``env`` is for.

    A server, which ``has_sessions``, passes the name for each session; None if there is no session yet.
    """
    given = env.get(SESSION_VARIABLE)
    if given and (has_sessions or given != program.inherited):
        return name_of_session(given)
    if has_sessions:
        return None
    if program.is_kernel and program.inherited:  # a cell runs another notebook
        return name_of_session(program.inherited)
    name = name_of_command(program.argv, program.cwd)
    return None if name is None else name_of_session(name)


def name_of_command(argv: Sequence[str], cwd: str) -> str | None:
    """Return the path of the notebook or script that a command runs, or the name of its program."""
    if not argv or argv[0] in ("", "-c"):
        return "python"
    path = PurePath(argv[0])
    path = path.parent if path.name == "__main__.py" else path
    program = path.name.removesuffix("-script.py").removesuffix(".exe")
    words = [word for option, word in pairwise(argv) if not word.startswith("-") and option not in _OPTIONS_OF_OUTPUT]
    notebooks = [word for word in words if word.endswith(".ipynb")]
    if len(notebooks) == 1 or (notebooks and program in _FIRST_OF_MANY):
        return _absolute(notebooks[0], cwd)
    if program.endswith(".py") and not _INSTALLED & set(path.parts):
        return _absolute(str(path), cwd)
    program = re.sub(r"^jupyter[-_](?=.)", "jupyter ", program.removesuffix(".py"))
    if notebooks:
        return f"{program} ({len(notebooks)} notebooks)"
    scripts = [word for word in words if word.endswith(".py")]
    return _absolute(scripts[0], cwd) if scripts else program or None


def _absolute(path: str, cwd: str) -> str:
    return path if "://" in path else str(PurePath(cwd) / path)
