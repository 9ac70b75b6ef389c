"""A process that this process did not start, with the methods of :class:`subprocess.Popen` that a provisioner uses.

The process is identified by its number *and* its start time, and observed by a pidfd. The number alone may belong to
another process by now, which must not be signalled or taken for alive.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from .process_identity import NO_SUCH_PROCESS, is_readable, start_time

#: The pause between two looks at a process that cannot be observed at the moment.
UNOBSERVABLE_PAUSE_S = 0.1


class PidfdProcess:
    """Process ``pid``, if it is the one that started at ``started``; else a process that has ended."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, started: int | None) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._started = started
        self._pidfd: int | None = None
        with contextlib.suppress(OSError):
            self._open()

    def _open(self) -> None:
        """Open the pidfd. Raises :class:`OSError` where it cannot be found out whether the process lives."""
        if self._pidfd is not None or self.returncode is not None:
            return
        try:
            pidfd = os.pidfd_open(self.pid)
        except OSError as error:
            if error.errno not in NO_SUCH_PROCESS:
                raise
            self.returncode = -1
            return
        try:
            same = self._started is not None and start_time(self.pid) == self._started
        except OSError:
            os.close(pidfd)
            raise
        self._pidfd = pidfd
        if not same:
            self._ended()

    def poll(self) -> int | None:
        """Return None while the process is not known to have ended, else -1: only its parent gets the exit status."""
        with contextlib.suppress(OSError):
            self._open()
        if self.returncode is None and self._pidfd is not None and is_readable(self._pidfd):
            self._ended()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Block until the process has ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise TimeoutError(f"Process {self.pid} has not ended.")
            if self._pidfd is None:
                time.sleep(UNOBSERVABLE_PAUSE_S)
            else:
                is_readable(self._pidfd, left_s)
        return self.returncode or 0

    def send_signal(self, signum: int) -> None:
        """Send a signal to this process and to no other. Raises :class:`OSError` where it cannot be identified."""
        self._open()
        if self.poll() is None and self._pidfd is not None:
            signal.pidfd_send_signal(self._pidfd, signum)

    def kill(self) -> None:
        """Send SIGKILL to the process."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM to the process."""
        self.send_signal(signal.SIGTERM)

    def _ended(self) -> None:
        self.returncode = -1
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
