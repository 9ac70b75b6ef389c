"""Private parts of ``ipykernel``."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, cast


def iopub_topic(kernel: Any, message_type: str) -> bytes:
    """Return the topic under which ``kernel`` publishes messages of ``message_type`` on IOPub.

    Subscribers filter by it. ``Kernel._topic`` is the only place where it is defined.
    """
    topic: bytes = kernel._topic(message_type)  # noqa: SLF001 (no public name)
    return topic


class AsyncCellInterrupts:
    """A base class, before ``IPythonKernel``, that calls :meth:`interrupted` when SIGINT cancels a cell with ``await``.

    ``IPythonKernel._cancel_on_sigint`` replaces the handler of the signal while such a cell runs, and calls nothing
    else. With a version that lacks it, :meth:`interrupted` is not called.
    """

    def interrupted(self) -> None:
        """Do nothing; for subclasses."""

    @contextmanager
    def _cancel_on_sigint(self, future: Any) -> Iterator[None]:
        with cast(Any, super())._cancel_on_sigint(future):  # noqa: SLF001 (no public name); it restores the handler
            cancel = signal.getsignal(signal.SIGINT)

            def handler(signum: int, frame: FrameType | None) -> None:
                self.interrupted()
                if callable(cancel):
                    cancel(signum, frame)

            signal.signal(signal.SIGINT, handler)
            yield
