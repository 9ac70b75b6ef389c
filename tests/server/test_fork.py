"""Processes that are forked: the workers that run several notebooks at a time, and the workers of a notebook."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fastgpu_jupyter.server import threads
from fastgpu_jupyter.server.threads import in_thread
from fastgpu_jupyter.wire import unixsocket
from tests.helpers import PoolProcess
from tests.waiting import DEADLINE_S

#: As nbclient's own test_many_parallel_notebooks does: a process that has run a notebook forks, and the child runs one.
RUN_AND_FORK = """
import faulthandler, os, sys, nbformat
from nbclient import NotebookClient

def run():
    cell = nbformat.v4.new_code_cell("import os; print('granted', os.environ['FASTGPU_SIMULATED'])")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(notebook, kernel_name="fastgpu").execute()
    print(notebook.cells[0].outputs[0].text, flush=True)

run()
child = os.fork()
if not child:
    faulthandler.dump_traceback_later(60)  # not before the fork, after which its thread would be missing
    run()
    os._exit(0)
ended = os.waitpid(child, 0)[1]
run()  # not beside the child: two processes may choose the same free ports for their kernels
sys.exit(ended)
"""


@pytest.mark.slow
def test_kernel_starts_in_a_forked_process_of_one_that_started_a_kernel(pool: PoolProcess, installed: None) -> None:
    command, pipe = [sys.executable, "-c", RUN_AND_FORK], subprocess.PIPE
    with subprocess.Popen(
        command, cwd=pool.folder, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as runner:
        try:
            out, err = runner.communicate(timeout=2 * DEADLINE_S)
        except subprocess.TimeoutExpired as timeout:
            os.killpg(runner.pid, signal.SIGKILL)  # the child, too
            pytest.fail(f"The runner hangs: {runner.communicate()[1][-6000:]} ({timeout})")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(runner.pid, signal.SIGKILL)  # the child, too
    assert runner.returncode == 0, err
    assert out.split().count("granted") == 3


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_threads_are_not_those_of_the_process_that_forked() -> None:
    async def ran_in() -> str:
        return await in_thread(lambda: threading.current_thread().name)

    assert asyncio.run(ran_in()).startswith("fastgpu")
    inherited = threads._threads.executor()
    assert threads._threads.executor() is inherited
    child = os.fork()
    if not child:
        os._exit(threads._threads.executor() is inherited)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_connection_is_closed_in_a_forked_process_and_open_in_its_parent(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        with unixsocket.short_address(tmp_path / "socket") as address:
            server.bind(address)
        server.listen()
        client = unixsocket.connect(tmp_path / "socket", DEADLINE_S)
        reader = client.makefile("rb")
        here, _ = server.accept()
        child = os.fork()
        if not child:
            os._exit(client.fileno() != -1)
        assert os.waitpid(child, 0)[1] == 0
        here.sendall(b"still here\n")
        assert reader.readline() == b"still here\n"
        for one in (reader, client, here):
            one.close()
