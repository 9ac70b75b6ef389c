"""Commands for the process of the pool manager: stop, restart, logs, path."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jupyter_core.application import base_aliases
from traitlets import Bool, Integer, Unicode

from .. import __version__
from ..errors import Conflict, FastGPUError, Message, NotFound, PoolUnreachable
from ..messages import render, say, text_of
from ..messages.help import CommandApp
from ..pool.carry_over import SettingsRecord, load_record, save_record
from ..pool.host import single_instance
from ..pool.journal.store import Journal
from ..text import display_width, padded
from ..wire.client import PoolClient
from ..wire.lease_view import is_simulated
from ..wire.locate import pool_socket, user_socket, user_state_dir
from ..wire.schemas import LeaseView
from ..wire.spawn import ALREADY_RUNNING, start_detached
from . import running_pool
from .output import write, write_error, write_json
from .running_pool import RunningPool

START_S = 15.0
#: How often a restart ends a pool manager that a kernel started meanwhile, with other options.
TRIES = 3
#: Variables that say which code runs: that of this command, which may have been upgraded.
OF_THIS_PROGRAM = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "PATH")
FOLLOW_S = 0.5
#: Leases that are named before a pool manager is stopped.
NAMED_MAX = 5


class PoolProcessApp(CommandApp):
    """A command about the process of a pool manager."""

    version = __version__
    socket_path = Unicode(help="The socket of the pool manager, in place of the one that commands use.").tag(
        config=True
    )
    aliases = {**base_aliases, "socket": "PoolProcessApp.socket_path"}
    flags: dict[str, Any] = {}

    def start(self) -> None:
        """Run the command; print an error as one line and exit with 1, or with 2 where no pool manager serves."""
        super().start()
        path = Path(self.socket_path or pool_socket())
        try:
            self.run(path, running_pool.find(path))
        except (FastGPUError, OSError) as error:
            sentence = text_of(error) if isinstance(error, FastGPUError) else f"{error}."
            write_error(self.name.replace("-", " "), sentence)
            sys.exit(2 if isinstance(error, PoolUnreachable) else 1)

    def run(self, path: Path, pool: RunningPool | None) -> None:
        """Run the command for the pool manager at the socket ``path``, None if none serves it."""
        raise NotImplementedError


class StopApp(PoolProcessApp):
    """The command that stops the pool manager."""

    name = "jupyter-fastgpu-pool-stop"
    description = "Stop your pool manager. Leases live on; where some do, it asks first."
    yes = Bool(False, help="Do not ask.").tag(config=True)
    flags = {"yes": ({"StopApp": {"yes": True}}, "Do not ask.")}

    def run(self, path: Path, pool: RunningPool | None) -> None:
        """Ask if leases live or may live, stop, and print what happens to them."""
        if pool is None:
            write(say("pool_process.none", path=str(path)))
            return
        pool.require_own("stop")
        leases = _live_leases(path)
        if leases == []:
            pool.end()
            write(say("pool_process.stopped"))
            return
        simulated = any(map(is_simulated, leases or []))
        consequence = (
            Message.of("pool_process.simulated_are_missing") if simulated else Message.of("pool_process.leases_go_on")
        )
        if not self.yes:
            self._ask(leases, consequence)
        pool.end()
        write(say("pool_process.stopped_with", consequence=consequence))

    def _ask(self, leases: list[LeaseView] | None, consequence: Message) -> None:
        write(_leases_text(leases), render(consequence))
        if not sys.stdin.isatty():
            raise Conflict(Message.of("pool_process.not_asked"))
        write(say("pool_process.stop_it"))
        if sys.stdin.readline().strip().lower() not in say("pool_process.yes").split():
            raise Conflict(Message.of("pool_process.not_stopped"))


class RestartApp(PoolProcessApp):
    """The command that restarts the pool manager."""

    name = "jupyter-fastgpu-pool-restart"
    description = "Start the installed version in place of your pool manager, with the same options. Leases live on."

    def run(self, path: Path, pool: RunningPool | None) -> None:
        """Stop the pool manager, start another one with its options, and print which serves now."""
        if pool is None:
            raise PoolUnreachable(Message.of("pool_process.none_to_restart", path=str(path)))
        pool.require_own("restart")
        if pool.state_dir is not None:
            Journal(pool.state_dir / "journal.db").close()  # raises while the former one still serves
        options, environment, folder = pool.options(), pool.environment(), pool.folder()
        in_terminal = pool.log is None
        keeps_settings = _has_carried_over(path)
        carried_over = _carried_over(pool)
        for name in OF_THIS_PROGRAM:
            environment.pop(name, None)
        environment |= {name: os.environ[name] for name in OF_THIS_PROGRAM if name in os.environ}
        for _ in range(TRIES):
            if pool is not None:
                pool.end(keeps_settings=keeps_settings)
            with self._locks(path, pool) as locks:
                if carried_over is not None:
                    save_record(*carried_over)  # removed when the former one ended
                if start_detached(options, environment, folder, START_S, locks=locks) != ALREADY_RUNNING:
                    break
            pool = running_pool.find(path)  # a kernel has started it meanwhile, without the options
        else:
            raise Conflict(Message.of("pool_process.others_start", path=str(path)))
        served = PoolClient(path).status()
        live = sum(lease["state"] != "ended" for lease in served["leases"])
        write(say("pool_process.serves", version=served["pool"]["version"], path=str(path), count=live))
        if in_terminal:
            write(say("pool_process.in_background"))

    @contextmanager
    def _locks(self, path: Path, pool: RunningPool | None) -> Iterator[list[int]]:
        """Hold the locks of the pool manager that ended, so that no kernel starts one with other options before ours.

        Where another process has one already, its pool manager is ended, too.
        """
        locks: list[int] = []
        try:
            with suppress(Conflict):
                locks.append(single_instance.acquire_socket_lock(path))
                if pool is not None and pool.state_dir is not None:
                    locks.append(single_instance.acquire_lock(pool.state_dir, "lock"))
            yield locks
        finally:
            for lock in locks:
                os.close(lock)


class LogsApp(PoolProcessApp):
    """The command that shows what the pool manager logged."""

    name = "jupyter-fastgpu-pool-logs"
    description = "Show the end of what your pool manager logged."
    lines = Integer(100, min=1, help="How many lines.").tag(config=True)
    follow = Bool(False, help="Go on with what it logs from now on.").tag(config=True)
    aliases = {**PoolProcessApp.aliases, "lines": "LogsApp.lines", "n": "LogsApp.lines"}
    flags = {"follow": ({"LogsApp": {"follow": True}}, "Go on with what it logs from now on.")}

    def run(self, path: Path, pool: RunningPool | None) -> None:
        """Print the last lines, and new ones until it is interrupted."""
        log = _paths(path, pool)["log"]
        if log is None:
            assert pool is not None
            if pool.unit:
                raise NotFound(
                    Message.of("pool_process.no_log_of_unit", path=str(path), pid=str(pool.pid), unit=pool.unit)
                )
            raise NotFound(Message.of("pool_process.no_log", path=str(path), pid=str(pool.pid)))
        with Path(log).open(errors="replace") as file:
            write(*(line.rstrip("\n") for line in deque(file, self.lines)))
            while self.follow:
                line = file.readline()
                write(line.rstrip("\n")) if line else time.sleep(FOLLOW_S)


class PathApp(PoolProcessApp):
    """The command that shows where the files of the pool manager are."""

    name = "jupyter-fastgpu-pool-path"
    description = "Show the socket, the journal and the log of the pool manager."
    as_json = Bool(False, help="Print JSON for programs.").tag(config=True)
    flags = {"json": ({"PathApp": {"as_json": True}}, "Print JSON for programs.")}

    def run(self, path: Path, pool: RunningPool | None) -> None:
        """Print the paths, whether or not a pool manager serves."""
        paths = _paths(path, pool)
        process = None if pool is None else pool.pid
        if self.as_json:
            write_json({**paths, "process": process}, 2)
            return
        rows = [*((_PATH_NAMES[name], found or "-") for name, found in paths.items())]
        rows.append((Message.of("pool_process.process"), str(process or "-")))
        write(*_aligned([(render(name), found) for name, found in rows]))


#: What :class:`PathApp` calls the paths of :func:`_paths`.
_PATH_NAMES = {
    "socket": Message.of("pool_process.socket"),
    "journal": Message.of("pool_process.journal"),
    "log": Message.of("pool_process.log"),
}


def _aligned(rows: list[tuple[str, str]]) -> list[str]:
    widest = max(display_width(name) for name, _ in rows)
    return [f"{padded(name, widest)}  {found}" for name, found in rows]


def _paths(path: Path, pool: RunningPool | None) -> dict[str, str | None]:
    """Return the paths of a pool manager's files; those of the next one if none serves."""
    state_dir = pool.state_dir if pool else _next_state_dir(path)
    log = pool.log if pool else state_dir / "pool.log" if state_dir else None
    return {
        "socket": str(path),
        "journal": str(state_dir / "journal.db") if state_dir else None,
        "log": str(log) if log else None,
    }


def _next_state_dir(path: Path) -> Path | None:
    """Return the state folder of the pool manager that served the socket last, or of one that is started now."""
    return running_pool.last_state_dir(path) or (user_state_dir() if path == user_socket() else None)


def _carried_over(pool: RunningPool) -> tuple[Path, SettingsRecord] | None:
    """Return the settings of a killed pool manager that hold in this one, or may, and their folder; else None."""
    try:
        holds = PoolClient(pool.socket, timeout_s=running_pool.CONNECT_S).pool()["carried_over"] is not None
    except FastGPUError:
        holds = True
    record = load_record(pool.state_dir) if holds and pool.state_dir else None
    return (pool.state_dir, record) if pool.state_dir and record else None


def _live_leases(path: Path) -> list[LeaseView] | None:
    """Return the leases that live, None if the pool manager does not say."""
    try:
        status = PoolClient(path, timeout_s=running_pool.CONNECT_S).status()
    except FastGPUError:
        return None
    return [lease for lease in status["leases"] if lease["state"] != "ended"]


def _has_carried_over(path: Path) -> bool:
    """Return whether the pool manager has settings that are not among its options; false if it does not say."""
    try:
        return PoolClient(path, timeout_s=running_pool.CONNECT_S).pool()["carried_over"] is not None
    except FastGPUError:
        return False


def _leases_text(leases: list[LeaseView] | None) -> str:
    if leases is None:
        return say("pool_process.leases_unknown")
    names = tuple(
        Message.of("pool_process.lease", lease=_name_of(lease), state=lease["state"]) for lease in leases[:NAMED_MAX]
    )
    listed = ", ".join(map(render, names))
    if len(leases) > NAMED_MAX:
        return say("pool_process.more_leases", count=len(leases), leases=listed)
    return say("pool_process.leases", count=len(leases), leases=listed)


def _name_of(lease: LeaseView) -> str:
    holder = lease["holder"]
    return holder["job"] or holder["notebook"] or lease["id"]
