"""Make a process the holder of a lease, and repeat that until the pool manager has it."""

from __future__ import annotations

import threading

from ..errors import FastGPUError, PoolUnreachable
from .kernel_lease import KernelLease
from .repeat import repeat_until_answered
from .threads import in_thread


class HolderBinding:
    """The binding of the lease to the kernel's process, or to this one while there is none.

    A binding that is repeated never comes after a later one, which would name a process that has ended.
    """

    def __init__(self, lease: KernelLease) -> None:
        self._lease = lease
        self._stop: threading.Event | None = None
        self._lock = threading.Lock()
        self._number = 0  #: of the newest binding
        self._newest_pid: int | None = None

    async def bind_kernel(self, pid: int) -> None:
        """Bind process ``pid``; where the pool manager does not answer, go on in a thread."""
        if await in_thread(self._bind, pid, self._begin(pid)) is not None:
            self.keep_binding(pid)

    async def bind_server(self) -> FastGPUError | None:
        """Stop binding the kernel's process, and bind this process; return the error if it may not be the holder."""
        return await in_thread(self._bind, None, self._begin(None))

    def keep_binding(self, pid: int) -> None:
        """Bind process ``pid`` in a thread, until that succeeds or another binding begins."""
        number = self._begin(pid)

        def bind() -> None:
            if self._bind(pid, number) is not None:
                raise PoolUnreachable

        self._stop = repeat_until_answered(bind)

    def stop(self) -> None:
        """End the thread that binds, if there is one."""
        self._begin(None)

    def _begin(self, pid: int | None) -> int:
        """End the binding before, and return the number of a new one."""
        if self._stop is not None:
            self._stop.set()
            self._stop = None
        self._number += 1
        self._newest_pid = pid
        return self._number

    def _bind(self, pid: int | None, number: int) -> FastGPUError | None:
        """Bind the process unless a later binding is another one; return the error if it must be tried again.

        When this has returned for this process, no process that is about to end is the holder.
        """
        with self._lock:
            if number != self._number and (pid is not None or self._newest_pid is not None):
                return None
            return self._lease.bind(pid)
