"""Continue a program in the background, once the process that was started for it can say how the start went."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress


def detach(show: Callable[[int, str], None]) -> Callable[[int, str], None]:
    """Continue in a child process that init adopts; the caller's process waits for the child's report and exits.

    Returns the function by which the child reports: the exit status of the caller's process, and a text that ``show``
    prints there. A child that ends without a report has the status 1 and no text.
    """
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        with os.fdopen(reader) as pipe:
            given, _, text = pipe.read().partition(" ")
        status = int(given or 1)
        show(status, text)
        os._exit(status)
    os.close(reader)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)

    def report(status: int, text: str) -> None:
        with suppress(OSError):
            os.write(writer, f"{status} {text}".encode())
            os.close(writer)

    return report
