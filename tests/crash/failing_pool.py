"""A pool manager that kills itself at a failpoint, such as ``--crash-at before-commit@ReleaseLease``.

``python -m tests.crash.failing_pool --crash-at POINT[:N] ARGUMENTS OF THE POOL`` runs one. ``--fork`` reads one JSON
object per line from standard input, ``{"arguments": [...], "crash_at": "POINT" or null, "output": PATH}``, and forks
one for each line, without importing the package again. The package has no hooks: the child wraps its methods.

A failpoint is ``before-`` or ``after-`` one of: append, insert, commit, apply, answer, effect, prepare, drain,
snapshot, create, archive, part, recover, bind, rename. The name of the command or effect in which it is reached follows
an ``@``; how many times it is reached before the process ends follows a ``:``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastgpu_jupyter.core.pool import Pool
from fastgpu_jupyter.pool import app
from fastgpu_jupyter.pool.devices.simulated import SimulatedDriver
from fastgpu_jupyter.pool.effects.runner import EffectRunner
from fastgpu_jupyter.pool.host import single_instance
from fastgpu_jupyter.pool.journal import archive, database, store, writer
from fastgpu_jupyter.pool.loop.command_loop import CommandLoop
from fastgpu_jupyter.pool.loop.command_queue import QueuedCommand


class Failpoint:
    """A point in the code at which this process kills itself."""

    def __init__(self, text: str) -> None:
        text, _, count = text.partition(":")
        self._point, _, self._about = text.partition("@")
        self._left = int(count or 1)
        #: The commands of the batch that is being committed.
        self.batch: set[str] = set()

    def __call__(self, point: str, about: str = "") -> None:
        """Kill this process if ``point`` is the failpoint."""
        if point != self._point or (self._about and self._about not in {about, *self.batch}):
            return
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


def install(at: Failpoint) -> None:
    """Call ``at`` at every point."""

    def around(owner: Any, method: str, name: str) -> None:
        real = getattr(owner, method)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            about = type(args[1]).__name__ if len(args) > 1 else ""
            at(f"before-{name}", about)
            result = real(*args, **kwargs)
            at(f"after-{name}", about)
            return result

        setattr(owner, method, wrapped)

    commit = CommandLoop._commit

    async def commit_and_note(self: CommandLoop, batch: list[QueuedCommand]) -> None:
        at.batch = {type(call.command).__name__ for call in batch}
        await commit(self, batch)
        at.batch = set()

    CommandLoop._commit = commit_and_note  # type: ignore[method-assign]
    writer.SNAPSHOT_EVERY = 3
    vars(store)["PART_RECORDS"] = 2
    around(Pool, "execute", "apply")
    around(QueuedCommand, "answer", "answer")
    around(EffectRunner, "run", "effect")
    around(SimulatedDriver, "prepare", "prepare")
    around(SimulatedDriver, "processes", "drain")
    around(store.Journal, "append", "append")
    around(store.Journal, "snapshot", "snapshot")
    around(archive.Archive, "append", "part")
    around(database.Database, "_create", "create")
    around(store.Journal, "archive_part", "archive")
    around(app, "recover", "recover")
    around(single_instance, "listen", "bind")
    real_rename = Path.rename

    def rename(path: Path, target: Any) -> Path:
        at("before-rename")
        renamed = real_rename(path, target)
        at("after-rename")
        return renamed

    Path.rename = rename  # type: ignore[method-assign,assignment]

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            if sql != "COMMIT":
                return super().execute(sql, *args)
            at("before-commit")
            done = super().execute(sql, *args)
            at("after-commit")
            return done

        def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
            at("before-insert")
            done = super().executemany(sql, *args)
            at("after-insert")
            return done

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return sqlite3.connect(*args, factory=Connection, **kwargs)

    vars(database)["sqlite3"] = vars(store)["sqlite3"] = SimpleNamespace(connect=connect, Error=sqlite3.Error)


def run(arguments: list[str], crash_at: str | None) -> None:
    """Run a pool manager in this process."""
    if crash_at:
        install(Failpoint(crash_at))
    app.main(arguments)


def serve_forks() -> None:
    """Fork a pool manager for each line of standard input; print its process id, and its exit status when asked for."""
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
            run(wanted["arguments"], wanted.get("crash_at"))
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        finally:
            os._exit(status)


def main() -> None:
    """Run one pool manager, or fork many."""
    if sys.argv[1:] == ["--fork"]:
        serve_forks()
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--crash-at", metavar="POINT[:N]")
    options, arguments = parser.parse_known_args()
    run(arguments, options.crash_at)


if __name__ == "__main__":
    main()
