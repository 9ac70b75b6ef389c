"""What the handle of a job raises where the job has no result, and errors as users see them in a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import Conflict, FastGPUError, Message
from ..messages import text_of


class JobFailed(FastGPUError):
    """The job ended with an exception; its traceback is the cause of this one."""

    code = "job_failed"
    status = 409

    def __init__(self, message: Message | str = "", *, name: str = "", text: str = "") -> None:
        super().__init__(message)
        #: The class and the text of the exception in the job.
        self.name, self.text = name, text


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
