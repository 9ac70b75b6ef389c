"""Run one cell or notebook in a fresh kernel through nbclient.

What it prints goes to the log as it comes. This process says then on its channel what came of it, and lives until the
runner has made the result complete. SIGINT interrupts the cell that runs.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from jupyter_core.utils import ensure_async
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from ...errors import FastGPUError, InvalidRequest, Message
from ...messages import text_of, view_of
from ...wire.job_states import JobKind, JobState
from ..progress import report_cells
from ..results import ResultStore, open_own
from ..runner.guard import Channel
from ..runner.log_file import without_escapes
from . import kernels
from .parameters import with_parameters

_IN_KERNEL = "__import__('fastgpu_jupyter.jobs.work.in_kernel', fromlist=['in_kernel'])"
#: What a cell prints beyond this is in the log only.
_STREAM_CHARS_MAX = 10 * 2**20
_START_S = 120
_TEXT_CHARS_MAX = 2000


class WorkFailed(Exception):
    """The work could not be done; the error is what the user sees."""

    def __init__(self, name: str, text: str, traceback: list[str] | None = None) -> None:
        super().__init__(text)
        self.error = {"name": name, "text": text[:_TEXT_CHARS_MAX], "traceback": traceback or []}

    @classmethod
    def of(cls, name: str, message: Message) -> WorkFailed:
        """Return a failure with the sentence of a message."""
        return cls(name, view_of(message)["text"])


class JobNotebookClient(NotebookClient):
    """Runs cells, and prints their outputs as text when they come."""

    _streamed = 0

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Print an output, and keep it in the notebook unless its cell has printed too much already."""
        _print(msg["msg_type"], msg["content"])
        if msg["msg_type"] == "execute_input":
            self._streamed = 0
        if msg["msg_type"] == "stream":
            before, self._streamed = self._streamed, self._streamed + len(msg["content"]["text"])
            if self._streamed > _STREAM_CHARS_MAX:
                if before > _STREAM_CHARS_MAX:
                    return None
                cut = view_of(Message.of("jobs.output_cut", limit_bytes=_STREAM_CHARS_MAX))["text"]
                msg["content"]["text"] = f"\n{cut}\n"
        return super().process_message(msg, cell, cell_index)

    async def evaluate(self, expression: str) -> dict[str, Any]:
        """Return the JSON object that an expression makes in the kernel. Raises :class:`WorkFailed`."""
        assert self.kc is not None
        msg_id = self.kc.execute("", silent=True, user_expressions={"value": expression})
        reply = await self.async_wait_for_reply(msg_id)
        found = reply["content"].get("user_expressions", {}).get("value", {}) if reply else {}
        if found.get("status") != "ok":
            raise WorkFailed(found.get("ename", "RuntimeError"), found.get("evalue", ""), found.get("traceback"))
        return dict(json.loads(ast.literal_eval(found["data"]["text/plain"])))


def _print(kind: str, content: Mapping[str, Any]) -> None:
    """Print what a log shows of an output: its text."""
    if kind == "stream":
        text = content["text"]
    elif kind == "error":
        text = "\n".join(content["traceback"]) + "\n"
    elif kind in ("execute_result", "display_data") and "text/plain" in content["data"]:
        text = f"{content['data']['text/plain']}\n"
    else:
        return
    with contextlib.suppress(OSError):
        sys.stdout.write(text)
        sys.stdout.flush()


class NotebookWork:
    """One cell or notebook, from the start of its kernel to what came of it."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        self._wanted, self._program = wanted, wanted["program"]
        self._payload = Path(wanted["payload"])
        self._store = ResultStore(Path(wanted["store"]))
        self._client: JobNotebookClient | None = None
        self._executes = self._interrupted = False
        #: The path of a job's folder is often too long for sockets.
        self._sockets = Path(tempfile.mkdtemp(prefix="fastgpu-"))

    async def run(self) -> dict[str, Any]:
        """Return what the runner is to know: the state, an error, and the parts of the result."""
        try:
            if self._wanted["kind"] == JobKind.CELL:
                return await self._run_cell()
            return await self._run_notebook()
        except WorkFailed as failed:
            return {"state": JobState.FAILED, "error": failed.error}
        except FastGPUError as error:
            return {"state": JobState.FAILED, "error": WorkFailed(type(error).__name__, text_of(error)).error}

    async def interrupt(self) -> None:
        """Interrupt the cell that runs; where none runs yet, none will."""
        self._interrupted = True
        manager = self._client.km if self._client else None
        if self._executes and manager is not None and manager.has_kernel:
            await ensure_async(manager.interrupt_kernel())

    async def end(self) -> None:
        """End the kernel at once; the result is complete, or will never be."""
        client = self._client
        if client is not None and client.km is not None and client.km.has_kernel:
            if client.kc is not None:
                client.kc.stop_channels()
            await ensure_async(client.km.shutdown_kernel(now=True))
        shutil.rmtree(self._sockets, ignore_errors=True)

    # ---- a cell --------------------------------------------------------------------------------------------------

    async def _run_cell(self) -> dict[str, Any]:
        program = self._program
        cell = new_code_cell(program["code"])
        client = await self._start(new_notebook(cells=[cell]), kernels.python_spec(self._wanted["interpreter"]))
        await self._prepare(client, needs_package=bool(program["inputs"] or program["outputs"]))
        if program["inputs"]:
            path = str(self._payload / program["inputs"])
            await self._in_kernel(client, f"load(get_ipython().user_ns, {path!r}, {program['sha256']!r})")
        error = await self._execute(client, cell, 0)
        answer: dict[str, Any] = {"state": JobState.FAILED if error else JobState.DONE, "error": error}
        answer["opened"] = await self._opened(client)
        answer["outputs"] = self._store.put_bytes(json.dumps(cell.outputs).encode()).digest
        if error is None and program["outputs"]:
            call = f"keep(get_ipython().user_ns, {program['outputs']!r}, {self._wanted['store']!r})"
            kept = await client.evaluate(f"{_IN_KERNEL}.{call}")
            answer["values"] = kept["values"]
            failed = WorkFailed(*kept["error"]) if kept["error"] else _undefined(kept["undefined"])
            if failed is not None:
                answer |= {"state": JobState.FAILED, "error": failed.error}
        return answer

    async def _prepare(self, client: JobNotebookClient, *, needs_package: bool) -> None:
        """Let the kernel report progress and what it opens, where that matters.

        Raises :class:`WorkFailed` if it lacks the package that inputs and outputs need.
        """
        try:
            wanted = self._wanted
            ignored, log = (
                [wanted["payload"], wanted["store"], str(self._sockets)],
                str(Path(wanted["folder"], "opened.log")),
            )
            await client.evaluate(f"{_IN_KERNEL}.begin({wanted['declared']!r}, {ignored!r}, {log!r})")
        except WorkFailed as failed:
            if needs_package and failed.error["name"] == "ModuleNotFoundError":
                message = Message.of("jobs.no_package", interpreter=self._wanted["interpreter"])
                raise WorkFailed.of("ModuleNotFoundError", message) from None
            if needs_package:
                raise

    async def _opened(self, client: JobNotebookClient) -> list[Any] | None:
        """Return what the kernel opened that is not declared, None where that was not watched or is not known."""
        if self._wanted["declared"] is None:
            return None
        with contextlib.suppress(WorkFailed, DeadKernelError):
            found: list[Any] | None = (await client.evaluate(f"{_IN_KERNEL}.opened()"))["opened"]
            return found
        return None

    async def _in_kernel(self, client: JobNotebookClient, call: str) -> None:
        answer = await client.evaluate(f"{_IN_KERNEL}.{call}")
        if "error" in answer:
            raise WorkFailed(*answer["error"])

    # ---- a notebook ----------------------------------------------------------------------------------------------

    async def _run_notebook(self) -> dict[str, Any]:
        program = self._program
        notebook = self._read(self._payload / program["notebook"])
        spec = kernels.spec_of_notebook(notebook.metadata, program.get("kernel"), self._wanted["interpreter"])
        notebook = with_parameters(notebook, program["parameters"], spec.language)
        client = await self._start(notebook, spec)
        if spec.language == "python":
            await self._prepare(client, needs_package=False)
        error = None
        for index, cell in enumerate(notebook.cells):
            report_cells(index, len(notebook.cells))
            error = await self._execute(client, cell, index)
            if error is not None:
                break
        else:
            report_cells(len(notebook.cells), len(notebook.cells))
        with contextlib.suppress(DeadKernelError):
            client.set_widgets_metadata()
        opened = await self._opened(client)
        digest = self._store.put_bytes(nbformat.writes(notebook).encode()).digest
        state = JobState.FAILED if error else JobState.DONE
        return {"state": state, "error": error, "notebook": digest, "opened": opened}

    def _read(self, path: Path) -> NotebookNode:
        try:
            with os.fdopen(open_own(path), encoding="utf-8") as file:
                notebook: NotebookNode = nbformat.reads(file.read(), as_version=4)
                return notebook
        except (OSError, ValueError, nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
            raise InvalidRequest(Message.of("jobs.notebook_unreadable", reason=str(error)[:200])) from error

    # ---- the kernel ----------------------------------------------------------------------------------------------

    async def _start(self, notebook: NotebookNode, spec: Any) -> JobNotebookClient:
        """Start the kernel. Raises :class:`WorkFailed` where that fails."""
        manager = kernels.manager_of(spec, self._sockets)
        client = JobNotebookClient(
            notebook, km=manager, timeout=None, startup_timeout=_START_S, coalesce_streams=True,
            resources={"metadata": {"path": self._wanted["cwd"]}},
        )  # fmt: skip
        self._client = client
        try:
            await client.async_start_new_kernel(env=dict(os.environ))
            await client.async_start_new_kernel_client()
        except Exception as error:
            raise WorkFailed.of("NoKernel", kernels.why_not_started(spec, error)) from error
        return client

    async def _execute(self, client: JobNotebookClient, cell: NotebookNode, index: int) -> dict[str, Any] | None:
        """Run a cell; return its error, None without one."""
        if self._interrupted:
            return WorkFailed("KeyboardInterrupt", "").error
        self._executes = True
        try:
            await client.async_execute_cell(cell, index)
        except CellExecutionError as error:
            lines: list[str] = next((one.traceback for one in cell.outputs if one.output_type == "error"), [])
            return WorkFailed(error.ename, error.evalue, [without_escapes(line) for line in lines]).error
        except DeadKernelError:
            return WorkFailed.of("DeadKernel", Message.of("jobs.kernel_died", number=index + 1)).error
        finally:
            self._executes = False
        return None


def _undefined(names: list[str]) -> WorkFailed | None:
    return WorkFailed.of("NameError", Message.of("jobs.outputs_undefined", names=tuple(names))) if names else None


async def serve(descriptor: int, early: list[int]) -> None:
    """Run what the runner says, and say what came of it; ``early``: signals that came before this was called."""
    channel = Channel(socket.socket(fileno=descriptor))
    wanted = next((message["run"] for message in channel.receive() if "run" in message), None)
    while wanted is None and not channel.closed:
        wanted = next((message["run"] for message in channel.receive() if "run" in message), None)
    if wanted is None:
        return
    work, loop = NotebookWork(wanted), asyncio.get_running_loop()
    over = asyncio.Event()
    running = asyncio.ensure_future(work.run())
    tasks: set[asyncio.Future[Any]] = {running}

    def interrupt() -> None:
        tasks.add(asyncio.ensure_future(work.interrupt()))

    def stop() -> None:
        running.cancel()
        over.set()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    if early:
        interrupt()
    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            answer = await running
            channel.send(event="ended", job=wanted["job"], keep=False, **answer)
            loop.add_reader(channel.fileno(), over.set)  # the runner has completed the result, or has ended
            await over.wait()
    finally:
        await work.end()
