"""Failpoints of the processes of jobs: imported by every Python process that has this folder on its PYTHONPATH.

The file ``crash.json`` in the folder named by ``FASTGPU_TEST_FAILPOINTS`` says where which process is killed::

    {"role": "runner", "point": "before-rename:outcome.json", "count": 1, "victim": "runner"}

Roles are ``client``, ``dispatcher``, ``runner`` and ``work``, told by the command line. Points are ``before-`` or
``after-`` one of: ``commit`` (of SQLite), ``rename:NAME`` (to a path whose last part is NAME), ``rename-in:FOLDER`` (to
a path below a folder of that name), ``spawn`` (of a child process), ``fork``, and ``send:CALL`` (a frame with that call
on a blocking socket). ``count`` is how often one process reaches the point before that, from when the file is there.
The victim is a role, ``guard``, or the number of a process. The process that reaches the point takes the file away, so
that nothing is killed twice, and then runs on unless it is the victim.

The package has no hooks for this: what the functions of the standard library are replaced by is here.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

VARIABLE = "FASTGPU_TEST_FAILPOINTS"
#: What the command line of a process of a role has; the first that fits counts.
ROLES = {
    "fastgpu_jupyter.jobs.dispatcher": "dispatcher",
    "fastgpu_jupyter.jobs.runner": "runner",
    "fastgpu_jupyter.jobs.work": "work",
    "tests.crash.job_work": "work",
    "tests.crash.job_client": "client",
}
#: The name that the guard of a runner, which is forked from it, gives itself.
GUARD = "fastgpu-guard"


def role_of(words: list[str]) -> str | None:
    """Return the role of a process with that command line."""
    return next((role for module, role in ROLES.items() if any(word == module for word in words[1:6])), None)


def processes(folder: str) -> dict[int, str]:
    """Return the roles of the processes that have these failpoints, by number."""
    found = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 (names, not paths)
        try:
            if f"{VARIABLE}={folder}".encode() not in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                continue
            words = Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace").split("\0")
            is_guard = Path(f"/proc/{name}/comm").read_text().strip() == GUARD
        except OSError:
            continue
        role = "guard" if is_guard else role_of(words)
        if role is not None:
            found[int(name)] = role
    return found


class _Failpoints:
    """What this process looks for at each point."""

    def __init__(self, folder: str, role: str) -> None:
        self._folder, self._role, self._pid = folder, role, os.getpid()
        self._path = Path(folder) / "crash.json"
        self._counts: dict[str, int] = {}

    def __call__(self, point: str) -> None:
        """Kill the victim if that is the point."""
        if self._role == "dispatcher":
            self._pid = os.getpid()  # it goes on in a child process
        elif os.getpid() != self._pid:
            return  # the guard of a runner is no runner
        try:
            wanted = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return
        if wanted["role"] != self._role or wanted["point"] != point:
            return
        self._counts[wanted["id"]] = count = self._counts.get(wanted["id"], 0) + 1
        if count != wanted["count"]:
            return
        try:
            self._path.rename(self._path.with_name("reached.json"))
        except FileNotFoundError:
            return  # another process was here
        victim = wanted["victim"]
        pids = (
            [victim]
            if isinstance(victim, int)
            else [
                pid
                for pid, role in processes(self._folder).items()
                if role == victim and (role != self._role or pid == self._pid)
            ]
        )
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def around(self, real: Callable[..., Any], names: Callable[..., list[str]]) -> Callable[..., Any]:
        """Return the function with a point before and one after it."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            found = names(*args)
            for name in found:
                self(f"before-{name}")
            result = real(*args, **kwargs)
            for name in found:
                self(f"after-{name}")
            return result

        return wrapped


def _renamed(_: Any, target: Any, *more: Any) -> list[str]:
    path = Path(os.fsdecode(os.fspath(target)))
    if path.name == "reached.json":
        return []
    return [f"rename:{path.name}", *(f"rename-in:{parent.name}" for parent in path.parents if parent.name)]


def _call_of(data: Any) -> str:
    try:
        return str(json.loads(bytes(data)[4:]).get("call"))
    except (ValueError, AttributeError):
        return "?"


def _install(at: _Failpoints) -> None:
    for name in ("rename", "replace", "link"):
        setattr(os, name, at.around(getattr(os, name), _renamed))
    os.fork = at.around(os.fork, lambda: ["fork"])
    import socket
    import sqlite3
    import subprocess

    subprocess.Popen.__init__ = at.around(  # type: ignore[method-assign]
        subprocess.Popen.__init__, lambda *args: ["spawn"]
    )

    class Socket(socket.socket):
        def sendall(self, data: Any, *args: Any) -> None:
            name = _call_of(data)
            at(f"before-send:{name}")
            super().sendall(data, *args)
            at(f"after-send:{name}")

    socket.socket = Socket  # type: ignore[misc]

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            if sql != "COMMIT":
                return super().execute(sql, *args)
            at("before-commit")
            done = super().execute(sql, *args)
            at("after-commit")
            return done

    real_connect: Any = sqlite3.connect

    def connect(*args: Any, **kwargs: Any) -> Any:
        return real_connect(*args, **{"factory": Connection, **kwargs})

    sqlite3.connect = connect


def _main() -> None:
    folder, role = os.environ.get(VARIABLE), role_of(sys.orig_argv)
    if folder and role is not None:
        _install(_Failpoints(folder, role))


if __name__ == "sitecustomize":
    _main()
