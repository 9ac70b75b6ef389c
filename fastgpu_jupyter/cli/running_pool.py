"""The pool manager that serves a socket, as the commands that stop or restart it need to know it.

It is found by the socket and the lock beside it, without a request, because it may hang or be of another version.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal, NamedTuple

from ..errors import Conflict, Forbidden, HostFault, Message, PoolUnreachable
from ..pool.host.single_instance import owner_of_socket
from ..wire import unixsocket

CONNECT_S = 2.0
#: How long a pool manager may take to end: it stores a snapshot, and its driver may hang for some seconds.
END_S = 20.0


class RunningPool(NamedTuple):
    """The process of a pool manager, and what it was started with."""

    socket: Path
    pid: int
    uid: int
    state_dir: Path | None  #: None if it is not known
    unit: str | None  #: the systemd unit that runs it

    @property
    def log(self) -> Path | None:
        """The file that it logs to, if it was started on demand; None if it logs elsewhere."""
        path = self.state_dir / "pool.log" if self.state_dir else None
        return path if path is not None and "--on-demand" in arguments_of(self.pid) else None

    def require_own(self, what: Literal["stop", "restart"]) -> None:
        """Raise :class:`Forbidden` unless this user may do ``what`` by a signal: not to a service, nor to others'."""
        if self.unit is not None:
            raise Forbidden(Message.of("pool_process.is_service", path=str(self.socket), unit=self.unit, verb=what))
        if self.uid != os.getuid():
            path, uid = str(self.socket), str(self.uid)
            if what == "stop":
                raise Forbidden(Message.of("pool_process.stop_of_another_user", path=path, uid=uid))
            raise Forbidden(Message.of("pool_process.restart_of_another_user", path=path, uid=uid))

    def options(self) -> list[str]:
        """Return the options that it was started with. Raises :class:`Conflict` if its command line is another."""
        words = arguments_of(self.pid)
        if "pool" not in words:
            raise Conflict(Message.of("pool_process.other_program", pid=str(self.pid)))
        return [word for word in words[words.index("pool") + 1 :] if word != "--on-demand"]

    def environment(self) -> dict[str, str]:
        """Return the environment that it was started with."""
        entries = Path(f"/proc/{self.pid}/environ").read_bytes().split(b"\0")
        return {
            os.fsdecode(name): os.fsdecode(value) for name, _, value in (one.partition(b"=") for one in entries) if name
        }

    def folder(self) -> str:
        """Return its working folder, the root folder if that was removed."""
        folder = Path(f"/proc/{self.pid}/cwd").readlink()
        return str(folder) if folder.is_dir() else "/"

    def end(self, *, keeps_settings: bool = False) -> None:
        """Let it end by itself, which keeps all leases. Raises :class:`HostFault` if it does not within some time.

        ``keeps_settings``: one that is started on demand takes them over while leases are held.
        """
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGHUP if keeps_settings else signal.SIGTERM)
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if not poll.poll(END_S * 1000):
                raise HostFault(Message.of("pool_process.does_not_end", pid=str(self.pid)))
        finally:
            os.close(pidfd)


def find(path: Path) -> RunningPool | None:
    """Return the pool manager that serves the socket ``path``, None if there is none.

    Raises :class:`PoolUnreachable` if this user may not know, or if it runs where its process cannot be seen.
    """
    try:
        with closing(unixsocket.connect(path, CONNECT_S)) as sock:
            pid, uid, _ = unixsocket.peer_of(sock)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        return None
    except PermissionError as error:
        raise PoolUnreachable(Message.of("pool_process.forbidden", path=str(path))) from error
    except OSError:  # too many connections wait in it, because it hangs
        pid, uid = owner_of_socket(path)[0], path.stat().st_uid
    if pid <= 0:
        raise PoolUnreachable(Message.of("pool_process.in_container", path=str(path)))
    locked_by, state_dir = owner_of_socket(path)
    return RunningPool(path, pid, uid, state_dir if locked_by == pid else None, _unit_of(pid))


def last_state_dir(path: Path) -> Path | None:
    """Return the state folder of the pool manager that serves a socket or did, None if it is not known."""
    return owner_of_socket(path)[1]


def arguments_of(pid: int) -> list[str]:
    """Return the command line of a process."""
    return [os.fsdecode(word) for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]]


def _unit_of(pid: int) -> str | None:
    """Return the systemd unit whose main process this is, None if it is none's.

    What is started on demand is in the unit of its starter, but its parent is not systemd at that time, and it says so.
    """
    try:
        unit = Path(f"/proc/{pid}/cgroup").read_text().strip().rpartition("/")[2]
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        by_systemd = Path(f"/proc/{parent}/comm").read_text().strip() == "systemd"
    except OSError:
        return None
    return unit if unit.endswith(".service") and by_systemd and "--on-demand" not in arguments_of(pid) else None
