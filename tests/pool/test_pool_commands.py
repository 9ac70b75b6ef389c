"""``jupyter fastgpu pool stop | restart | logs | path``, with real processes."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from fastgpu_jupyter.cli import running_pool
from fastgpu_jupyter.errors import Forbidden, HostFault, PoolUnreachable
from fastgpu_jupyter.wire import unixsocket
from fastgpu_jupyter.wire.client import PoolClient, new_token
from fastgpu_jupyter.wire.locate import user_socket, user_state_dir
from fastgpu_jupyter.wire.spawn import ensure_pool
from tests import refusals
from tests.helpers import KernelHelper, PoolProcess, alive, end_pool_at, fastgpu
from tests.waiting import DEADLINE_S, wait_until
from tests.wire.older import older_package, start_older_pool

pytestmark = pytest.mark.slow


@pytest.fixture
def on_demand(isolated: Path) -> Iterator[PoolClient]:
    """A pool manager that was started on demand, and any that replaces it."""
    yield ensure_pool()
    end_pool_at(user_socket())


def pid_of(path: Path) -> int:
    with closing(unixsocket.connect(path, 5.0)) as sock:
        return unixsocket.peer_of(sock).pid


def test_path_and_logs_name_the_files_of_the_pool(on_demand: PoolClient) -> None:
    found = json.loads(fastgpu("pool", "path", "--json").stdout)
    state_dir = user_state_dir()
    assert found == {
        "socket": str(on_demand.path),
        "journal": str(state_dir / "journal.db"),
        "log": str(state_dir / "pool.log"),
        "process": pid_of(on_demand.path),
    }
    assert f"journal  {state_dir / 'journal.db'}" in fastgpu("pool", "path").stdout
    assert re.search(r"Serving at .*pool\.sock", fastgpu("pool", "logs", "-n", "5").stdout)


def test_stop_without_leases_stops_at_once(on_demand: PoolClient) -> None:
    pid = pid_of(on_demand.path)
    done = fastgpu("pool", "stop")
    assert (done.returncode, done.stdout) == (0, "Stopped. No lease lives.\n")
    assert not alive(pid)
    again = fastgpu("pool", "stop")
    assert (again.returncode, again.stdout) == (0, f"No pool manager serves {on_demand.path}.\n")
    missing = fastgpu("pool", "restart")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    found = json.loads(fastgpu("pool", "path", "--json").stdout)
    assert (found["log"], found["process"]) == (str(user_state_dir() / "pool.log"), None)


def test_stop_with_leases_asks_and_says_what_happens_to_them(on_demand: PoolClient) -> None:
    pid = pid_of(on_demand.path)
    on_demand.request("half", notebook="a.ipynb", token=new_token())
    refused = fastgpu("pool", "stop")
    assert refused.returncode == 1
    assert "Leases that live: 1: a.ipynb (active)." in refused.stdout
    assert "unless the next one simulates them as well, they are missing there" in refused.stdout
    assert "Nothing was done. --yes" in refused.stderr
    assert alive(pid)
    assert answered("n")[0] == 1
    assert alive(pid)
    status, shown = answered("y")
    assert status == 0
    assert "Stop it? [y/N]" in shown
    assert not alive(pid)


def answered(answer: str) -> tuple[int, str]:
    """Return the status and the output of ``pool stop`` in a terminal in which a user answers its question."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "fastgpu_jupyter", "pool", "stop"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        shown = b""
        with suppress(OSError):  # the other end is closed
            while block := os.read(ours, 4096):
                shown += block
        process.wait(DEADLINE_S)
    os.close(ours)
    return process.returncode, shown.decode()


def test_restart_keeps_leases_options_and_kernels(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernel = kernels.start()
    kernel.run("kept = 7")
    before = pool.client.status()
    done = fastgpu("pool", "restart")
    assert done.returncode == 0, done.stderr
    assert f"serves {user_socket()}; leases that live on: 1." in done.stdout
    assert "It runs in the background now" in done.stdout
    assert pid_of(user_socket()) != pool.pid
    after = pool.client.status()
    assert [one["id"] for one in after["devices"]] == [one["id"] for one in before["devices"]]
    assert [(one["id"], one["state"]) for one in after["leases"]] == [(kernel.lease_id, "active")]
    assert kernel.value("kept") == "7"
    shown = kernel.run("%fastgpu")
    assert shown.status == "ok", shown.reply


def test_restart_keeps_options_that_no_file_has(isolated: Path) -> None:
    pool = PoolProcess(isolated, "2xT4-16GB")
    pool.start("--FastGPUPool.idle_timeout_s=77", f"--FastGPUPool.state_dir={isolated / 'elsewhere'}")
    try:
        for _ in range(2):
            assert fastgpu("pool", "restart").returncode == 0
            assert [one["model"] for one in pool.client.devices()] == ["T4-16GB"] * 2
            words = running_pool.arguments_of(pid_of(user_socket()))
            assert ("--FastGPUPool.idle_timeout_s=77" in words, words.count("--on-demand")) == (True, 1)
        found = json.loads(fastgpu("pool", "path", "--json").stdout)
        assert found["journal"] == str(isolated / "elsewhere/journal.db")
    finally:
        pool.end()


def test_restart_keeps_settings_that_were_carried_over(
    pool: PoolProcess, kernels: KernelHelper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FASTGPU_SIMULATE")  # also of the kernel, which starts the successor
    kernel = kernels.start()
    pool.kill()
    wait_until(lambda: running_pool.find(user_socket()), "the kernel has started a successor")
    carried_over = pool.client.pool()["carried_over"]
    assert carried_over is not None
    for _ in range(2):
        done = fastgpu("pool", "restart")
        assert done.returncode == 0, done.stderr
        assert pool.state(kernel.lease_id) == "active"
        assert [one["model"] for one in pool.client.devices()] == ["A100-80GB"]
        assert pool.client.pool()["carried_over"] == carried_over


def test_restart_leaves_a_pool_manager_whose_journal_this_version_cannot_read(isolated: Path, tmp_path: Path) -> None:
    folder = tmp_path / "older"
    folder.mkdir()
    older_package(folder)
    process = start_older_pool(folder, "1xT4-16GB")
    try:
        wait_until(lambda: running_pool.find(user_socket()), "the older pool manager serves")
        done = fastgpu("pool", "restart")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "(format 3); it was left as it is" in done.stderr
        assert process.poll() is None
        assert fastgpu("pool", "stop", "--yes").returncode == 0
        process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()


def test_stop_ends_a_pool_manager_that_hangs(pool: PoolProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    os.kill(pool.pid, signal.SIGSTOP)
    refused = fastgpu("pool", "stop")
    assert refused.returncode == 1
    assert "It is not known whether leases live" in refused.stdout
    found = running_pool.find(user_socket())
    assert found is not None
    monkeypatch.setattr(running_pool, "END_S", 0.01)
    with refusals.refused(HostFault, match=f"`kill -9 {pool.pid}` ends it"):
        found.end()
    os.kill(pool.pid, signal.SIGCONT)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a pool manager of another user")
def test_pool_manager_of_another_user_is_left_alone(pool: PoolProcess) -> None:
    found = running_pool.find(user_socket())
    assert found is not None
    for what in ("stop", "restart"):
        with refusals.refused(Forbidden, match=r"belongs to another user \(uid 65534\). Nothing was done"):
            found._replace(uid=65534).require_own(what)
        with refusals.refused(Forbidden, match=f"`systemctl {what} fastgpu-pool.service`"):
            found._replace(unit="fastgpu-pool.service").require_own(what)
    assert found.require_own("stop") is None


def test_socket_that_may_not_be_used_is_named(tmp_path: Path) -> None:
    assert running_pool.find(tmp_path / "none.sock") is None
    if os.getuid() == 0:
        pytest.skip("root may use every socket")
    (tmp_path / "closed").mkdir(mode=0)
    with refusals.refused(PoolUnreachable, match="belongs to another user"):
        running_pool.find(tmp_path / "closed/pool.sock")


def test_logs_of_a_pool_manager_in_a_terminal_are_there(pool: PoolProcess) -> None:
    done = fastgpu("pool", "logs")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "it logs to the terminal it runs in" in done.stderr


def test_logs_follow_goes_on_until_it_is_interrupted(on_demand: PoolClient) -> None:
    command = [sys.executable, "-u", "-m", "fastgpu_jupyter", "pool", "logs", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "Serving at" in process.stdout.readline()
        with (user_state_dir() / "pool.log").open("a") as log:
            log.write("a line of the test\n")
        assert process.stdout.readline() == "a line of the test\n"
        began_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(DEADLINE_S)
    assert time.monotonic() - began_s < DEADLINE_S
