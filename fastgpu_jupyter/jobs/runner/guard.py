"""A small process between a holder of a lease and the work process, which outlives neither of them.

    holder (run, or the runner of a job) ──forks──> guard ──starts──> work process ──> its children

The guard is the parent of the work process and the reaper of everything that descends from it. It ends all of that as
soon as the holder has ended, however that came about: the connection between them is closed then. If the guard itself
is killed, the system kills the work process (``PR_SET_PDEATHSIG``), and the holder, which is a reaper as well, ends the
rest.

The holder forks the guard before it has any thread, and tells it later what to start.

Signals of a terminal reach a whole process group, that of a user's ``kill`` may reach the holder only. The guard is in
the group of the holder and keeps such signals pending: one that it has got as well was sent to the group, and the work
process has it already.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

from .processes import Process, descendants, end_processes, has_variable, read_process
from .signals import SignalInbox

#: Signals that a holder passes on to the work process.
PASSED_ON = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
    signal.SIGTSTP, signal.SIGCONT,
)  # fmt: skip
#: Signals that the guard keeps pending; the last two stop a process that uses the terminal from the background.
_BLOCKED = (*PASSED_ON, signal.SIGTTIN, signal.SIGTTOU)
#: How long a signal to the group may take to reach the guard after it reached the holder, in seconds.
_SAME_SIGNAL_S = 0.02
#: How long processes that the work process left behind may take to end by themselves, in seconds.
LEFT_GRACE_S = 2.0
_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36
_LINE_BYTES_MAX = 16 * 2**20
_libc = ctypes.CDLL(None, use_errno=True)


def become_reaper() -> None:
    """Let orphaned descendants of this process become its children."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


class Channel:
    """One end of the connection between holder and guard: JSON objects, one a line."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._received = b""
        self.closed = False

    def fileno(self) -> int:
        """Return the descriptor, which is readable when there is a message or the other end has gone."""
        return self._sock.fileno()

    def send(self, **message: Any) -> None:
        """Send a message; one to a process that has ended is lost."""
        with contextlib.suppress(OSError):
            self._sock.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]]:
        """Return the messages that are there now, waiting for one; :attr:`closed` says that no more come."""
        try:
            data = self._sock.recv(2**16)
        except OSError:
            data = b""
        self.closed = not data or len(self._received) > _LINE_BYTES_MAX
        *lines, self._received = (self._received + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Close this end, which the other one notices."""
        self.closed = True
        self._sock.close()


class Guard:
    """The holder's side of its guard.

    Messages: ``{"started": pid}``, ``{"failed": errno, "reason": text}``, ``{"stopped": signal}``,
    ``{"ended": status}`` with the exit status or the negative number of a signal, and after that ``{"left": number,
    "remain": number}``: so many processes the work process had left behind, and so many of them could not be ended.
    """

    def __init__(self, *, close: Collection[int] = ()) -> None:
        """Fork the guard; this process must not have threads yet. ``close``: descriptors that the guard closes."""
        here, there = socket.socketpair()
        become_reaper()
        self.pid = os.fork()
        if self.pid == 0:
            here.close()
            for descriptor in close:
                os.close(descriptor)
            _serve(Channel(there))
        there.close()
        self.channel = Channel(here)
        self._marker: tuple[str, str] | None = None
        self._work_pid: int | None = None
        self._session: int | None = None

    def start(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        folder: str | None = None,
        *,
        own_session: bool,
        descriptors: Mapping[int, int] | None = None,
        pass_descriptors: Sequence[int] = (),
        marker: tuple[str, str] | None = None,
    ) -> None:
        """Start the work process in ``folder``; in a session of its own, or in the process group of the holder.

        ``descriptors``: its standard streams by number, as the guard has inherited them; others are those of the guard.
        ``marker``: a variable and a word in it by which processes of the work process are known that have another
        session.
        """
        self._marker = marker
        self.channel.send(
            start={
                "argv": list(argv),
                "environment": dict(environment),
                "folder": folder,
                "own_session": own_session,
                "descriptors": dict(descriptors or {}),
                "pass_descriptors": list(pass_descriptors),
                "marker": marker,
            }
        )

    def signal(self, signum: int, *, group: bool = False) -> None:
        """Send a signal to the work process; with ``group`` to its process group, if that is not the holder's."""
        self.channel.send(signal=int(signum), group=group)

    def kill(self) -> None:
        """Kill the work process and everything that descends from it."""
        self.channel.send(kill=True)

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages that are there now, waiting for one.

        Where the guard itself was killed, everything that it guarded is ended, and the last message is
        ``{"ended": -9, "guard_killed": True, "left": number, "remain": number}``.
        """
        messages = self.channel.receive()
        for message in messages:
            self._work_pid = message.get("started", self._work_pid)
            self._session = message.get("session", self._session)
        if self.channel.closed:
            left, remain = end_processes(self._guarded, reap=_reap)
            messages.append({"ended": -int(signal.SIGKILL), "guard_killed": True, "left": left, "remain": remain})
        return messages

    def _guarded(self) -> list[Process]:
        return _members(os.getpid(), self._session, self._marker, but=self.pid)

    def close(self) -> None:
        """End the guard, and with it whatever it guards; return when it has ended."""
        self.channel.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _members(root: int, session: int | None, marker: tuple[str, str] | None, but: int = 0) -> list[Process]:
    """Return the descendants of ``root`` that are of the work process.

    A pool manager or dispatcher that the work process had started is none: it has a session of its own, and the
    environment of a process without a lease.
    """

    def is_member(one: Process) -> bool:
        if one.session == session:
            return True
        return marker is not None and has_variable(one.pid, marker[0], marker[1:])

    return [one for one in descendants(root) if one.pid != but and is_member(one)]


def _reap() -> list[tuple[int, int]]:
    """Return pid and status of the children that have ended or stopped."""
    found: list[tuple[int, int]] = []
    with contextlib.suppress(ChildProcessError):
        while (change := os.waitpid(-1, os.WNOHANG | os.WUNTRACED))[0]:
            found.append(change)
    return found


def _serve(channel: Channel) -> NoReturn:
    """Be the guard, until the holder has ended."""
    status = 1
    try:
        _GuardProcess(channel).run()
        status = 0
    finally:
        os._exit(status)


class _GuardProcess:
    """The guard's own side, in a process with one thread."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        # What the holder ignores, as under nohup, the work process ignores as well.
        self._blocked = {one for one in _BLOCKED if signal.getsignal(one) is not signal.SIG_IGN}
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._blocked)
        self._work: subprocess.Popen[bytes] | None = None
        self._session: int | None = None
        self._marker: tuple[str, str] | None = None
        self._ended = False
        for one in PASSED_ON:  # no handler of the holder runs here
            if signal.getsignal(one) is not signal.SIG_IGN:
                signal.signal(one, signal.SIG_DFL)
        self._signals = SignalInbox()
        self._signals.listen([signal.SIGCHLD])
        become_reaper()
        _libc.prctl(_PR_SET_NAME, b"fastgpu-guard")

    def run(self) -> None:
        """Do what the holder says until it has ended; then kill what is left of the work process."""
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._signals, select.POLLIN)
        while not self._channel.closed:
            for descriptor, _ in poll.poll():
                if descriptor == self._signals.fileno():
                    self._signals.received()
                    self._note_children()
                else:
                    for message in self._channel.receive():
                        self._do(message)
        end_processes(self._members, reap=_reap)

    def _do(self, message: dict[str, Any]) -> None:
        if "start" in message:
            self._start(message["start"])
        elif "signal" in message:
            self._signal(message["signal"], group=message["group"])
        elif "kill" in message:
            end_processes(self._members, reap=self._note_children)

    def _start(self, wanted: dict[str, Any]) -> None:
        while signal.sigtimedwait(self._blocked, 0) is not None:
            pass  # of the time before there was a work process
        self._marker = None if wanted["marker"] is None else tuple(wanted["marker"])
        streams = {int(number): descriptor for number, descriptor in wanted["descriptors"].items()}
        guard_pid = os.getpid()

        def prepare() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
            if os.getppid() != guard_pid:
                os._exit(1)  # the guard was killed before the system knew that
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

        try:
            self._work = subprocess.Popen(
                wanted["argv"],
                env=wanted["environment"],
                cwd=wanted["folder"],
                stdin=streams.get(0),
                stdout=streams.get(1),
                stderr=streams.get(2),
                pass_fds=wanted["pass_descriptors"],
                start_new_session=wanted["own_session"],
                preexec_fn=prepare,  # noqa: PLW1509 (this process has one thread)
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            number = error.errno if isinstance(error, OSError) else None
            where = error.filename if isinstance(error, OSError) else None
            self._channel.send(failed=number or 0, reason=getattr(error, "strerror", None) or str(error), file=where)
            return
        self._release_streams({*streams.values(), *wanted["pass_descriptors"]})
        process = read_process(self._work.pid)
        self._session = self._work.pid if wanted["own_session"] else os.getsid(0)
        start_time = None if process is None else process.start_time
        self._channel.send(started=self._work.pid, session=self._session, start_time=start_time)

    def _release_streams(self, others: Collection[int]) -> None:
        """Close what belongs to the work process, so that its readers see the end of its output."""
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        for descriptor in {nothing, *others} - {0, 1, 2}:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _signal(self, signum: int, *, group: bool) -> None:
        if self._work is None or self._ended:
            return
        if signum in self._blocked and not group and signal.sigtimedwait([signum], _SAME_SIGNAL_S) is not None:
            return  # it was sent to the whole group
        with contextlib.suppress(OSError):
            if group:
                os.killpg(self._work.pid, signum)
            else:
                os.kill(self._work.pid, signum)

    def _note_children(self) -> None:
        for pid, status in _reap():
            if self._work is None or pid != self._work.pid or self._ended:
                continue
            if os.WIFSTOPPED(status):
                self._channel.send(stopped=os.WSTOPSIG(status))
                continue
            self._ended = True
            self._work.returncode = os.waitstatus_to_exitcode(status)
            self._channel.send(ended=self._work.returncode)
            left, remain = end_processes(self._members, grace_s=LEFT_GRACE_S, reap=self._note_children)
            self._channel.send(left=left, remain=remain)

    def _members(self) -> list[Process]:
        return [] if self._work is None else _members(os.getpid(), self._session, self._marker)
