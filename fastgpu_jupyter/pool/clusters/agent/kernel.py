"""One kernel process: its connection file, its output, its signals, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Mapping

from .node import accepts, prepare_child

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
#: Characters of the end of the output that are kept, and sent where a kernel fails.
OUTPUT_CHARS = 2000
_OUTPUT_BYTES = 4 * OUTPUT_CHARS
#: How long a process group may take to end before it is killed.
TERMINATE_S = 2.0


class KernelProcess:
    """A kernel in a session of its own, started with ``connection``, whose ports may be 0.

    Raises :class:`OSError` where the program cannot be started.
    """

    def __init__(
        self, argv: list[str], environ: Mapping[str, str], cwd: str, connection: dict[str, Any], path: str
    ) -> None:
        self.connection = dict(connection)
        self.running = False  #: its ports are known
        self.exit_code: int | None = None
        self.started = time.monotonic()
        self._path = path
        self._kill_at: float | None = None
        self._tail = b""
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600), "w") as file:
            json.dump(connection, file)
        self._read_end, write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        agent = os.getpid()
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=write_end,
                stderr=subprocess.STDOUT, cwd=cwd if Path(cwd).is_dir() else Path.home(),
                env=dict(environ), start_new_session=True, preexec_fn=lambda: prepare_child(agent),  # noqa: PLW1509 (libzmq's threads run no Python)
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            os.close(self._read_end)
            self._read_end = -1
            self._remove_file()
            raise
        finally:
            os.close(write_end)
        self.pid = self._process.pid

    def fileno(self) -> int:
        """Return the descriptor of the output; -1 once it is at its end."""
        return self._read_end

    @property
    def output(self) -> str:
        """Return the end of what the kernel wrote to standard output and error."""
        return self._tail.decode(errors="replace")[-OUTPUT_CHARS:]

    @property
    def state(self) -> str:
        """Return ``starting``, ``running`` or ``ended``."""
        return "ended" if self.exit_code is not None else "running" if self.running else "starting"

    @property
    def ending(self) -> bool:
        """Return whether the process group is being ended."""
        return self._kill_at is not None and self.exit_code is None

    def read_output(self) -> None:
        """Take what there is of the output, so that the kernel never waits for a reader."""
        while self._read_end >= 0:
            try:
                piece = os.read(self._read_end, 65536)
            except BlockingIOError:
                return
            except OSError:
                piece = b""
            if not piece:
                os.close(self._read_end)
                self._read_end = -1
                return
            self._tail = (self._tail + piece)[-_OUTPUT_BYTES:]

    def signal(self, number: int) -> bool:
        """Send a signal to the process group; return False if the kernel has ended."""
        if self.exit_code is not None:
            return False
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def end(self) -> None:
        """Begin to end the process group: SIGTERM now, SIGKILL after :data:`TERMINATE_S`."""
        if self._kill_at is None and self.signal(signal.SIGTERM):
            self._kill_at = time.monotonic() + TERMINATE_S

    def step(self) -> bool:
        """Look for the ports and the end of the process; return whether one of them has come."""
        if self.exit_code is not None:
            return False
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            self._reap()
            return True
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self.signal(signal.SIGKILL)
        if not self.running and self._find_ports():
            self.running = True
            return True
        return False

    def close(self) -> None:
        """End the process group now, without a wait, and remove the connection file."""
        if self.exit_code is None:
            self.signal(signal.SIGKILL)
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self._reap()

    def wait_for_end(self, on_wait: Callable[[], None]) -> None:
        """End the process group as :meth:`end` does, and return when that is done."""
        self.end()
        while self.exit_code is None:
            self.read_output()
            if not self.step():
                on_wait()

    def _reap(self) -> None:
        # Not reaped yet, so that the number of the group is still its own: what the kernel started ends with it.
        self.signal(signal.SIGKILL)
        self.exit_code = self._process.wait()
        self.read_output()
        if self._read_end >= 0:
            os.close(self._read_end)
            self._read_end = -1
        self._remove_file()

    def _find_ports(self) -> bool:
        """Return whether the kernel has its ports: those that it wrote into its file, or those that it was given."""
        if all(self.connection[name] for name in PORTS):
            # A kernel that got its ports writes nothing.
            return all(accepts(self.connection["ip"], self.connection[name]) for name in PORTS)
        try:
            found = json.loads(Path(self._path).read_bytes())
            ports = {name: int(found[name]) for name in PORTS}
        except (OSError, ValueError, KeyError, TypeError):
            return False  # being written
        if not all(ports.values()):
            return False
        self.connection.update(ports)
        return True

    def _remove_file(self) -> None:
        with contextlib.suppress(OSError):
            Path(self._path).unlink()
