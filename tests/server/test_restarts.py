"""Restarts and interrupts of one kernel that overlap, through a real server."""

from __future__ import annotations

import sys
import threading

import pytest

from tests.helpers import ServerProcess, alive
from tests.server.conftest import Running, write_kernelspec
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
AT_A_TIME = 6


def test_overlapping_restarts_and_interrupts_keep_the_lease(running: Running) -> None:
    jupyter, pool = running.jupyter, running.pool
    session = jupyter.start_session("a.ipynb")
    kernel_id = session["kernel"]["id"]
    (lease,) = pool.live()
    assert lease["state"] == "active"
    answers: list[tuple[str, int]] = []

    def post(what: str) -> None:
        answers.append((what, jupyter.call("POST", f"api/kernels/{kernel_id}/{what}")[0]))

    threads = [
        threading.Thread(target=post, args=(what,)) for _ in range(AT_A_TIME) for what in ("restart", "interrupt")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == sorted([("restart", 200), ("interrupt", 204)] * AT_A_TIME)
    wait_until(lambda: _is_settled(jupyter, kernel_id), "the kernel is started for the last time")
    (now,) = pool.live()
    assert (now["id"], now["state"]) == (lease["id"], "active"), answers
    kernel = jupyter.kernel(session)
    ran = kernel.run("import os; print(os.getpid())")
    pid = ran.stream()
    assert alive(int(pid))
    wait_until(lambda: pool.lease(lease["id"])["holder"]["pid"] == int(pid), "the kernel is the holder")


def test_restart_that_fails_says_why(running: Running) -> None:
    jupyter, pool = running.jupyter, running.pool
    interpreter = jupyter.folder / "interpreter"
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    interpreter.chmod(0o700)
    command = [str(interpreter), "-P", "-m", "fastgpu_jupyter.kernel", "-f", "{connection_file}"]
    write_kernelspec(jupyter.folder, "removed", argv=command)
    session = jupyter.start_session("a.ipynb", "removed")
    assert jupyter.kernel(session).run("1 + 1").status == "ok"
    interpreter.unlink()
    status, answer = jupyter.call("POST", f"api/kernels/{session['kernel']['id']}/restart")
    assert (status, answer["message"]) == (500, f"[Errno 2] No such file or directory: '{interpreter}'")
    wait_until(lambda: not pool.live(), "its lease ends, as after a start that fails")


def _is_settled(jupyter: ServerProcess, kernel_id: str) -> bool:
    status, kernel = jupyter.call("GET", f"api/kernels/{kernel_id}")
    return status == 200 and kernel["execution_state"] in ("idle", "starting")
