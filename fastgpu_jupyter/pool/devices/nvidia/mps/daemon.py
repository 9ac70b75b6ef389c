"""One MPS control daemon: start it, find it, send it commands, and end it.

The program is NVIDIA's ``nvidia-cuda-mps-control``. Run with ``-f`` it serves in a folder, for as long as it holds a
lock there; run without arguments it takes commands for the daemon of that folder. It reports that a command failed only
in its output: its exit status is 0 wherever there is a daemon.

A daemon serves the user that it runs as, and no other: a pool manager that runs as root starts each user's daemon as
that user, in a folder that only the user may enter. A daemon is a process group of its own, and no folder serves two of
them one after the other, so a client of a daemon that ended never finds another one. It outlives the pool manager,
which finds it by a variable in its environment (:data:`MARK`) that its clients do not have.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from .....errors import HostFault, Message
from ....host.process import read_proc_file
from ....host.threads import call_with_timeout
from ..env import visible_env
from .processes import environ_of, kill_if, parent_of, pids, start_time

PROGRAM = "nvidia-cuda-mps-control"
#: Names the folder of a daemon in its environment, and in that of the servers that it starts.
MARK = "FASTGPU_MPS"
PIPE_DIRECTORY = "CUDA_MPS_PIPE_DIRECTORY"
#: How long a daemon may take to answer, and to end. The pool gives a driver up after ten seconds.
START_S = 5.0
QUIT_S = 3.0
POLL_S = 0.02
#: How long the user database, which may be on another machine, may take to answer.
USERS_S = 2.0
#: Longest path of a socket, less the longest name that a daemon gives one.
PATH_MAX = 107 - len("/control_privileged")
LOG = "control.log"


class Daemon(NamedTuple):
    """The identity of a control daemon."""

    pid: int
    start_time: int  #: clock ticks after boot, field 22 of /proc/PID/stat
    folder: str

    @classmethod
    def parse(cls, text: str) -> Daemon | None:
        """Return the daemon of which ``str`` gives that text; ``None`` where the text is of none."""
        pid, _, rest = text.partition(":")
        started, _, folder = rest.partition(":")
        return cls(int(pid), int(started), folder) if pid.isdigit() and started.isdigit() and folder else None

    @classmethod
    def unknown(cls, folder: Path) -> Daemon:
        """Return what stands for a daemon that may be in a folder."""
        return cls(0, 0, str(folder))

    def __str__(self) -> str:
        return f"{self.pid}:{self.start_time}:{self.folder}"

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return start_time(self.pid) == self.start_time

    @property
    def serves(self) -> bool:
        """Whether it runs where processes find it."""
        return self.runs and (Path(self.folder) / "control").exists()


def program() -> str | None:
    """Return the path of the control program, or ``None``."""
    return shutil.which(PROGRAM)


class DaemonStarter:
    """Starts daemons, and reaps those that are children of this process."""

    def __init__(self) -> None:
        self._children: set[int] = set()

    def start(self, folder: Path, device_id: str, owner_uid: int) -> Daemon:
        """Start a daemon for processes of one user on one device, in a new folder, and return it once it answers.

        Raises :class:`HostFault` where it does not answer, and leaves nothing behind then.
        """
        command = program()
        if command is None:
            raise HostFault(f"{PROGRAM} was not found.")
        env = {**_environment(str(folder)), MARK: str(folder), **visible_env([device_id])}
        try:
            folder.mkdir(mode=0o700)
            with (folder / LOG).open("xb") as log:
                if owner_uid != os.geteuid():
                    os.chown(folder, owner_uid, -1)
                child = subprocess.Popen(
                    [command, "-f"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=env,
                    start_new_session=True, **_as(owner_uid),
                )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise HostFault(f"The MPS control daemon cannot be started in {folder} ({error}).") from error
        child.returncode = 0  # it is meant to outlive this object, and this process
        self._children.add(child.pid)
        daemon = Daemon(child.pid, start_time(child.pid) or 0, str(folder))
        try:
            wait_until_it_answers(daemon)
        except HostFault:
            end(daemon, quit_s=0)
            self.reap()
            raise
        return daemon

    def reap(self) -> None:
        """Reap the daemons that ended."""
        for pid in list(self._children):
            try:
                ended, _ = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                ended = pid
            if ended:
                self._children.discard(pid)


def wait_until_it_answers(daemon: Daemon) -> None:
    """Return once the daemon answers. Raises :class:`HostFault` where it ends instead, or takes too long."""
    deadline = time.monotonic() + START_S
    while daemon.runs:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise HostFault(f"The MPS control daemon did not answer for {START_S:g} seconds.{_last_line(daemon)}")
        if (Path(daemon.folder) / "control").exists():
            with suppress(HostFault):
                ask(daemon.folder, "get_server_list", left_s)
                return
        time.sleep(POLL_S)
    raise HostFault(f"The MPS control daemon ended as soon as it was started.{_last_line(daemon)}")


def ask(folder: str, command: str, timeout_s: float) -> str:
    """Return the answer of a folder's daemon. Raises :class:`HostFault` where there is none, or not in time."""
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [PROGRAM], input=f"{command}\n", env=_environment(folder), cwd="/",
            capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False,
            **_as(Path(folder).stat().st_uid),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise HostFault("The MPS control daemon does not answer.") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise HostFault(f"{PROGRAM} cannot be run ({error}).") from error
    if done.returncode:
        raise HostFault(f"There is no MPS control daemon in {folder}.")
    return done.stdout


def end(daemon: Daemon, quit_s: float = QUIT_S) -> None:
    """End a daemon with its servers and remove its folder; do nothing where it has ended and is removed.

    Raises :class:`HostFault` where a process of it remains.
    """
    deadline = time.monotonic() + quit_s
    if quit_s and daemon.runs:
        with suppress(HostFault):
            ask(daemon.folder, "quit", quit_s)
        _wait(lambda: not daemon.runs, deadline - time.monotonic())
    for pid in [*_servers(daemon), *family(daemon.folder)]:
        kill_if(pid, lambda pid=pid: _belongs_to(pid, daemon.folder) or pid in _servers(daemon))  # type: ignore[misc]
    kill_if(daemon.pid, lambda: daemon.runs)  # its folder may have been removed
    if not _wait(lambda: not (daemon.runs or family(daemon.folder)), 1.0):
        raise HostFault(f"The MPS processes of {daemon.folder} do not end.")
    shutil.rmtree(daemon.folder, ignore_errors=True)


def find(folder: Path) -> Daemon | None:
    """Return the daemon that runs in a folder, by whatever pool manager it was started, or ``None``."""
    for pid in family(str(folder)):
        with suppress(OSError):
            if b"-f" in read_proc_file(f"/proc/{pid}/cmdline").split(b"\0"):  # its servers have no arguments
                return Daemon(pid, start_time(pid) or 0, str(folder))
    return None


def family(folder: str) -> list[int]:
    """Return the pids of a folder's daemon and its servers, without its clients."""
    return [pid for pid in pids() if _belongs_to(pid, folder)]


def is_visible_to(pid: int, daemon: Daemon) -> bool:
    """Return whether a process finds the daemon's folder at its path: one in a container may not."""
    try:
        os.stat(f"/proc/{pid}/root{daemon.folder}/control")  # noqa: PTH116 (a Path would hide why not)
    except FileNotFoundError:
        return start_time(pid) is None
    except OSError:
        pass  # this process may not look
    return True


def _servers(daemon: Daemon) -> list[int]:
    return [pid for pid in pids() if parent_of(pid) == daemon.pid] if daemon.runs else []


def _belongs_to(pid: int, folder: str) -> bool:
    """Return whether a process has the folder's mark; the mark of a process of another user than the folder's does
    not count.
    """
    if f"{MARK}={folder}".encode() not in environ_of(pid) or start_time(pid) is None:
        return False
    try:
        return Path(f"/proc/{pid}").stat().st_uid == Path(folder).stat().st_uid
    except OSError:
        return False


def _as(uid: int) -> dict[str, Any]:
    """Return the arguments that start a process as that user; by number, as the user's name may have been removed.

    Raises :class:`HostFault` if the user database does not answer.
    """
    if uid == os.geteuid():
        return {}
    group, *groups = call_with_timeout(USERS_S, lambda: _groups_of(uid), Message.of("users.silent"))
    return {"user": uid, "group": group, "extra_groups": groups}


def _groups_of(uid: int) -> list[int]:
    """Return the groups of a user, the main one first and again among the others."""
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return [uid]
    return [user.pw_gid, *os.getgrouplist(user.pw_name, user.pw_gid)]


def _environment(folder: str) -> dict[str, str]:
    """Return where programs and libraries are, and nothing else of this process's: the user may read it."""
    ours = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**ours, PIPE_DIRECTORY: folder, "CUDA_MPS_LOG_DIRECTORY": folder}


def _last_line(daemon: Daemon) -> str:
    """Return the last line of a daemon's log as a sentence."""
    with suppress(OSError):
        lines = (Path(daemon.folder) / LOG).read_text(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f" It said: {said[-200:]}" if said else ""
    return ""


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
