"""A kernel whose server is killed: it is kept or ends, and what it does until another server adopts it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from fastgpu_jupyter.kernel.output_buffer import SENT_BEFORE_S
from fastgpu_jupyter.wire.process_identity import ProcessIdentity, identify
from fastgpu_jupyter.wire.variables import KEEP, ORPHAN_AFTER_S
from tests.helpers import Kernel, PoolProcess, alive, fastgpu
from tests.waiting import DEADLINE_S, wait_until

#: The output of another process, which the kernel passes on.
FORKS = """
import multiprocessing
child = multiprocessing.get_context("fork").Process(target=print, args=("forked",))
child.start()
child.join()
"""

pytestmark = pytest.mark.slow


class Started:
    """A kernel, and the server that has started it."""

    def __init__(self, folder: Path, *, orphan_after_s: float | None = 3600, binds: bool = True) -> None:
        folder.mkdir()
        keep = None if orphan_after_s is None else {KEEP: "crash", ORPHAN_AFTER_S: str(orphan_after_s)}
        command = [sys.executable, "-m", "tests.kernel.fake_server", str(folder)]
        command.append(json.dumps({"keep": keep, "binds": binds}))
        # Its output ends with the server: what the kernel has of it must not hold the kernel up.
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.server.stdout is not None
        started = json.loads(self.server.stdout.readline())
        self.pid, self.lease_id = int(started["pid"]), str(started["lease_id"])
        self.record = Path(started["record"])
        self._connection_file = started["connection_file"]
        self._clients: list[BlockingKernelClient] = []

    def connect(self) -> Kernel:
        """Return another client of the kernel, beside the server."""
        client = BlockingKernelClient()
        client.load_connection_file(self._connection_file)
        client.start_channels()
        self._clients.append(client)
        kernel = Kernel(client)
        kernel.wait_ready()
        return kernel

    def kill_server(self) -> None:
        """Kill the server, and close the pipes that it and its kernel write to."""
        assert self.server.stdout is not None
        assert self.server.stderr is not None
        self.server.kill()
        self.server.wait()
        self.server.stdout.close()
        self.server.stderr.close()

    @property
    def stated(self) -> dict[str, Any]:
        """Return what the kernel has written about itself."""
        return dict(json.loads(self.record.with_suffix(".pid").read_bytes()))

    def wait_orphaned(self) -> None:
        """Wait until the kernel has noticed that its server is gone."""
        wait_until(lambda: "orphaned_at" in self.stated, "the kernel knows that it has no server")

    def end(self) -> None:
        """End all processes."""
        for client in self._clients:
            client.stop_channels()
        if self.server.poll() is None:
            self.kill_server()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


@pytest.fixture
def start(tmp_path: Path, pool: PoolProcess, installed: None) -> Iterator[Any]:
    """Start a kernel by a server of its own."""
    started: list[Started] = []

    def begin(**settings: Any) -> Started:
        started.append(Started(tmp_path / f"k{len(started)}", **settings))
        return started[-1]

    yield begin
    for one in started:
        one.end()


def ask(kernel: Kernel, name: str, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Send a request on the control channel, as a server does; the reply."""
    client = kernel.client
    request = client.session.msg(name, dict(content or {}))
    client.control_channel.send(request)
    while True:
        reply = client.get_control_msg(timeout=DEADLINE_S)
        if reply["parent_header"]["msg_id"] == request["header"]["msg_id"]:
            return dict(reply["content"])


def adopt(kernel: Kernel, server: ProcessIdentity | None = None) -> dict[str, Any]:
    """Become the server of the kernel, or make ``server`` that."""
    server = server or identify(os.getpid())
    assert server is not None
    return ask(kernel, "fastgpu_server_request", {"server": server._asdict()})


def test_kernel_outlives_its_servers_with_its_cells_output_and_lease(
    start: Any, pool: PoolProcess, tmp_path: Path
) -> None:
    started: Started = start()
    browser = started.connect()
    pool.client.pin(started.lease_id, pinned=True)
    assert browser.run("import os\nprint([n for n in os.environ if 'KEPT' in n or 'KEEP' in n])").stream() == "[]\n"
    assert adopt(browser)["ename"] == "ServerAlive"

    flag = tmp_path / "flag"
    cell = browser.run_until(flag)
    asks = browser.send(f"{FORKS}print('asks')\nanswer = input('Name: ')\nanswer", allow_stdin=True)
    last = browser.send("os.write(1, b'raw'); 6 * 7")
    started.kill_server()
    os.kill(started.pid, signal.SIGHUP)
    started.wait_orphaned()
    assert "ends_at" in started.stated
    wait_until(lambda: pool.lease(started.lease_id)["parking"]["retention"] == "yield", "the lease yields")
    wait_until(lambda: time.time_ns() // 10**6 > started.stated["orphaned_at"] + 1000 * SENT_BEFORE_S, "it is later")
    flag.touch()

    # A server that is killed before a browser is there changes nothing; nor does one that is not there.
    with subprocess.Popen(["sleep", "1000"]) as other:
        identity = identify(other.pid)
        assert identity is not None
        assert adopt(browser, identity)["status"] == "ok"
        wait_until(lambda: "orphaned_at" not in started.stated, "it has a server")
        other.kill()
    started.wait_orphaned()
    assert adopt(browser, identity)["ename"] == "UnknownServer"

    adopted = adopt(browser)
    assert (adopted["status"], adopted["retention"], adopted["busy"], adopted["dropped"]) == ("ok", "hold", True, 0)
    assert adopted["since"] <= time.time_ns() // 10**6
    wait_until(lambda: pool.lease(started.lease_id)["parking"]["retention"] == "hold", "the lease is pinned again")
    with contextlib.suppress(queue.Empty):
        while True:  # nothing of the cells comes before it is asked for
            found = browser.client.get_iopub_msg(timeout=0.1)
            assert found["parent_header"]["msg_type"] != "execute_request", found

    assert ask(browser, "fastgpu_deliver_request")["messages"] > 3
    ran = browser.collect(cell)
    note, output = [m for m in ran.messages if m["msg_type"] in ("display_data", "stream")]
    assert note["content"]["data"]["text/plain"].startswith("No Jupyter server was running from ")
    assert (output["content"]["text"], set(output["metadata"]["fastgpu"])) == ("done\n", {"kept_at"})
    request = browser.client.get_stdin_msg(timeout=DEADLINE_S)
    assert request["content"]["prompt"] == "Name: "
    browser.client.input("me")
    ran = browser.collect(asks)
    assert (ran.stream(), ran.shown("execute_result"), ran.shown()) == ("forked\nasks\n", ["'me'"], [])
    ran = browser.collect(last)
    assert (ran.status, ran.shown("execute_result")) == ("ok", ["42"])
    assert ask(browser, "fastgpu_deliver_request")["messages"] == 0
    assert adopt(browser)["since"] is None
    ran = browser.run("print(os.environ['JPY_PARENT_PID'])")
    assert (ran.stream(), ran.messages[-1]["metadata"]) == (f"{os.getpid()}\n", {})
    assert pool.lease(started.lease_id)["holder"]["pid"] == started.pid


def test_cell_that_waits_for_its_gpu_keeps_waiting_and_a_connected_client_is_answered(
    start: Any, pool: PoolProcess
) -> None:
    first: Started = start()
    waiting: Started = start()
    browser = waiting.connect()
    cell = browser.send("'ran'")
    browser.message(cell, "display_data")
    waiting.kill_server()
    waiting.wait_orphaned()
    assert pool.state(waiting.lease_id) == "waiting"
    first.kill_server()
    first.wait_orphaned()
    pool.client.release(first.lease_id)
    pool.wait_state(waiting.lease_id, "active")
    wait_until(lambda: time.time_ns() // 10**6 > waiting.stated["orphaned_at"] + 1000 * SENT_BEFORE_S, "it is later")
    console = waiting.connect()
    assert console.run("print('console')").stream() == "console\n"
    assert adopt(browser)["busy"] is False
    ask(browser, "fastgpu_deliver_request")
    assert browser.collect(cell).shown("execute_result") == ["'ran'"]


def test_kernels_without_a_server_are_listed_attached_to_and_ended(
    start: Any, pool: PoolProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fastgpu("kernels").stdout == "No kernels run without a Jupyter server.\n"
    started: Started = start()
    kernel = started.connect()
    kernel.run("pass")
    kernel_id = json.loads(started.record.read_bytes())["kernel_id"]
    assert json.loads(fastgpu("kernels", "--json").stdout) == {"kernels": []}  # it has a server
    assert fastgpu("kernels", "end", kernel_id).returncode == 1
    cell = kernel.send("while True: pass")
    kernel.message(cell, "execute_input")
    started.kill_server()
    started.wait_orphaned()
    wait_until(lambda: pool.lease(started.lease_id)["usage"]["busy"], "the pool knows of the cell")

    (view,) = json.loads(fastgpu("kernels", "--json").stdout)["kernels"]
    assert (view["state"], view["notebook"], view["since"]) == (
        "running",
        "Untitled.ipynb",
        started.stated["orphaned_at"],
    )
    assert view["memory_bytes"] > 2**24
    listed = fastgpu("kernels").stdout
    assert started.lease_id in listed
    assert "runs a cell" in listed

    ran: list[list[str]] = []
    monkeypatch.setattr("fastgpu_jupyter.cli.kernels.find_spec", lambda _name: True)
    monkeypatch.setattr("os.execv", lambda _path, command: ran.append(command))
    assert "Ctrl-D" in fastgpu("kernels", "attach", kernel_id).stderr
    key = json.loads(Path(ran[0][-1]).read_bytes())["key"]
    assert ran[0][1:-1] == ["-P", "-m", "jupyter_console", "--existing"]
    assert not any(key in word for word in ran[0])

    assert "Ended" in fastgpu("kernels", "end", "Untitled.ipynb").stdout
    assert not alive(started.pid)
    assert pool.lease(started.lease_id)["end_reason"]["code"] == "end.released"
    assert not Path(ran[0][-1]).exists()
    assert "lists those" in fastgpu("kernels", "end", kernel_id).stderr


def test_kernel_that_no_server_adopts_in_time_ends_and_releases_its_lease(start: Any, pool: PoolProcess) -> None:
    started: Started = start(orphan_after_s=0.2)
    started.connect()
    started.kill_server()
    wait_until(lambda: not alive(started.pid), "the kernel ends")
    pool.wait_state(started.lease_id, "ended")
    assert pool.lease(started.lease_id)["end_reason"]["code"] == "end.released"
    assert not started.record.exists()


def test_kernel_whose_server_was_killed_before_it_bound_the_lease_gets_another(start: Any, pool: PoolProcess) -> None:
    started: Started = start(binds=False)
    assert pool.lease(started.lease_id)["holder"]["pid"] == started.server.pid
    started.kill_server()
    kernel_id = pool.lease(started.lease_id)["holder"]["kernel_id"]
    live = wait_until(
        lambda: [
            view for view in pool.live() if view["holder"]["kernel_id"] == kernel_id and view["id"] != started.lease_id
        ],
        "the kernel has another lease",
    )
    assert [view["holder"]["pid"] for view in live] == [started.pid]
    assert pool.lease(started.lease_id)["end_reason"]["code"] in ("end.holder_died", "end.cancelled")


def test_kernel_that_is_not_kept_ends_with_its_server_also_behind_a_shell(tmp_path: Path, installed: None) -> None:
    connection_file = tmp_path / "connection.json"
    kernel = f"{sys.executable} -m fastgpu_jupyter.kernel -f {connection_file}"
    code = (
        "import os, subprocess, time\n"
        "environment = {**os.environ, 'JPY_PARENT_PID': str(os.getpid())}\n"
        f"subprocess.Popen(['sh', '-c', '{kernel} & echo $!; wait; true'], env=environment)\n"
        "time.sleep(1000)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert server.stdout is not None
    pid = int(server.stdout.readline())
    wait_until(connection_file.exists, "the kernel has started")
    assert alive(pid)
    server.kill()
    server.wait()
    server.stdout.close()
    wait_until(lambda: not alive(pid), "the kernel ends")
