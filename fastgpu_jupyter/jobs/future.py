"""The future of a call that is a job."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ..wire.schemas.jobs import JobView
    from .calls import ExecutorCalls
    from .handle import Job

T = TypeVar("T")


class Future(concurrent.futures.Future[T]):
    """The result of a call of an :class:`Executor`, once its job is done.

    ``result`` raises what the call raised, with the traceback of its process as the cause. A :class:`WorkerDied` says
    that the process of the call ended before the call did.
    """

    def __init__(self, calls: ExecutorCalls, view: JobView) -> None:
        super().__init__()
        self.job_id = view["id"]  #: of the job, by which other processes find it, too
        self._view = view
        self._calls = calls
        self._ending = threading.Lock()

    @property
    def job(self) -> Job:
        """The job of the call, as :func:`fastgpu_jupyter.job` returns it."""
        from .handle import Job, notebook_namespace

        return Job(self._view, self._calls.client(), notebook_namespace())

    def cancel(self) -> bool:
        """Cancel the call if it has not begun, and return whether it is cancelled.

        A call that runs goes on; ``future.job.cancel()`` ends it.
        """
        if self.running() or (self.done() and not self.cancelled()):
            return False
        if self.cancelled():
            return True
        if not self._calls.cancel(self.job_id):
            return False
        self.end_cancelled()
        return True

    def result(self, timeout: float | None = None) -> T:
        """Return the result of the call, or raise its exception; :class:`TimeoutError` after ``timeout`` seconds."""
        self._calls.follow()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the exception of the call, None without one; raises :class:`TimeoutError` as :meth:`result` does."""
        self._calls.follow()
        return super().exception(timeout)

    def end_cancelled(self) -> None:
        """Set the state after the job of a call that had not begun was cancelled; a second call changes nothing."""
        with self._ending:
            first = not self.done()
            if first:
                super().cancel()
        if first:
            self.set_running_or_notify_cancel()
