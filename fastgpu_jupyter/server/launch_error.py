"""The error of a kernel that could not be started or restarted, as a Jupyter server passes it on.

``POST /api/sessions`` answers with the text of any exception, ``POST /api/kernels`` only with that of an ``HTTPError``:
of any other it says "Unhandled error". Programs without a server get the exception itself.
"""

from __future__ import annotations

import re

from tornado import web

from ..errors import FastGPUError, Message, OutcomeUnknown, PoolSilent
from ..messages import text_of
from ..text import printable
from . import language


class KernelNotStarted(web.HTTPError):
    """A launch that failed in a Jupyter server; its text is a sentence for the user."""

    def __init__(self, status: int, text: str) -> None:
        # tornado formats the text of an error when it logs it.
        super().__init__(status, re.sub(r"\s*%", " percent", printable(text)))

    def __str__(self) -> str:
        return self.log_message or ""


def launch_error(error: Exception, *, in_server: bool) -> Exception:
    """Return what a launch that failed with ``error`` raises, with a sentence as its text."""
    text = text_of(error, language.of_user()) if isinstance(error, FastGPUError) else str(error) or type(error).__name__
    if in_server and not isinstance(error, web.HTTPError):
        return KernelNotStarted(error.status if isinstance(error, FastGPUError) else 500, text)
    return type(error)(text) if isinstance(error, FastGPUError) else error


def restart_refused(error: FastGPUError) -> FastGPUError:
    """Return the error of a restart before which ``error`` kept the lease from getting its next holder."""
    # The binding may have been done; of the restart it is known that it was not.
    unknown = isinstance(error, OutcomeUnknown)
    reason = Message("pool.silent", error.message.params) if unknown else error.message
    kind = PoolSilent if unknown else type(error)
    return kind(Message.of("kernel.restart_refused", reason=reason))
