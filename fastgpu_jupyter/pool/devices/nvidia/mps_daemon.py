"""One MPS control daemon: started, found again, asked, and stopped.

The program is NVIDIA's ``nvidia-cuda-mps-control``. Run with ``-f`` it serves in a folder, for as long as it holds a
lock there; run without arguments it takes commands for the daemon of that folder. It says that a command failed only in
what it writes: its exit status is 0 wherever there is a daemon.

A daemon serves the user that it runs as, and no other: where the pool manager is root, it starts each user's as that
user, in a folder that only he may enter. It is a process group of its own, and no folder serves two of them one after
the other, so a client of one that ended never finds another one. It outlives the pool manager, and is found again by
what is in its environment (:data:`MARK`), which its clients do not have.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ....errors import HostFault
from ...host.process import read_proc_file

PROGRAM = "nvidia-cuda-mps-control"
#: Names the folder of a daemon in its environment, and in that of the servers that it starts.
MARK = "FASTGPU_MPS"
#: How long a daemon may take to serve, and to end. The pool gives a driver up after ten seconds.
START_S = 5.0
QUIT_S = 3.0
POLL_S = 0.02
#: What a socket's path may have, less the longest name that a daemon gives one.
PATH_MAX = 107 - len("/control_privileged")
LOG = "control.log"


class Daemon(NamedTuple):
    """The identity of a control daemon."""

    pid: int
    start_time: int  #: clock ticks after boot, field 22 of /proc/PID/stat
    folder: str

    @classmethod
    def read(cls, text: str) -> Daemon | None:
        """The one that ``str`` made that text of; ``None`` where it is of none."""
        pid, _, rest = text.partition(":")
        start_time, _, folder = rest.partition(":")
        return cls(int(pid), int(start_time), folder) if pid.isdigit() and start_time.isdigit() and folder else None

    def __str__(self) -> str:
        return f"{self.pid}:{self.start_time}:{self.folder}"

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return _start_time(self.pid) == self.start_time

    @property
    def serves(self) -> bool:
        """Whether it runs where processes find it."""
        return self.runs and (Path(self.folder) / "control").exists()


def program() -> str | None:
    """Where the control program is, or ``None``."""
    return shutil.which(PROGRAM)


class Starter:
    """Starts daemons, and knows those that are children of this process: their ends must be taken note of."""

    def __init__(self) -> None:
        self._children: set[int] = set()

    def start(self, folder: Path, device_id: str, owner_uid: int) -> Daemon:
        """A daemon for processes of one user on one device, once it answers; in a folder that is not there yet.

        Raises :class:`HostFault` where it does not, and leaves nothing behind then.
        """
        command = program()
        if command is None:
            raise HostFault(f"{PROGRAM} was not found.")
        environment = {**_environment(str(folder)), MARK: str(folder), "CUDA_VISIBLE_DEVICES": device_id}
        try:
            folder.mkdir(mode=0o700)
            with (folder / LOG).open("xb") as log:
                if owner_uid != os.geteuid():
                    os.chown(folder, owner_uid, -1)
                child = subprocess.Popen(
                    [command, "-f"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=environment,
                    start_new_session=True, **_as(owner_uid),
                )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise HostFault(f"The MPS control daemon cannot be started in {folder} ({error}).") from error
        child.returncode = 0  # it is meant to outlive this object, and this process
        self._children.add(child.pid)
        daemon = Daemon(child.pid, _start_time(child.pid) or 0, str(folder))
        try:
            wait_until_it_answers(daemon)
        except HostFault:
            end(daemon, quit_s=0)
            self.reap()
            raise
        return daemon

    def reap(self) -> None:
        """Take note of those that ended."""
        for pid in list(self._children):
            try:
                ended, _ = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                ended = pid
            if ended:
                self._children.discard(pid)


def wait_until_it_answers(daemon: Daemon) -> None:
    """Raises :class:`HostFault` where it ends instead, or does not in :data:`START_S`."""
    deadline = time.monotonic() + START_S
    while daemon.runs:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise HostFault(f"The MPS control daemon did not answer for {START_S:g} seconds.{_last_words(daemon)}")
        if (Path(daemon.folder) / "control").exists():
            with suppress(HostFault):
                ask(daemon.folder, "get_server_list", left_s)
                return
        time.sleep(POLL_S)
    raise HostFault(f"The MPS control daemon ended as soon as it was started.{_last_words(daemon)}")


def ask(folder: str, command: str, timeout_s: float) -> str:
    """What the daemon of a folder answers. Raises :class:`HostFault` where there is none, or not in time."""
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
    """Have it quit, with its servers, for good; and remove its folder. Nothing where it is over already.

    Raises :class:`HostFault` where something of it is there after all.
    """
    deadline = time.monotonic() + quit_s
    if quit_s and daemon.runs:
        with suppress(HostFault):
            ask(daemon.folder, "quit", quit_s)
        _wait(lambda: not daemon.runs, deadline - time.monotonic())
    for pid in [*_servers(daemon), *family(daemon.folder)]:
        _kill(pid, lambda pid=pid: _is_of(pid, daemon.folder) or pid in _servers(daemon))  # type: ignore[misc]
    _kill(daemon.pid, lambda: daemon.runs)  # whose folder may have been taken away
    if not _wait(lambda: not (daemon.runs or family(daemon.folder)), 1.0):
        raise HostFault(f"The MPS processes of {daemon.folder} do not end.")
    shutil.rmtree(daemon.folder, ignore_errors=True)


def find(folder: Path) -> Daemon | None:
    """The daemon that runs in a folder, whoever started it, or ``None``."""
    for pid in family(str(folder)):
        with suppress(OSError):
            if b"-f" in read_proc_file(f"/proc/{pid}/cmdline").split(b"\0"):  # its servers are told nothing
                return Daemon(pid, _start_time(pid) or 0, str(folder))
    return None


def family(folder: str) -> list[int]:
    """The processes of a daemon's folder: it, and its servers, its clients not."""
    return [pid for pid in _pids() if _is_of(pid, folder)]


def is_seen_by(pid: int, daemon: Daemon) -> bool:
    """Whether a process finds the daemon's folder where it is told: one in a container may not."""
    try:
        os.stat(f"/proc/{pid}/root{daemon.folder}/control")  # noqa: PTH116 (a Path would hide why not)
    except FileNotFoundError:
        return _start_time(pid) is None
    except OSError:
        pass  # nobody may look
    return True


def _servers(daemon: Daemon) -> list[int]:
    return [pid for pid in _pids() if parent_of(pid) == daemon.pid] if daemon.runs else []


def parent_of(pid: int) -> int | None:
    """The process that started another one; ``None`` where that has ended."""
    fields = _stat(pid)
    return None if fields is None else int(fields[1])


def _as(uid: int) -> dict[str, Any]:
    """How a process is started as that user; by its number, as its name may have gone."""
    if uid == os.geteuid():
        return {}
    try:
        user = pwd.getpwuid(uid)
        return {"user": uid, "group": user.pw_gid, "extra_groups": os.getgrouplist(user.pw_name, user.pw_gid)}
    except KeyError:
        return {"user": uid, "group": uid, "extra_groups": []}


def _environment(folder: str) -> dict[str, str]:
    """Nothing of this process's but where programs and libraries are: the user may read it."""
    ours = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**ours, "CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}


def _is_of(pid: int, folder: str) -> bool:
    """Whether a process says so; one of another user than the folder's is not believed."""
    if f"{MARK}={folder}".encode() not in _environ(pid) or _start_time(pid) is None:
        return False
    try:
        return Path(f"/proc/{pid}").stat().st_uid == Path(folder).stat().st_uid
    except OSError:
        return False


def _kill(pid: int, is_it: Callable[[], bool]) -> None:
    """End exactly that process, if it still is what it was."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if is_it():  # whose number cannot pass to another one while we look
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        pass
    finally:
        os.close(pidfd)


def _last_words(daemon: Daemon) -> str:
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


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 (there are thousands)


def _environ(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _start_time(pid: int) -> int | None:
    """When a process started; ``None`` where it has ended."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on."""
    try:
        return read_proc_file(f"/proc/{pid}/stat").decode(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
