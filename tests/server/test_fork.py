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
import time
from pathlib import Path

import pytest

from fastgpu_jupyter.server import threads
from fastgpu_jupyter.server.threads import in_thread
from fastgpu_jupyter.wire import unixsocket
from tests.helpers import PoolProcess
from tests.waiting import DEADLINE_S, async_wait_until

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
for _ in range(int(sys.argv[1])):
    child = os.fork()
    faulthandler.dump_traceback_later(60)  # not before the fork, after which its thread would be missing
    run()
    if not child:
        os._exit(0)
    ended = os.waitpid(child, 0)[1]
    if ended:
        sys.exit(ended)
"""
#: How many times a runner forks, and its child and itself run a notebook at the same time.
FORKS = int(os.environ.get("FASTGPU_FORKS", "1"))


@pytest.mark.slow
def test_kernels_start_in_a_process_and_in_its_forked_child_at_the_same_time(
    isolated: Path, installed: None, request: pytest.FixtureRequest
) -> None:
    pool = PoolProcess(isolated, "2xA100-80GB")
    request.addfinalizer(pool.end)
    pool.start()
    command, pipe = [sys.executable, "-c", RUN_AND_FORK, str(FORKS)], subprocess.PIPE
    with subprocess.Popen(
        command, cwd=pool.folder, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as runner:
        try:
            out, err = runner.communicate(timeout=(1 + FORKS) * DEADLINE_S)
        except subprocess.TimeoutExpired as timeout:
            os.killpg(runner.pid, signal.SIGKILL)  # the child, too
            pytest.fail(f"The runner hangs: {runner.communicate()[1][-6000:]} ({timeout})")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(runner.pid, signal.SIGKILL)  # the child, too
    assert runner.returncode == 0, err
    assert out.split().count("granted") == 1 + 2 * FORKS


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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_calls_in_threads_end_where_a_forked_process_shares_the_event_loop() -> None:
    async def ended(child: int) -> tuple[int, int]:
        return await async_wait_until(lambda: _ended(child), "the child ends")

    loop = asyncio.new_event_loop()
    loop.run_until_complete(in_thread(os.getpid))
    child = os.fork()
    if not child:
        signal.alarm(int(DEADLINE_S / 2))
        for _ in range(200):  # the parent reads the byte that is to wake this process after some of them
            loop.run_until_complete(in_thread(time.sleep, 0.001))
        os._exit(0)
    assert loop.run_until_complete(ended(child)) == (child, 0)
    loop.close()


def _ended(child: int) -> tuple[int, int] | None:
    pid, status = os.waitpid(child, os.WNOHANG)
    return (pid, status) if pid else None


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
