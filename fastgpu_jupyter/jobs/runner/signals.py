"""Signals that reach this process, read by a descriptor from the loop that waits for other things as well."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterable
from types import FrameType

#: The exit status that a shell gives a command which a signal ended is this and the number of the signal.
BY_SIGNAL = 128


def shell_status(status: int) -> int:
    """Return an exit status, or the negative number of a signal, as a shell gives it."""
    return status if status >= 0 else BY_SIGNAL - status


class SignalInbox:
    """The signals that came to this process. What it ignores, as SIGHUP under ``nohup``, it goes on ignoring."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.settimeout(0)
        self._writer.settimeout(0)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._listened: set[int] = set()

    def fileno(self) -> int:
        """Return the descriptor that is readable while there are signals."""
        return self._reader.fileno()

    def listen(self, signals: Iterable[signal.Signals]) -> None:
        """Collect these signals from now on, instead of what they do to a process."""
        for one in signals:
            if signal.getsignal(one) is not signal.SIG_IGN:
                signal.signal(one, _do_nothing)
                self._listened.add(int(one))

    def received(self) -> list[int]:
        """Return the signals that came since the last call, in their order; does not wait."""
        with contextlib.suppress(BlockingIOError):
            return [one for one in self._reader.recv(4096) if one in self._listened]
        return []


def _do_nothing(signum: int, frame: FrameType | None) -> None:
    """Let the signal end no call and no process: it is in the inbox."""
