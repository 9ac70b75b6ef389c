"""The process of a kernel on another host, with the methods of ``subprocess.Popen`` that provisioners use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..core.model.lifecycle import OVER
from .lease_mirror import LeaseMirror

if TYPE_CHECKING:
    from ..wire.schemas import LeaseView

#: The exit code of a process of which only the end is known.
UNKNOWN_END = -1
#: Between two looks of :meth:`RemoteProcess.wait`, which costs no call.
PAUSE_S = 0.05


class RemoteProcess:
    """A kernel on the host of a lease. It has ended when the pool manager says so, and never because it is silent."""

    #: Such a process has no pipes here.
    stdin = stdout = stderr = None

    def __init__(self, mirror: LeaseMirror, lease_id: str, generation: int | None) -> None:
        """Take the number of the start in the lease; None where it is not known yet."""
        self.lease_id = lease_id
        self.returncode: int | None = None
        self._mirror = mirror
        self._generation = generation

    def poll(self) -> int | None:
        """Return None while the process is not known to have ended, else its exit code. Makes no call."""
        if self.returncode is None:
            view = self._mirror.view(self.lease_id)
            if view is not None:
                self.returncode = self._end_in(view)
            elif self._mirror.is_forgotten(self.lease_id):
                self.returncode = UNKNOWN_END
        return self.returncode

    def _end_in(self, view: LeaseView) -> int | None:
        kernel: Any = view["cluster"]["kernel"] if view["cluster"] else None
        if kernel is not None:
            if self._generation is None:
                self._generation = kernel["generation"]
            # A view of another start is older than this one.
            if kernel["state"] == "ended" and kernel["generation"] == self._generation:
                return UNKNOWN_END if kernel["exit_code"] is None else kernel["exit_code"]
        return UNKNOWN_END if view["state"] in OVER else None

    def wait(self, timeout: float | None = None) -> int:
        """Block until the process has ended. Raises :class:`TimeoutError`."""
        deadline_s = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline_s is not None and time.monotonic() >= deadline_s:
                raise TimeoutError(f"{self.lease_id} has not ended")
            time.sleep(PAUSE_S)
        return code
