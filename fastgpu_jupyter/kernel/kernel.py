"""The FastGPU kernel: ipykernel with a gate in front of each cell.

A cell of a kernel whose lease is active runs at once; the gate costs it a few attribute reads. A cell of a kernel whose
lease waits shows a live line until the GPU is granted, and Stop ends the wait within a moment: the place in the queue
is kept and the kernel lives on. Silent executions, and cells that hold nothing but ``%fastgpu`` lines, never wait, and
do not count as use of the GPU.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, cast

from ipykernel.ipkernel import IPythonKernel

from ..compat.ipykernel import iopub_topic
from .cost import Cells
from .gate import Gate

#: A grant within this time shows no line: it would only flicker.
PATIENCE_S = 0.15
MAGIC = "%fastgpu"


class FastGPUKernel(IPythonKernel):
    """``IPythonKernel`` whose cells pass a :class:`Gate`."""

    def __init__(self, **kwargs: Any) -> None:
        self.gate = Gate.from_environment()
        self.cells = Cells()
        ipykernel: Any = super()  # its methods carry no types
        ipykernel.__init__(**kwargs)
        self._comm_msg: Callable[..., Any] = self.shell_handlers["comm_msg"]
        self.shell_handlers["comm_msg"] = self._use_comm
        if self.shell is not None:
            self.shell.register_magic_function(self._fastgpu, "line", "fastgpu")

    def start(self) -> None:
        """Serve, and begin to follow the lease."""
        from .follow import Follower

        ipykernel: Any = super()
        ipykernel.start()
        stderr = sys.stderr  # as it is now: a cell may put something else in its place
        self.gate.speak = lambda note: print(note, file=stderr, flush=True)
        Follower(self.gate).start()
        gc.enable()  # off since the first line of __main__

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: dict[str, Any] | None = None,
        allow_stdin: bool = False,
        **more: Any,
    ) -> dict[str, Any]:
        """Run a cell as soon as the gate is open; ``more`` is what ipykernel adds (cell_id, cell_meta)."""
        gate, ipykernel = self.gate, cast(Any, super())
        if silent or (MAGIC in code and only_magics(code)):
            self._settle(silent=silent)
            reply: dict[str, Any]
            reply = await ipykernel.do_execute(code, silent, store_history, user_expressions, allow_stdin, **more)
            return reply
        cell = gate.use.begin()
        try:
            if not gate.open:
                stopped = await self._hold(store_history)
                if stopped is not None:
                    return stopped
            self._settle()
            began = self.cells.begin(gate.view)
            reply = await ipykernel.do_execute(code, silent, store_history, user_expressions, allow_stdin, **more)
            self.cells.end(began, gate.view, reply.get("execution_count", 0))
            self._settle()
        finally:
            gate.use.end(cell)
        return reply

    def do_shutdown(self, restart: bool) -> Any:
        """Before a restart the lease goes to the process that will start this kernel again; else back to the pool."""
        # The server does either, too, but perhaps after this process has ended, which would look like a crash.
        self.gate.leave(_manager_pid() if restart else None)
        ipykernel: Any = super()
        return ipykernel.do_shutdown(restart)

    def _settle(self, *, silent: bool = False) -> None:
        """Between two cells; a silent one has nowhere to say anything."""
        if self.gate.unsettled and not silent:
            for note in self.gate.settle():
                self._say(note)

    def _use_comm(self, *message: Any) -> Any:
        """A widget's callback is use of the GPU like a cell, only that it cannot wait."""
        cell = self.gate.use.begin()
        try:
            return self._comm_msg(*message)
        finally:
            self.gate.use.end(cell)

    def _fastgpu(self, line: str) -> None:
        """Show or change this kernel's GPU lease; ``%fastgpu help`` lists the verbs."""
        from .magics import Verbs, show  # late: most starts of a kernel are not followed by one

        show(Verbs(self.gate, gated=True, cells=self.cells), line)

    def publish(self, kind: str, content: dict[str, Any]) -> None:
        """Send an output message of the cell that runs."""
        kernel: Any = self
        kernel.send_response(kernel.iopub_socket, kind, content, ident=iopub_topic(kernel, kind))

    # ---- the wait ------------------------------------------------------------------------------------------------

    async def _hold(self, store_history: bool) -> dict[str, Any] | None:
        """Wait for the grant; returns the reply of a cell whose wait was stopped, else None."""
        from .waiting import WaitingLine

        gate, loop, wake = self.gate, asyncio.get_running_loop(), asyncio.Event()
        stopped = False

        def wake_up() -> None:
            # From another thread or from a signal handler: an idle loop must be woken, a plain call_soon does not.
            if not loop.is_closed():
                loop.call_soon_threadsafe(wake.set)

        def stop() -> None:
            nonlocal stopped
            stopped = True
            wake_up()

        line = WaitingLine(self.publish, kept=gate.had_gpu)
        forget = gate.listen(wake_up)
        started = time.monotonic()
        gate.hold()
        try:
            with _on_interrupt(stop):
                while not gate.open and not stopped:
                    if time.monotonic() - started > PATIENCE_S:
                        line.show(gate.view, gate.trouble)
                        gate.explained()
                    with suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(wake.wait(), line.pause_s() if line.shown else PATIENCE_S)
                    wake.clear()
        finally:
            forget()
            line.clear()
        return self._stopped(store_history) if stopped else None

    def _stopped(self, store_history: bool) -> dict[str, Any]:
        from .waiting import stopped_sentence

        view = self.gate.view
        error = {"ename": "StillWaiting", "evalue": stopped_sentence(view, kept=self.gate.had_gpu)}
        error_content = {**error, "traceback": [f"{error['ename']}: {error['evalue']}"]}
        self.publish("error", error_content)
        count = self.shell.execution_count if self.shell is not None else 0
        if self.shell is not None and store_history:
            self.shell.execution_count += 1
        return {
            "status": "error",
            "execution_count": count,
            "user_expressions": {},
            "payload": [],
            **error_content,
        }

    def _say(self, note: str) -> None:
        self.publish("stream", {"name": "stderr", "text": note + "\n"})


def only_magics(code: str) -> bool:
    """Whether the cell holds nothing but ``%fastgpu`` lines (and comments): it is how one stops waiting."""
    lines = [line.strip() for line in code.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    return bool(lines) and all(line == MAGIC or line.startswith(MAGIC + " ") for line in lines)


@contextmanager
def _on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on SIGINT inside the block; does nothing in a subshell's thread, which no signal reaches."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(_signum: int, _frame: FrameType | None) -> None:
        stop()

    saved = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, saved)


def _manager_pid() -> int:
    """The process that manages this kernel; not the parent where a wrapper (``conda run``, a shell) is between."""
    named = os.environ.get("JPY_PARENT_PID", "")
    return int(named) if named.isdigit() and int(named) > 1 else os.getppid()
