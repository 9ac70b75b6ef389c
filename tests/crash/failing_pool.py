"""A pool manager that kills itself at a failpoint, such as ``--crash-at before-commit@ReleaseLease``.

``python -m tests.crash.failing_pool --crash-at POINT[:N] ARGUMENTS OF THE POOL`` runs one. ``--fork`` reads one JSON
object per line from standard input, ``{"arguments": [...], "crash_at": "POINT" or null, "output": PATH}``, and forks
one for each line, without importing the package again. The package has no hooks: the child wraps its methods.

A failpoint is ``before-`` or ``after-`` one of the steps below. What it is about follows an ``@``; how many times it is
reached before the process ends follows a ``:``. The steps of a command, in order:

    apply       its events are decided on and applied in memory                             @ command
    make        an answer is made; that to a request for a lease when the lease is ready    @ the answered command
    append      what is to be written is handed to the journal                              @ commands of the batch
    insert      the records are inserted                                                    @ commands of the batch
    dictionary  what the next answers are compressed with is inserted                       @ commands of the batch
    key         keys and first answers are inserted                                         @ commands of the batch
    commit      the transaction, or that of a keep, snapshot or archive                     @ commands, or that step
    answer      the caller in the pool manager gets its answer                              @ the answered command
    give-up     a caller gets the id of a lease whose preparation is slow instead
    keep        an answer is written that was made after the commit
    update      the same, within its transaction
    reply       the answer is sent through the socket                                       @ operation

Others: effect (@ effect), prepare, drain, snapshot, create, archive, part, recover, bind, rename. Of a cluster: expect,
submit, cancel, hello.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastgpu_jupyter.core.pool import Pool
from fastgpu_jupyter.pool import app
from fastgpu_jupyter.pool.devices.simulated import SimulatedDriver
from fastgpu_jupyter.pool.effects.runner import EffectRunner
from fastgpu_jupyter.pool.host import single_instance
from fastgpu_jupyter.pool.http.endpoint import Endpoint
from fastgpu_jupyter.pool.http.handlers import leases
from fastgpu_jupyter.pool.journal import archive, database, store, writer
from fastgpu_jupyter.pool.journal.answers import AnswerTable
from fastgpu_jupyter.pool.loop.answers import AnswerMaker
from fastgpu_jupyter.pool.loop.command_loop import CommandLoop
from fastgpu_jupyter.pool.loop.command_queue import Answer, QueuedCommand
from tests.crash.forking import serve_forks


class Failpoint:
    """A point in the code at which this process kills itself."""

    def __init__(self, text: str) -> None:
        text, _, count = text.partition(":")
        self._point, _, self._about = text.partition("@")
        self._left = int(count or 1)
        #: The commands of the batch that is being committed.
        self.batch: set[str] = set()

    def is_beside(self, step: str) -> bool:
        """Return whether the failpoint is before or after ``step``."""
        return self._point in {f"before-{step}", f"after-{step}"}

    def __call__(self, point: str, about: str | None = None) -> None:
        """Kill this process if ``point`` is the failpoint; without ``about`` it is about the commands of the batch."""
        if point != self._point or (self._about and self._about not in (self.batch if about is None else {about})):
            return
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


#: The steps of a pool in engine mode.
IN_A_CLUSTER = ("expect", "submit", "cancel", "hello")
#: The steps of the journal's statements, by their beginnings.
STATEMENTS = {
    "INSERT INTO record": "insert",
    "INSERT INTO dictionary": "dictionary",
    "INSERT INTO answer": "key",
    "UPDATE answer": "update",
    "COMMIT": "commit",
}


def install(at: Failpoint) -> None:
    """Call ``at`` at every point."""
    _install_in_the_loop(at)
    _install_in_the_journal(at)
    around(at, EffectRunner, "run", "effect", lambda _, effect: type(effect).__name__)
    around(at, SimulatedDriver, "prepare", "prepare")
    around(at, SimulatedDriver, "processes", "drain")
    _install_in_recovery(at)
    if any(map(at.is_beside, IN_A_CLUSTER)):
        _install_in_the_cluster(at)
    around(at, single_instance, "listen", "bind")
    around(at, Path, "rename", "rename")


def around(
    at: Failpoint, owner: Any, method: str, name: str, about: Callable[..., str | None] = lambda *_: None
) -> None:
    """Call ``at`` before and after ``method``; ``about`` says from its arguments what the call is about."""
    real = getattr(owner, method)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        subject = about(*args)
        at(f"before-{name}", subject)
        result = real(*args, **kwargs)
        at(f"after-{name}", subject)
        return result

    setattr(owner, method, wrapped)


def _install_in_recovery(at: Failpoint) -> None:
    recover = vars(app)["recover"]

    def recover_and_note(*args: Any, **kwargs: Any) -> Any:
        at.batch = {"StartPool"}
        recovered = recover(*args, **kwargs)
        at.batch = set()
        return recovered

    vars(app)["recover"] = recover_and_note
    around(at, app, "recover", "recover")


def _install_in_the_cluster(at: Failpoint) -> None:
    from fastgpu_jupyter.pool.clusters.agents import AgentListener
    from fastgpu_jupyter.pool.clusters.fake import FakeEngine
    from fastgpu_jupyter.pool.clusters.rendezvous import Rendezvous

    around(at, Rendezvous, "expect", "expect")
    around(at, FakeEngine, "submit", "submit")
    around(at, FakeEngine, "cancel", "cancel")
    around(at, AgentListener, "on_hello", "hello")


def _install_in_the_loop(at: Failpoint) -> None:
    commit = CommandLoop._commit

    async def commit_and_note(self: CommandLoop, batch: list[QueuedCommand]) -> None:
        at.batch = {type(call.command).__name__ for call in batch}
        await commit(self, batch)
        at.batch = set()

    CommandLoop._commit = commit_and_note  # type: ignore[method-assign]
    around(at, Pool, "execute", "apply", lambda _, command, *__: type(command).__name__)
    around(at, QueuedCommand, "make_answer", "make", lambda call, *_: type(call.command).__name__)
    around(at, Answer, "send", "answer", lambda answer: type(answer.call.command).__name__)
    around(at, AnswerMaker, "_give_up", "give-up")
    around(at, Endpoint, "_send_json", "reply", _operation)
    if at.is_beside("give-up"):
        _prepare_after_give_up()


def _install_in_the_journal(at: Failpoint) -> None:
    writer.SNAPSHOT_EVERY = 3
    vars(store)["PART_RECORDS"] = 2
    #: What the journal's thread writes, if it is not a batch.
    beside_batches = threading.local()

    def beside(owner: Any, method: str, name: str) -> None:
        real = getattr(owner, method)

        def wrapped(*args: Any) -> Any:
            beside_batches.step = name
            try:
                return real(*args)
            finally:
                beside_batches.step = None

        setattr(owner, method, wrapped)
        around(at, owner, method, name)

    def statement(run: Callable[..., sqlite3.Cursor], sql: str, *args: Any) -> sqlite3.Cursor:
        step = next((step for beginning, step in STATEMENTS.items() if sql.startswith(beginning)), None)
        if step is None:
            return run(sql, *args)
        about = getattr(beside_batches, "step", None)
        at(f"before-{step}", about)
        done = run(sql, *args)
        at(f"after-{step}", about)
        return done

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            return statement(super().execute, sql, *args)

        def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
            return statement(super().executemany, sql, *args)

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return sqlite3.connect(*args, factory=Connection, **kwargs)

    vars(database)["sqlite3"] = vars(store)["sqlite3"] = SimpleNamespace(connect=connect, Error=sqlite3.Error)
    beside(AnswerTable, "keep_first", "keep")
    beside(store.Journal, "snapshot", "snapshot")
    beside(store.Journal, "archive_part", "archive")
    around(at, store.Journal, "append", "append")
    around(at, archive.Archive, "append", "part")
    around(at, database.Database, "_create", "create")


def _operation(endpoint: Endpoint, _: object) -> str:
    return endpoint.routes[endpoint.request.method or ""].operation.name


def _prepare_after_give_up() -> None:
    """Let no logical GPU be prepared before a caller gave up waiting for it."""
    given_up, give_up, prepare = threading.Event(), AnswerMaker._give_up, SimulatedDriver.prepare

    def give_up_and_note(maker: AnswerMaker, last: Answer) -> None:
        give_up(maker, last)
        given_up.set()

    def prepare_then(*args: Any) -> Any:
        given_up.wait()
        return prepare(*args)

    leases.PREPARE_GRACE_S = 0.01
    AnswerMaker._give_up = give_up_and_note  # type: ignore[method-assign,assignment]
    SimulatedDriver.prepare = prepare_then  # type: ignore[method-assign,assignment]


def run(arguments: list[str], crash_at: str | None) -> None:
    """Run a pool manager in this process."""
    if crash_at:
        install(Failpoint(crash_at))
    app.main(arguments)


def main() -> None:
    """Run one pool manager, or fork many."""
    if sys.argv[1:] == ["--fork"]:
        serve_forks(lambda wanted: run(wanted["arguments"], wanted.get("crash_at")))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--crash-at", metavar="POINT[:N]")
    options, arguments = parser.parse_known_args()
    run(arguments, options.crash_at)


if __name__ == "__main__":
    main()
