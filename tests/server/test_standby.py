"""Standby kernels: real processes that become kernels, and what makes a start a cold one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import isolate
from tests.helpers import PoolProcess, alive
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
    cell = kernel.send("import time; time.sleep(60)")
    kernel.client.get_iopub_msg(timeout=10)
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
