"""Make a process the holder of a lease, and repeat that until the pool manager has it."""

from __future__ import annotations

import threading

from .kernel_lease import KernelLease
from .threads import in_thread

BIND_PAUSE_FIRST_S = 1.0
BIND_PAUSE_MOST_S = 30.0


class HolderBinding:
    """The binding of the lease to the kernel's process, or to this one while there is none."""

    def __init__(self, lease: KernelLease) -> None:
        self._lease = lease
        self._stop: threading.Event | None = None

    async def bind_kernel(self, pid: int) -> None:
        """Bind process ``pid``; where the pool manager does not answer, go on in a thread."""
        if not await in_thread(self._lease.bind, pid):
            self.keep_binding(pid)

    async def bind_server(self) -> None:
        """Stop binding the kernel's process, and bind this process."""
        self.stop()
        await in_thread(self._lease.bind, None)

    def keep_binding(self, pid: int) -> None:
        """Bind process ``pid`` in a thread, with growing pauses, until that succeeds or :meth:`stop`."""
        # A thread, not a task: a blocking kernel manager runs each method of a provisioner in a loop of its own.
        stop = self._stop = threading.Event()

        def run() -> None:
            pause_s = BIND_PAUSE_FIRST_S
            while not stop.wait(pause_s):
                if self._lease.bind(pid):
                    return
                pause_s = min(pause_s * 2, BIND_PAUSE_MOST_S)

        threading.Thread(target=run, name="fastgpu-bind", daemon=True).start()

    def stop(self) -> None:
        """End the thread that binds, if there is one."""
        if self._stop is not None:
            self._stop.set()
            self._stop = None
