"""A cell that uses more GPU memory than its lease has, from the first word to each way out: real kernels, the real pool
manager, and fakes of NVML and CUDA below it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.errors import Conflict
from tests.helpers import Kernel, KernelHelper, PoolProcess, fastgpu
from tests.nvml.machine import FakeMachine
from tests.pool.conftest import machine_pool
from tests.pool.devices.nvidia.played_cuda import PREPARE, Mover, PlayedCuda
from tests.views import text, value_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
GIB = 1024**3
Build = Callable[..., FakeMachine]
#: Calls CUDA again and again: a call does not return while the process is locked or away, whatever signal comes.
COMPUTE = """
print("computes", flush=True)
while True:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    while state.exists() and state.read_text() != "0":
        time.sleep(0.01)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    time.sleep(0.01)
    if (folder / "enough").exists():
        break
print("done", flush=True)
"""
pool = machine_pool


@pytest.fixture
def over(
    use_machine: Build, isolated: Path, pool: PoolProcess, kernels: KernelHelper, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Kernel, str, Mover]]:
    """A kernel whose cell computes and has used too much: parked under it."""
    (gpu,) = use_machine("1xL4").gpus
    cuda = PlayedCuda(isolated / "simulated", monkeypatch)
    folder = cuda.folder
    spec = json.loads((isolated / "data/kernels/fastgpu/kernel.json").read_text())
    spec["metadata"]["fastgpu"]["memory"] = "1GiB"
    (isolated / "data/kernels/small").mkdir()
    (isolated / "data/kernels/small/kernel.json").write_text(json.dumps(spec))
    pool.start("--Sharing.over_limit_action=park", "--Sharing.over_limit_grace_s=3")
    mover = Mover(cuda, gpu)
    try:
        kernel = kernels.start("small")
        pool.wait_state(kernel.lease_id, "active")
        prepared = kernel.run(PREPARE)
        assert prepared.status == "ok", prepared
        mover.put(kernel.pid, GIB // 2)
        cell = kernel.send(COMPUTE)
        kernel.message(cell, "stream")
        wait_until(lambda: pool.lease(kernel.lease_id)["usage"]["busy"], "the pool knows that a cell runs")
        mover.put(kernel.pid, 2 * GIB)
        yield kernel, cell, mover
    finally:
        (folder / "enough").touch()
        mover.close()


class Shown:
    """The text that a running cell shows, in however many messages it comes."""

    def __init__(self, kernel: Kernel, cell: str) -> None:
        self._kernel, self._cell = kernel, cell
        self.text = ""

    def wait_for(self, words: str) -> str:
        """Return all text so far, once the words are in it."""
        while words not in self.text:
            self.text += self._kernel.message(self._cell, "stream")["content"]["text"]
        return self.text


def test_lease_over_its_limit_is_notified_and_resumes_with_a_larger_size(
    pool: PoolProcess, over: tuple[Kernel, str, Mover]
) -> None:
    kernel, cell, mover = over
    shown_by_cell = Shown(kernel, cell)
    shown_by_cell.wait_for("uses 2 GiB of its GPU, more than the 1 GiB")
    said = shown_by_cell.wait_for("is given up.")
    assert "It was parked because it used 2 GiB" in said
    assert f"jupyter fastgpu resize {kernel.lease_id} SIZE" in said
    pool.wait_state(kernel.lease_id, "parked")
    view = pool.lease(kernel.lease_id)
    assert (
        value_of(view["parking"]["reason"]),
        view["parking"]["parked_bytes"],
        text(view["enforcement"]["message"]) in said,
    ) == ("over_limit", 2 * GIB, True)
    with pytest.raises(Conflict, match=r"2 GiB are parked and 1\.5GiB has 1\.5 GiB"):
        pool.client.resize(kernel.lease_id, "1.5GiB")
    assert str(text(view["enforcement"]["message"])) in fastgpu("status").stdout
    shown = fastgpu("resize", kernel.lease_id, "4GiB")
    assert shown.returncode == 0, shown.stderr
    pool.wait_state(kernel.lease_id, "active")
    assert pool.lease(kernel.lease_id)["memory"]["limit_bytes"] == 4 * GIB
    (mover.cuda.folder / "enough").touch()
    ran = kernel.collect(cell)
    assert (ran.status, ran.stream()) == ("ok", "done\n")
    assert "Its GPU memory is restored" in ran.stream("stderr")


def test_interrupt_resumes_a_lease_over_its_limit_and_stops_the_cell(
    pool: PoolProcess, over: tuple[Kernel, str, Mover]
) -> None:
    kernel, cell, mover = over
    pool.wait_state(kernel.lease_id, "parked")
    assert kernel.manager is not None
    kernel.manager.interrupt_kernel()
    ran = kernel.collect(cell)
    assert (ran.status, ran.reply["ename"]) == ("error", "KeyboardInterrupt")
    pool.wait_state(kernel.lease_id, "active")
    mover.put(kernel.pid, GIB // 2)
    wait_until(
        lambda: "It uses" not in str(text(pool.lease(kernel.lease_id)["enforcement"]["message"])),
        "it is within its limit",
    )
    assert kernel.run("1 + 1").status == "ok"
    assert pool.state(kernel.lease_id) == "active"


def test_restart_drops_the_parked_memory_and_keeps_the_lease(
    pool: PoolProcess, over: tuple[Kernel, str, Mover]
) -> None:
    kernel, _, mover = over
    pool.wait_state(kernel.lease_id, "parked")
    before, old_pid = kernel.lease_id, kernel.pid
    del mover.has[old_pid]
    assert kernel.manager is not None
    kernel.manager.restart_kernel(now=True)
    kernel.wait_ready()
    assert kernel.lease_id == before
    assert kernel.run("1 + 1").status == "ok"
    pool.wait_state(before, "active")
    assert "parked" not in str(text(pool.lease(before)["enforcement"]["message"]))
