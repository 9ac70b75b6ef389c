"""What a kept kernel does while no server is there.

Its cells go on, and those that wait for the GPU keep waiting. What it sends is kept (:mod:`.output_buffer`), its lease
yields to others whatever it did before, and the pipes and the terminal of the server are let go. A kernel that no
server adopts in time ends like one that is shut down.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from ..core.model.lifecycle import OVER
from ..errors import CallerError, FastGPUError
from ..messages import say
from ..wire.private_files import write_private
from ..wire.process_identity import ProcessIdentity, identify
from .gate import Gate
from .lease_commands import LeaseCommands
from .output_buffer import OutputBuffer

#: Pauses between two attempts where the pool manager does not answer, growing from the first to the second.
RETRY_FIRST_S = 0.5
RETRY_MOST_S = 30.0
#: How long the end of the kernel may take before its cell is interrupted, and then before it is ended.
END_S = 10.0
#: How long the reply to a server that adopts the kernel may wait for the pool manager.
SETTLES_WITHIN_S = 2.0


class Orphan:
    """The state of ``kernel`` without a server; ``streams`` are the open files that its server gave it."""

    def __init__(self, kernel: Any, record: Path | None, streams: Sequence[tuple[int, int] | None]) -> None:
        self.output = OutputBuffer(kernel)
        self.lease = OrphanLease(kernel.gate)
        #: The server that has adopted the kernel last.
        self.adopted_by: ProcessIdentity | None = None
        self._kernel = kernel
        self._record = record
        self._streams = frozenset(filter(None, streams))

    def begin(self, orphan_after_s: float) -> None:
        """Begin to do without a server, which has ended."""
        self.output.begin()
        _let_go(self._streams)
        self._streams = frozenset()  # later ones are not the server's
        self.lease.begin()
        self._note({"orphaned_at": self.output.since_ms, "ends_at": self.output.since_ms + int(1000 * orphan_after_s)})

    def adopted(self) -> None:
        """Go on with the server that has adopted the kernel; what is kept is sent when it asks for that."""
        self.output.until_ms = time.time_ns() // 10**6
        self.lease.adopted()
        self._note({})

    def accept(self, server: ProcessIdentity) -> None:
        """Make this process the holder of its lease, or request another one, before the server lets browsers in.

        The last server may have held the lease itself, as in the middle of a start or restart, and have ended before
        this process could notice it. What takes longer goes on in the thread that watches the server.
        """
        if self.adopted_by == server:
            return
        self.adopted_by = server
        self.lease.adopted()
        settling = threading.Thread(target=self.step, name="fastgpu-settling", daemon=True)
        settling.start()
        settling.join(SETTLES_WITHIN_S)

    def step(self) -> float | None:
        """Do what is due; return the seconds until the next call, None where nothing is left to do."""
        return self.lease.step()

    def end_kernel(self) -> NoReturn:
        """Release the lease and end this process as a shutdown does, or at once where it does not end by itself."""
        kernel, session = self._kernel, self._kernel.session
        kernel.log.warning(say("kept.expired"))
        kernel.gate.close(None)
        if self._record is not None:
            for path in (self._record, self._record.with_suffix(".pid")):
                with suppress(OSError):
                    path.unlink()
        request = session.msg("shutdown_request", {"restart": False})
        shut_down = kernel.control_handlers["shutdown_request"]
        kernel.control_stream.io_loop.add_callback(shut_down, kernel.control_stream, [b"fastgpu"], request)
        time.sleep(END_S)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(END_S)
        os._exit(1)

    def _note(self, more: dict[str, int]) -> None:
        """Write since when no server is there where the list of kept kernels looks."""
        own = identify(os.getpid())
        if self._record is not None and own is not None:
            with suppress(OSError):
                content = json.dumps({**own._asdict(), **more}).encode()
                write_private(self._record.with_suffix(".pid"), content)


class OrphanLease:
    """The lease of a kernel without a server: held by this process, and ``yield``."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        #: The lease whose retention was ``hold`` and is to be again.
        self._held: str | None = None
        self._lock = threading.Lock()
        self._due: list[Callable[[], None]] = []
        self._retry_s = RETRY_FIRST_S

    @property
    def retention(self) -> str | None:
        """Return the retention that the lease has with a server; None without a lease, or where it is not known."""
        gate = self._gate
        if gate.lease_id is None:
            return None
        if self._held == gate.lease_id:
            return "hold"
        return None if gate.view is None else gate.view["parking"]["retention"]

    def begin(self) -> None:
        """Hold the lease from now on, and let it yield."""
        with self._lock:
            self._due, self._retry_s = [self._bind, self._let_yield], RETRY_FIRST_S

    def adopted(self) -> None:
        """Hold the lease, which the last server may have held itself, and give it its retention back."""
        with self._lock:
            self._due, self._retry_s = [self._bind, self._hold], RETRY_FIRST_S

    def step(self) -> float | None:
        """Do what is due; return the seconds until the next attempt, None where nothing is due."""
        with self._lock:
            try:
                while self._due:
                    with suppress(CallerError):  # the lease is over, or was given to another process
                        self._due[0]()
                    self._due.pop(0)
            except (FastGPUError, OSError):
                self._retry_s = min(2 * self._retry_s, RETRY_MOST_S)
                return self._retry_s
            return None

    def _bind(self) -> None:
        """Become the holder: the server may have ended before it made this process the holder."""
        gate = self._gate
        lease_id, token = gate.lease_id or (gate.view["id"] if gate.view is not None else None), gate.pool.token()
        if lease_id is None or token is None:
            return
        client = gate.pool.quick()
        view = client.lease(lease_id, token=token)
        if view["state"] not in OVER and view["state"] != "draining":
            with suppress(CallerError):
                client.bind(lease_id, token)
                return
            view = client.lease(lease_id, token=token)
        ended_with_server = view["end_reason"] is not None and view["end_reason"]["code"] == "end.holder_died"
        if ended_with_server and gate.lease_id in (None, lease_id):
            gate.update_lease(view)
            gate.forget_lease()
            LeaseCommands(gate).request(view["request"]["size"], {"priority": view["request"]["priority"]})

    def _let_yield(self) -> None:
        lease_id = self._gate.lease_id
        if lease_id is None:
            return
        client = self._gate.pool.quick()
        view = client.lease(lease_id, token=self._gate.pool.token())
        if view["parking"]["retention"] == "hold" and view["state"] not in OVER:
            self._held = lease_id
            self._gate.update_lease(client.pin(lease_id, pinned=False))

    def _hold(self) -> None:
        held = self._held
        if held is not None and held == self._gate.lease_id:
            self._gate.update_lease(self._gate.pool.quick().pin(held, pinned=True))
        self._held = None


def _let_go(streams: frozenset[tuple[int, int]]) -> None:
    """Replace the pipes, sockets and terminals among ``streams`` by the null device, in all descriptors of them.

    A write to a pipe or terminal that is gone fails, and a program that reads a pipe to its end would wait for this
    process.
    """
    with Path(os.devnull).open("r+b", buffering=0) as null:
        for path in list(Path("/proc/self/fd").iterdir()):
            descriptor = int(path.name)
            with suppress(OSError):
                found = os.fstat(descriptor)
                if (found.st_dev, found.st_ino) in streams and not stat.S_ISREG(found.st_mode):
                    os.dup2(null.fileno(), descriptor, inheritable=os.get_inheritable(descriptor))
