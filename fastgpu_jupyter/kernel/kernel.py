"""The FastGPU kernel: ipykernel with a gate in front of each cell.

A cell of a kernel whose lease is active runs at once; the gate costs it a few attribute reads. A cell of a kernel whose
lease waits shows the queue position until the GPU is granted. Stop ends the wait within a moment; the position in the
queue is kept and the kernel keeps running. Code that a front end runs by itself (silent, or without a number in the
history) and cells that only ask something (:mod:`.cell_kinds`) never wait and do not count as use of the GPU.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from ipykernel.ipkernel import IPythonKernel
from IPython.core.error import UsageError

from ..compat.ipykernel import comm_message_of, iopub_topic
from ..compat.ipython import history_begins_in_background
from ..messages import language, say
from .cell_cost import Cells
from .cell_kinds import cell_verb, only_asks, without_cell_verb
from .gate import Gate
from .interrupts import Interrupts
from .lease_client import IMPORT_ERRORS

if TYPE_CHECKING:
    from .ancestor_watch import AncestorWatch
    from .cell_cost import Cell
    from .cell_profile import Profile
    from .completion import Sizes
    from .output_buffer import OutputBuffer
    from .widget.kernel_widgets import KernelWidgets

#: A wait shorter than this shows no display, which would only flicker.
DISPLAY_AFTER_S = 0.15
#: ipykernel returns to the loop of a GUI toolkit 1 ms after a message, unless it was replaced by then.
EVENTLOOP_SETTLES_S = 0.02


class FastGPUKernel(IPythonKernel):
    """An ``IPythonKernel`` with a :class:`Gate` in front of its cells."""

    def __init__(self, **kwargs: Any) -> None:
        language.use(language.preferred(os.environ))
        self.gate = Gate.from_environment()
        os.register_at_fork(after_in_child=self.gate.abandon)
        self.cells = Cells()
        #: What the widgets of this kernel share; None before the first.
        self.widgets: KernelWidgets | None = None
        #: How many cells run or wait, those that only ask something included.
        self.cells_running = 0
        #: What keeps the output while no server is there; None at other times.
        self.output_buffer: OutputBuffer | None = None
        self._interrupts = Interrupts()
        self._sizes: Sizes | None = None
        ipykernel: Any = super()  # its methods carry no types
        with history_begins_in_background():
            ipykernel.__init__(**kwargs)
        self._comm_msg: Callable[..., Any] = self.shell_handlers["comm_msg"]
        self.shell_handlers["comm_msg"] = self._count_comm_as_activity
        if self.shell is not None:
            self.shell.register_magic_function(self._fastgpu, "line", "fastgpu")
            self.shell.register_magic_function(self._fastgpu_cell, "cell", "fastgpu")
            self.shell.input_transformers_cleanup.append(without_cell_verb)
            self._add_helps(self.shell)

    def start(self) -> None:
        """Start to serve requests and to follow the lease."""
        from .lease_follower import LeaseFollower
        from .preload import Preload

        ipykernel: Any = super()
        ipykernel.start()
        self._interrupts.install()
        stderr = sys.stderr  # now: a cell may replace it
        self.gate.notify_now = lambda note: print(note, file=stderr, flush=True)
        LeaseFollower(self.gate).start()
        Preload(self.gate.closed).start()
        if self.gate.cluster == "keep":
            from .remote_watch import RemoteWatch

            RemoteWatch(self).start()
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
        self.cells_running += 1
        try:
            return await self._execute(code, silent, store_history, user_expressions, allow_stdin, **more)
        finally:
            self.cells_running -= 1

    async def _execute(
        self,
        code: str,
        silent: bool,
        store_history: bool,
        user_expressions: dict[str, Any] | None,
        allow_stdin: bool,
        **more: Any,
    ) -> dict[str, Any]:
        gate, ipykernel = self.gate, cast(Any, super())
        reply: dict[str, Any]
        if silent or not store_history or only_asks(code):
            self._apply_changes(with_notes=store_history and not silent)
            with gate.not_counted():
                reply = await ipykernel.do_execute(code, silent, store_history, user_expressions, allow_stdin, **more)
            return reply
        verb = cell_verb(code)
        if verb == "cpu":
            return await self._execute_without_gpu(code, user_expressions, allow_stdin, **more)
        cell = gate.activity.begin()
        try:
            if gate.lease_id is None:
                gate.adopt_requested()
            if not gate.open:
                stopped = None if gate.runs_on_cpu else await self._wait_for_grant(store_history)
                if stopped is not None:
                    return stopped
                if gate.runs_on_cpu:
                    gate.begin_on_cpu()
                    gate.activity.end(cell)  # it needs no device, so it neither takes nor keeps one
            self._apply_changes()
            profile = self._begin_profile() if verb == "profile" else None
            began = self.cells.begin(gate.view)
            reply = await ipykernel.do_execute(code, silent, store_history, user_expressions, allow_stdin, **more)
            ended = self.cells.end(began, gate.view, reply.get("execution_count", 0))
            self._apply_changes()
            if profile is not None:
                await self._show_profile(profile, ended)
        finally:
            gate.activity.end(cell)
        return reply

    async def _execute_without_gpu(
        self, code: str, user_expressions: dict[str, Any] | None, allow_stdin: bool, **more: Any
    ) -> dict[str, Any]:
        """Run a cell at once and without the GPU; it is no use of the lease, so that a parked one stays parked."""
        from .cpu_cell import without_gpu

        self._apply_changes()
        ipykernel: Any = super()
        with without_gpu(self.gate, self._print):
            began = self.cells.begin(self.gate.view)
            reply: dict[str, Any] = await ipykernel.do_execute(
                code, silent=False, user_expressions=user_expressions, allow_stdin=allow_stdin, **more
            )
            self.cells.end(began, self.gate.view, reply.get("execution_count", 0))
        return reply

    def _begin_profile(self) -> Profile:
        from .cell_profile import Profile

        return Profile(self.gate)

    async def _show_profile(self, profile: Profile, cell: Cell) -> None:
        """Show below the output of a cell what it used."""
        loop = asyncio.get_running_loop()
        shown = await loop.run_in_executor(None, profile.end, cell)  # it waits for the last sample
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # what the cell wrote comes first
        self.publish("display_data", {"data": shown.bundle(), "metadata": {}, "transient": {}})

    def do_shutdown(self, restart: bool) -> Any:
        """Bind the lease to the managing process before a restart; else release it."""
        # The server does the same, but possibly after this process has ended, which would look like a crash.
        self.gate.close(_manager_pid() if restart else None)
        ipykernel: Any = super()
        return ipykernel.do_shutdown(restart)

    def _apply_changes(self, *, with_notes: bool = True) -> None:
        """Apply the gate's changes between two cells; code whose output no user reads gets no notes."""
        if self.gate.has_changes:
            for note in self.gate.apply_changes(with_notes=with_notes):
                self._print(note)

    def _count_comm_as_activity(self, *message: Any) -> Any:
        """Count a widget's callback as activity, like a cell; it cannot wait for the gate."""
        cell = self.gate.activity.begin()
        try:
            return self._comm_msg(*message)
        finally:
            self.gate.activity.end(cell)

    async def shell_channel_thread_main(self, msg: Any) -> None:
        """Pass a message of the shell channel on; serve the requests of our widgets here, also while a cell runs."""
        if self.output_buffer is not None:
            self.output_buffer.note_request(msg)
        if self.widgets is not None:
            content = comm_message_of(self, msg)
            if content is not None and self.widgets.take(content):
                return
        ipykernel: Any = super()
        await ipykernel.shell_channel_thread_main(msg)

    def _fastgpu(self, line: str) -> None:
        """Show or change this kernel's GPU lease; ``%fastgpu help`` lists the verbs."""
        try:
            from .magics import run_and_display  # late: most kernels never need it
            from .verbs import Context
        except IMPORT_ERRORS:
            raise UsageError(say("magic.upgraded")) from None

        run_and_display(Context(self.gate, gated=True, cells=self.cells), line)

    def _fastgpu_cell(self, line: str, cell: str) -> None:
        """Run a cell as a job (``%%fastgpu job``), without the GPU (``cpu``), or show what it uses (``profile``)."""
        # A cell of the last two is never given to IPython with its first line.
        try:
            from .job_verbs import run_cell  # late: it imports what only jobs need
            from .verbs import Context
        except IMPORT_ERRORS:
            raise UsageError(say("magic.upgraded")) from None

        run_cell(Context(self.gate, gated=True, cells=self.cells), line, cell)

    def _add_helps(self, shell: Any) -> None:
        """Complete ``%fastgpu``, and explain errors of memory that is used up. Nothing is imported before its use."""

        def complete(_shell: Any, event: Any) -> list[str]:
            try:
                from .completion import Sizes, complete, variables_of
            except IMPORT_ERRORS:
                return []
            if self._sizes is None:
                self._sizes = Sizes(self.gate)
            return complete(event.text_until_cursor, event.symbol, self._sizes.names, lambda: variables_of(shell))

        for magic in ("%fastgpu", "%%fastgpu"):
            shell.set_hook("complete_command", complete, str_key=magic)
        show = shell.showtraceback

        def showtraceback(exc_tuple: Any = None, *args: Any, **named: Any) -> Any:
            try:
                from .out_of_memory import noted
            except IMPORT_ERRORS:
                return show(exc_tuple, *args, **named)
            with noted(exc_tuple[1] if exc_tuple else sys.exc_info()[1], self.gate):
                return show(exc_tuple, *args, **named)

        shell.showtraceback = showtraceback

    def publish(self, kind: str, content: dict[str, Any]) -> None:
        """Send an output message of the running cell."""
        kernel: Any = self
        kernel.send_response(kernel.iopub_socket, kind, content, ident=iopub_topic(kernel, kind))

    # ---- the wait ------------------------------------------------------------------------------------------------

    async def _wait_for_grant(self, store_history: bool) -> dict[str, Any] | None:
        """Wait for the grant; return the reply of a cell whose wait was stopped, else None."""
        from .wait_display import WaitDisplay

        # The loop of a GUI toolkit would run in this thread, and block everything below, until the next message.
        eventloop, in_main_shell = self.eventloop, threading.current_thread() is threading.main_thread()
        if in_main_shell:
            self.eventloop = None
        gate, loop, wake = self.gate, asyncio.get_running_loop(), asyncio.Event()
        stopped = False

        def wake_up() -> None:
            # From another thread or a signal handler; a plain call_soon does not wake an idle loop.
            if not loop.is_closed():
                loop.call_soon_threadsafe(wake.set)

        def stop() -> None:
            nonlocal stopped
            stopped = True
            wake_up()

        ancestors = self._watch_ancestors(wake_up)
        display = WaitDisplay(self.publish, had_gpu=gate.had_gpu)
        remove_listener = gate.add_listener(wake_up)
        started = time.monotonic()
        gate.begin_wait()
        try:
            with self._interrupts.stopping(stop):
                while not gate.open and not gate.runs_on_cpu and not stopped:
                    if time.monotonic() - started > DISPLAY_AFTER_S:
                        display.show(gate.view, gate.pool_error, ancestors.note if ancestors else None)
                        gate.wait_was_shown()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(wake.wait(), display.pause_s() if display.shown else DISPLAY_AFTER_S)
                    wake.clear()
        finally:
            gate.end_wait()
            remove_listener()
            if ancestors is not None:
                ancestors.end()
            display.clear()
            if in_main_shell and eventloop is not None:
                await asyncio.sleep(EVENTLOOP_SETTLES_S)
                self.eventloop = eventloop
        return self._stopped(store_history) if stopped else None

    def _watch_ancestors(self, changed: Callable[[], None]) -> AncestorWatch | None:
        if not self.gate.environment.ancestors:
            return None
        from .ancestor_watch import AncestorWatch

        watch = AncestorWatch(self.gate, changed)
        watch.start()
        return watch

    def _stopped(self, store_history: bool) -> dict[str, Any]:
        from .wait_display import stopped_wait_text

        view = self.gate.view
        error = {"ename": "StillWaiting", "evalue": stopped_wait_text(view, had_gpu=self.gate.had_gpu)}
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

    def _print(self, note: str) -> None:
        self.publish("stream", {"name": "stderr", "text": note + "\n"})


def _manager_pid() -> int:
    """Return the pid of the managing process, which is not the parent where a wrapper (``conda run``) is in between."""
    named = os.environ.get("JPY_PARENT_PID", "")
    return int(named) if named.isdigit() and int(named) > 1 else os.getppid()
