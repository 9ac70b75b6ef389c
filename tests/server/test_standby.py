"""Standby kernels: real processes that become kernels, and what makes a start a cold one."""

from __future__ import annotations

import inspect
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fastgpu_jupyter.errors import Conflict, Message
from fastgpu_jupyter.server.provisioner import FastGPUProvisioner
from tests.conftest import isolate
from tests.helpers import Kernel, PoolProcess, alive
from tests.server import start_probe
from tests.server.standby_host import StandbyHost
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, installed: None) -> Iterator[StandbyHost]:
    """A manager with one standby kernel, and a pool that grants at once."""
    folder = tmp_path_factory.mktemp("standby")
    with pytest.MonkeyPatch.context() as patch:
        isolate(folder, patch)
        pool = PoolProcess(folder, "8xA100-80GB")
        pool.start()
        host = StandbyHost(folder)
        try:
            host.shut_down(host.start())
            yield host
        finally:
            host.end()
            pool.end()


def test_launch_takes_the_standby_kernel_which_is_a_kernel_then(host: StandbyHost, tmp_path: Path) -> None:
    pid = host.ready().pid
    kernel_id = host.start(cwd=tmp_path)
    assert host.pid(kernel_id) == pid
    kernel = host.kernel(kernel_id)
    kernel.run("import os")
    assert kernel.value("(os.getpid(), os.getcwd())") == repr((pid, str(tmp_path)))
    assert kernel.value("os.environ['FASTGPU_SIMULATED'] != '' and 'FASTGPU_STANDBY' not in os.environ") == "True"
    assert host.of(kernel_id).connection_file in Path(f"/proc/{pid}/cmdline").read_text()
    cell = kernel.send("import time; print('runs', flush=True); time.sleep(60)")
    kernel.message(cell, "stream")
    host.call(host.of(kernel_id).interrupt_kernel())
    assert kernel.reply(cell)["ename"] == "KeyboardInterrupt"
    host.shut_down(kernel_id)
    assert not alive(pid)


def test_restart_takes_a_standby_kernel_at_the_same_ports(host: StandbyHost) -> None:
    host.ready()
    kernel_id = host.start()
    ports, old, following = host.of(kernel_id).ports, host.pid(kernel_id), host.ready().pid
    host.call(host.of(kernel_id).restart_kernel())
    assert host.pid(kernel_id) == following != old
    assert host.of(kernel_id).ports == ports
    assert host.kernel(kernel_id).value("6 * 7") == "42"
    host.shut_down(kernel_id)


@pytest.mark.parametrize("signum", [signal.SIGSTOP, signal.SIGKILL])
def test_launch_is_cold_where_the_standby_kernel_does_not_answer(host: StandbyHost, signum: int) -> None:
    pid = host.ready().pid
    os.kill(pid, signum)
    kernel_id = host.start()
    assert host.pid(kernel_id) != pid
    wait_until(lambda: not alive(pid), "the process that did not answer has ended")
    assert host.kernel(kernel_id).value("6 * 7") == "42"
    host.shut_down(kernel_id)


def test_kernel_from_standby_is_interrupted_and_restarted_right_after_its_start(host: StandbyHost) -> None:
    pid = host.ready().pid
    kernel_id = host.start()
    host.call(host.of(kernel_id).interrupt_kernel())
    kernel = host.kernel(kernel_id)
    assert kernel.value("__import__('os').getpid()") == str(pid)
    host.shut_down(kernel_id)

    pid = host.ready().pid
    kernel_id = host.start()
    provisioner: Any = host.of(kernel_id).provisioner
    ended = provisioner.lease_id
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: provisioner.pid not in (None, pid), "it is started again")
    assert host.kernel(kernel_id).value("6 * 7") == "42"
    assert provisioner.lease_id not in (None, ended), "the lease of the process has ended with it"
    host.shut_down(kernel_id)


def test_launch_with_encryption_takes_a_standby_kernel(host: StandbyHost) -> None:
    pid = host.ready().pid
    kernel_id = host.start(encryption="required")
    assert host.pid(kernel_id) == pid
    assert host.of(kernel_id).curve_publickey
    assert host.kernel(kernel_id).value("6 * 7") == "42"
    host.shut_down(kernel_id)


def test_launch_that_gets_no_lease_ends_the_standby_kernel(host: StandbyHost, monkeypatch: pytest.MonkeyPatch) -> None:
    files, pid = set(connection_files()), host.ready().pid

    def refuse(_: FastGPUProvisioner) -> None:
        raise Conflict(Message.of("launch.server_stopping"))

    with monkeypatch.context() as patch:
        patch.setattr(FastGPUProvisioner, "_acquire", refuse)
        with pytest.raises(Exception, match="server"):
            host.start()
    wait_until(lambda: not alive(pid), "the standby kernel that was taken has ended")
    assert set(connection_files()) == files


def connection_files() -> list[str]:
    return [path.name for path in Path(os.environ["JUPYTER_RUNTIME_DIR"]).glob("kernel-*.json")]


#: More starts show leaks of memory, too.
STARTS = int(os.environ.get("FASTGPU_STANDBY_STARTS", "2"))
#: What libraries keep of a start once.
MEMORY_MORE_BYTES = 4 * 2**20


def test_starts_and_shutdowns_leave_no_process_descriptor_or_memory(host: StandbyHost) -> None:
    this = psutil.Process()

    def start_and_shut_down() -> None:
        kernel_id, pid = host.start(), host.ready().pid
        assert host.kernel(kernel_id).value("1") == "1"
        host.shut_down(kernel_id)
        assert host.ready().pid == pid

    host.ready()
    start_and_shut_down()  # what the first one keeps
    descriptors, children, files = this.num_fds(), len(this.children()), len(connection_files())
    memory = [this.memory_info().rss]
    for _ in range(STARTS):
        start_and_shut_down()
        memory.append(this.memory_info().rss)
    assert this.num_fds() <= descriptors
    assert (len(this.children()), len(connection_files())) == (children, files)
    if STARTS >= 20:
        half = len(memory) // 2
        assert memory[-1] - memory[half] < MEMORY_MORE_BYTES, memory


#: A server with a standby kernel, whose pid it prints.
SERVER = """
import asyncio
from jupyter_client.multikernelmanager import AsyncMultiKernelManager
from fastgpu_jupyter.server.standby import StandbyKernels

async def main():
    manager = AsyncMultiKernelManager()
    kernels = StandbyKernels(manager, wait_for_quiet=False)
    kernels.start()
    await manager.shutdown_kernel(await manager.start_kernel(kernel_name="fastgpu"))
    while not kernels.waiting:
        await asyncio.sleep(0.02)
    print(kernels.waiting[0].pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_standby_kernel_ends_with_a_server_that_is_killed(host: StandbyHost) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, cwd=host.folder) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        assert alive(pid)
        server.kill()
    wait_until(lambda: not alive(pid), "the standby kernel ends with its server")


def test_kernel_without_configuration_equals_a_cold_one(host: StandbyHost, tmp_path: Path) -> None:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    variables = {"IPYTHONDIR": str(tmp_path / "ipython"), "PYTHONHASHSEED": "0"}
    _, cold = seen_by(host, folder, **variables)
    ready = host.ready(**variables)
    pid, standby = seen_by(host, folder, **variables)
    assert pid == ready.pid
    assert set(cold["modules"]) <= set(standby["modules"])
    assert not list(start_probe.differences(cold, standby))


#: What users have set up to run at the start of each kernel.
USER_FILES = {
    "startup.py": "note('PYTHONSTARTUP')\nraise ValueError('from PYTHONSTARTUP')",
    "ipython/profile_default/startup/00-first.py": "note('startup file')\nimport os\nstarted = os.getcwd()",
    "ipython/profile_default/startup/01-fails.py": "raise ValueError('from a startup file')",
    "ipython/profile_default/ipython_config.py": """
c = get_config()
c.InteractiveShellApp.exec_lines = ["executed = 'JPY_SESSION_NAME' in __import__('os').environ", "%load_ext autoreload"]
c.InteractiveShell.colors = "nocolor"
""",
    "ipython/profile_default/ipython_kernel_config.py": "note('configuration')",
}
NOTE = """
def note(what):
    with open({log!r}, 'a') as file:
        print(what, file=file)
"""


def seen_by(host: StandbyHost, folder: Path, **variables: str) -> tuple[int, Any]:
    """The process of a new kernel, and what its first cell finds, without the names of this launch."""
    kernel_id = host.start(cwd=folder, **variables)
    kernel, pid = host.kernel(kernel_id, is_ready=False), host.pid(kernel_id)
    seen = probed(host, kernel_id, kernel, folder.parent / "seen.json")
    host.shut_down(kernel_id)
    return pid, seen


def probed(host: StandbyHost, kernel_id: str, kernel: Kernel, out: Path) -> Any:
    """What the next cell of a kernel finds, without the names of its launch; ``out`` is a file."""
    reply = kernel.reply(kernel.send(f"{inspect.getsource(start_probe)}\nsave(get_ipython(), {str(out)!r})"))
    assert reply["status"] == "ok", reply
    provisioner: Any = host.of(kernel_id).provisioner
    text = out.read_text().replace(kernel_id, "KERNEL").replace(provisioner.lease_id, "LEASE")
    text = re.sub(" at 0x[0-9a-f]+", "", text)
    return json.loads(start_probe.THREAD_NUMBER.sub("Thread-N", text))


def test_kernel_from_standby_equals_a_cold_one(host: StandbyHost, tmp_path: Path) -> None:
    folder, log = tmp_path / "notebooks", tmp_path / "log"
    folder.mkdir()
    for name, code in USER_FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(NOTE.format(log=str(log)) + code)
    home = tmp_path / "home"
    variables = {
        "HOME": str(home),  # it is there only while the standby kernel starts
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "PYTHONSTARTUP": str(tmp_path / "startup.py"),
        "PYTHONHASHSEED": "0",  # else sets have another order
    }
    _, cold = seen_by(host, folder, **variables)
    ran_at_start = ["configuration", "PYTHONSTARTUP", "startup file"]
    home.mkdir()
    ready = host.ready(**variables)
    home.rmdir()
    assert log.read_text().split("\n")[:-1] == ran_at_start  # nothing of it has run in the standby kernel
    pid, standby = seen_by(host, folder, **variables)
    assert pid == ready.pid
    assert log.read_text().split("\n")[:-1] == 2 * ran_at_start
    # A module of a later moment may be imported already, but none may be missing.
    assert set(cold["modules"]) <= set(standby["modules"])
    found = list(start_probe.differences(cold, standby))
    assert not found, "\n".join(found[:40])
    assert cold["namespace"]["started"] == repr(str(folder))
    assert cold["namespace"]["executed"] == "True"
    assert standby["history"]["session"] == cold["history"]["session"] + 1

    # The configuration is read after the hand-over: this one is newer than the standby kernel.
    host.ready(**variables)
    kernel_class = "c = get_config()\nc.IPKernelApp.kernel_class = 'ipykernel.ipkernel.IPythonKernel'\n"
    (tmp_path / "ipython/profile_default/ipython_kernel_config.py").write_text(kernel_class)
    kernel_id = host.start(cwd=folder, **variables)
    assert host.kernel(kernel_id).value("type(get_ipython().kernel).__name__") == "'IPythonKernel'"
    host.shut_down(kernel_id)


def test_standby_kernel_ends_while_the_server_is_not_used(host: StandbyHost, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = host.ready()
    with monkeypatch.context() as patch:
        patch.setattr(host.standby.budget, "_idle_s", lambda: 1800.0)
        host.look()
        wait_until(lambda: not host.standby.waiting and not alive(ready.pid), "there is none")
        wait_until(lambda: host.standby.budget.refusals, "it is known why")
        assert host.standby.budget.refusals["fastgpu"].code == "standby.server_idle"
    host.look()
    assert host.ready().pid != ready.pid
    assert host.standby.budget.refusals == {}


def test_standby_kernel_that_is_killed_is_followed_after_a_pause(host: StandbyHost) -> None:
    ready = host.ready()
    os.kill(ready.pid, signal.SIGKILL)
    wait_until(lambda: not alive(ready.pid), "it has ended")
    host.look()
    wait_until(lambda: ready not in host.standby.waiting, "it is given up")
    wait_until(lambda: host.standby.budget.refusals, "the next one waits")
    assert host.standby.budget.refusals["fastgpu"].code == "standby.died"
    host.standby.budget.was_used("fastgpu")
    host.look()
    assert host.ready().pid != ready.pid
