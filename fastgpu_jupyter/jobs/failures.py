"""What the handle of a job raises where the job has no result, and errors as users see them in a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import Conflict, FastGPUError, Message
from ..messages import text_of
from .call_failures import RemoteTraceback


class JobFailed(FastGPUError):
    """The job ended with an exception; its traceback is the cause of this one."""

    code = "job_failed"
    status = 409

    def __init__(self, message: Message | str = "", *, name: str = "", text: str = "") -> None:
        super().__init__(message)
        #: The class and the text of the exception in the job.
        self.name, self.text = name, text

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows: the traceback of the job, and no frames of the process that only waited for it."""
        lines = self.__cause__.text.split("\n") if isinstance(self.__cause__, RemoteTraceback) else []
        return [*lines, f"{type(self).__name__}: {self}"]


class JobLost(Conflict):
    """The job, the process that ran it, or its result is gone."""

    code = "job_lost"


@contextmanager
def readable() -> Iterator[None]:
    """Let errors of the block have their sentence as text: Python shows that below a traceback."""
    try:
        yield
    except FastGPUError as error:
        error.args = (text_of(error),)
        raise
