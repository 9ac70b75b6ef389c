"""A command on a leased GPU as a child of the terminal, or of cron: what ``jupyter fastgpu run`` does.

The command has the terminal: its standard streams are those of this process, and it is in its process group. This
process passes on what reaches it alone, and stops when the command stops.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ...core.model.lifecycle import WITHOUT_CAPACITY, LeaseState
from ...errors import FastGPUError
from ...messages import joined, render, say, sentence_of, sentences_of, text_of
from ...units import format_money
from ...wire import variables
from ...wire.ancestors import held_by_ancestor
from ...wire.client import LeaseOptions, new_token
from ...wire.lease_view import device_of, end_of, is_simulated, position_of
from ...wire.spawn import ensure_pool
from ..lease_environment import as_descendant, with_grant
from ..wait_sentences import estimate, reason_of, waiting
from .guard import PASSED_ON, Guard
from .held_lease import HeldLease, is_parked_for_good
from .remote_work import ALLOCATION_END_S, launcher_of, may_have_lost_allocation
from .signals import BY_SIGNAL, SignalInbox, shell_status

if TYPE_CHECKING:
    from ...wire.schemas import LeaseView

#: Exit statuses as those of ``env`` and ``timeout``: of the tool itself, of a command that cannot be executed, of one
#: that is not found.
FAILED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127
#: After a lease has ended the command may save what it has for so long before it is killed, in seconds.
END_GRACE_S = 10.0
_ANCESTOR_PAUSE_S = 5.0
#: While the request waits these end it; the other signals do what they do to any process.
_END_THE_WAIT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class CommandRequest(NamedTuple):
    """The request of a command."""

    size: str | None
    options: LeaseOptions
    name: str  #: that the pool manager shows


class Terminal(Protocol):
    """Where it is said what happens."""

    def show(self, state: str, passing: str = "") -> None:
        """Show a state, in place where that is possible."""

    def clear(self) -> None:
        """Remove what was shown in place."""

    def say(self, sentence: str) -> None:
        """Write a sentence that stays."""


class CannotRun(Exception):
    """The command was not started, or not to its end; ``status`` is the exit status."""

    def __init__(self, sentence: str, status: int = FAILED) -> None:
        super().__init__(sentence)
        self.status = status


def run_command(argv: Sequence[str], wanted: CommandRequest, terminal: Terminal, *, quiet: bool = False) -> int:
    """Run a command on a leased GPU, and return its exit status as a shell gives it.

    Raises :class:`CannotRun`, and the errors of the pool manager's client.
    """
    require_executable(argv[0], os.environ)
    guard = Guard()
    try:
        return _Foreground(argv, wanted, terminal, guard, quiet=quiet).run()
    finally:
        guard.close()


def require_executable(name: str, environ: Mapping[str, str]) -> None:
    """Raise :class:`CannotRun` unless a command with that name is found and can be executed."""
    if not name:
        raise CannotRun(say("run.no_command"))
    if shutil.which(name, path=environ.get("PATH")):
        return
    found = Path(name) if "/" in name else None
    if found is not None and found.exists():
        raise CannotRun(say("run.not_executable", command=name), NOT_EXECUTABLE)
    if found is None and shutil.which(name, os.F_OK, environ.get("PATH")):
        raise CannotRun(say("run.not_executable", command=name), NOT_EXECUTABLE)
    raise CannotRun(say("run.not_found", command=name), NOT_FOUND)


class _Foreground:
    """One command from the request of its lease to its end."""

    def __init__(
        self, argv: Sequence[str], wanted: CommandRequest, terminal: Terminal, guard: Guard, *, quiet: bool
    ) -> None:
        self._argv, self._wanted, self._terminal, self._guard = argv, wanted, terminal, guard
        self._quiet = quiet
        self._signals = SignalInbox()
        self._kill_at_s: float | None = None
        self._was_signalled = False
        self._parked: tuple[str, int | None] | None = None  #: what was said of it

    def run(self) -> int:
        """Return the exit status of the command."""
        self._signals.listen(_END_THE_WAIT)
        client, token = ensure_pool(), new_token()
        lease = HeldLease(
            client.request(self._wanted.size, token=token, job=self._wanted.name, options=self._wanted.options), token
        )
        lease.follow()
        try:
            self._wait(lease)
            return self._supervise(lease, str(client.path))
        finally:
            lease.release()

    # ---- the wait ------------------------------------------------------------------------------------------------

    def _wait(self, lease: HeldLease) -> None:
        """Return when the lease is granted; raise :class:`CannotRun` if it ends, or a signal ends the wait."""
        started_s, trouble, ancestor = time.monotonic(), "", _AncestorNote()
        while lease.view["state"] != LeaseState.ACTIVE:
            if lease.is_over:
                raise CannotRun(say("run.ended_before_start", reason=ended_because(lease.view)))
            waited_ms = int((time.monotonic() - started_s) * 1000)
            state = say("wait.no_answer", error=trouble) if trouble else waiting(lease.view)
            self._terminal.show(joined((state, ancestor.text())), say("wait.waited", waited_ms=waited_ms))
            select.select([self._signals.fileno(), lease.fileno()], [], [], 1.0)
            for signum in self._signals.received():
                raise CannotRun(_wait_ended(lease.view), BY_SIGNAL + signum)
            for change in lease.changes():
                trouble = text_of(change) if isinstance(change, FastGPUError) else ""
        self._terminal.clear()

    # ---- the command ---------------------------------------------------------------------------------------------

    def _supervise(self, lease: HeldLease, pool_socket: str) -> int:
        """Start the command, and return its exit status when nothing of it computes any more."""
        if not self._quiet:
            self._terminal.say(_granted(lease.view))
        environment = as_descendant(lease.view, with_grant(lease.view, os.environ, pool_socket))
        self._signals.listen(PASSED_ON)
        marker = (variables.ANCESTOR_LEASES, lease.lease_id)
        command = [*(launcher_of(lease.view) or ()), *self._argv]
        self._guard.start(command, environment, own_session=False, marker=marker)
        lease.compute()
        _leave_streams()
        status = 0
        while True:
            for message in self._next_messages(lease):
                if "failed" in message:
                    raise _not_started(self._argv[0], message)
                if "stopped" in message and self._kill_at_s is None:
                    os.kill(os.getpid(), signal.SIGSTOP)  # until the shell lets the whole job go on
                status = int(message.get("ended", status))
                if "left" in message:
                    self._say_what_was_left(message)
                    if may_have_lost_allocation(lease.view, status):
                        self._say_whether_it_was_lost(lease)
                    return shell_status(status)

    def _next_messages(self, lease: HeldLease) -> list[dict[str, Any]]:
        """Return messages of the guard; pass on signals and follow the lease meanwhile."""
        timeout_s = None if self._kill_at_s is None else max(0.0, self._kill_at_s - time.monotonic())
        channel = self._guard.channel.fileno()
        readable, _, _ = select.select([self._signals.fileno(), lease.fileno(), channel], [], [], timeout_s)
        for signum in self._signals.received():
            self._was_signalled = True
            self._guard.signal(signum)
        for change in lease.changes():
            if not isinstance(change, FastGPUError):
                self._note_lease(change, is_over=lease.is_over)
        if self._kill_at_s is not None and time.monotonic() >= self._kill_at_s:
            self._guard.kill()
            self._kill_at_s = time.monotonic() + END_GRACE_S
        return self._guard.messages() if channel in readable else []

    def _note_lease(self, view: LeaseView, *, is_over: bool) -> None:
        """Say what became of the lease; a command whose lease has ended is ended."""
        if is_over and self._kill_at_s is None:
            seconds = round(END_GRACE_S)
            self._terminal.say(say("run.lease_ended", reason=ended_because(view), seconds=seconds))
            self._guard.signal(signal.SIGTERM)
            self._guard.signal(signal.SIGCONT)  # one that is stopped acts on nothing else
            self._kill_at_s = time.monotonic() + END_GRACE_S
        elif view["state"] in WITHOUT_CAPACITY:
            state = view["state"], position_of(view)
            if state != self._parked:  # a line for each change, not for each estimate
                self._terminal.say(parked_sentence(view))
            self._parked = state
        elif view["state"] == LeaseState.ACTIVE and self._parked is not None:
            self._parked = None
            self._terminal.say(say("run.resumed"))

    def _say_whether_it_was_lost(self, lease: HeldLease) -> None:
        """Say that the lease has ended, where that and no signal from here may be why the command ended."""
        if self._was_signalled or self._kill_at_s is not None:
            return
        for change in lease.changes_until_end(ALLOCATION_END_S):
            if not isinstance(change, FastGPUError) and lease.is_over:
                self._terminal.say(say("run.ended_with_lease", reason=ended_because(change)))

    def _say_what_was_left(self, message: Mapping[str, int]) -> None:
        """Say that processes which the command left behind were ended: they would use a GPU without a lease."""
        if message.get("guard_killed"):
            self._terminal.say(say("run.guard_killed"))
        if message["remain"]:
            self._terminal.say(say("run.remain", count=message["remain"]))
        elif message["left"] and self._kill_at_s is None and not message.get("guard_killed"):
            self._terminal.say(say("run.left", count=message["left"]))


class _AncestorNote:
    """Whether the command waits for the GPU of a kernel from which it descends; asked now and then."""

    def __init__(self) -> None:
        self._ancestors = os.environ.get(variables.ANCESTOR_LEASES, "").split()
        self._asked_s = -_ANCESTOR_PAUSE_S
        self._text = ""

    def text(self) -> str:
        """Return a sentence; empty where no ancestor is known to hold a GPU."""
        if self._ancestors and time.monotonic() - self._asked_s > _ANCESTOR_PAUSE_S:
            self._asked_s = time.monotonic()
            with contextlib.suppress(FastGPUError):
                held = held_by_ancestor(ensure_pool(), self._ancestors)
                self._text = "" if held is None else render(held)
        return self._text


def ended_because(view: LeaseView) -> str:
    """Return why a lease ended; that it is not known where the pool manager does not say it."""
    return sentences_of(end_of(view)) or say("run.end_unknown")


def parked_sentence(view: LeaseView) -> str:
    """Return that a command waits for its GPU, and why."""
    reason = sentence_of(view["parking"]["reason"]) or ""
    if is_parked_for_good(view) and view["state"] == LeaseState.PARKED:
        return say("run.parked_for_good", reason=reason, lease=view["id"])
    position = position_of(view)
    if position is None:
        return say("run.parked", reason=reason)
    return say("run.parked_at_position", reason=reason, position=position, why=reason_of(view), expected=estimate(view))


def _wait_ended(view: LeaseView) -> str:
    position = position_of(view)
    return say("run.wait_ended") if position is None else say("run.wait_ended_at_position", position=position)


def _granted(view: LeaseView) -> str:
    """Return on which GPU the command runs, and what that costs."""
    gpu, rate, limit = view["gpu"], view["money"]["rate_micro_per_hour"], view["memory"]["limit_bytes"]
    model = (gpu["model"] if gpu else None) or device_of(view) or ""
    model = say("value.simulated", model=model) if is_simulated(view) else model
    memory = "" if limit is None else say("run.memory", limit_bytes=limit)
    cost = "" if rate is None else say("run.rate", rate=format_money(rate, view["money"]["currency"]))
    return say("run.granted", model=model, device=device_of(view) or "", memory=memory, cost=cost, lease=view["id"])


def _not_started(command: str, message: Mapping[str, Any]) -> CannotRun:
    number, reason = message["failed"], message["reason"]
    if number == errno.ENOENT:
        return CannotRun(say("run.not_found", command=command), NOT_FOUND)
    if number == errno.ENOEXEC:
        return CannotRun(say("run.no_format", command=command), NOT_EXECUTABLE)
    return CannotRun(say("run.not_started", command=command, reason=reason), NOT_EXECUTABLE if number else FAILED)


def _leave_streams() -> None:
    """Leave standard input and output to the command: a reader of its output sees the end of it."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
