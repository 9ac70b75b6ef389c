"""``compat.ipykernel`` against the installed version."""

from __future__ import annotations

import asyncio
import signal

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelbase import Kernel

from fastgpu_jupyter.compat.ipykernel import AsyncCellInterrupts, iopub_topic


class _Kernel(Kernel):
    implementation = implementation_version = banner = "none"
    language_info = {"name": "none"}  # noqa: RUF012 (a trait)


def test_iopub_topic_names_the_kernel_and_the_message_type() -> None:
    kernel = _Kernel()  # type: ignore[no-untyped-call] # ipykernel is partly typed
    topic = iopub_topic(kernel, "stream")
    assert topic.startswith(b"kernel.")
    assert topic.endswith(b".stream")
    assert kernel.ident.encode() in topic


class _Interrupted(AsyncCellInterrupts, IPythonKernel):
    calls = 0

    def __init__(self) -> None:
        """No kernel: only its loop is needed."""

    def interrupted(self) -> None:
        self.calls += 1


def test_interrupted_is_called_when_sigint_cancels_an_async_cell() -> None:
    async def run() -> int:
        kernel = _Interrupted()
        from tornado.ioloop import IOLoop

        kernel.io_loop = IOLoop.current()
        cell = asyncio.ensure_future(asyncio.Event().wait())
        saved = signal.getsignal(signal.SIGINT)
        with kernel._cancel_on_sigint(cell):
            signal.raise_signal(signal.SIGINT)
            await asyncio.wait({cell})
        assert signal.getsignal(signal.SIGINT) is saved
        assert cell.cancelled()
        return kernel.calls

    assert asyncio.run(run()) == 1
